"""The table of the units that Dask workers have, and the time limit. No Dask: a future has a key and may be done."""

import time
from contextlib import nullcontext
from dataclasses import dataclass, field

import pytest
import torch

from bench.core.errors import BenchError
from bench.core.kinds import FailureCause, Status
from bench.core.tasks import Outcome, Task
from bench.execution import usable
from bench.execution.dask_engine import DaskEngine
from bench.execution.in_flight import InFlightTable, Unit
from bench.execution.queue import TaskQueue
from bench.execution.retry_policy import RETRY_DELAY, RetryPolicy
from bench.execution.run_config import Reporter, RunConfig, StopRequest
from bench.store.store import Store


@dataclass(frozen=True)
class Future:
    key: str
    result: list = field(default_factory=list, compare=False)

    @property
    def status(self):
        if self.result and isinstance(self.result[0], Exception):
            return "error"
        return "finished" if self.result else "pending"

    def exception(self):
        return self.result[0]

    def done(self):
        return bool(self.result)

    def cancel(self, force=False):
        pass

    def release(self):
        pass

    def add_done_callback(self, call):
        pass


def table(*names):
    table = InFlightTable()
    for name in names:
        table.by_name[name] = table.by_future[Future(name)] = Unit([])
    return table


def test_a_unit_is_started_by_a_worker_and_removed_once():
    found = table("u1", "u2")
    assert found.start("u1", "task", "tcp://a")
    assert found.busy_workers() == {"tcp://a"}
    assert found.not_started() == [Future("u2")]
    removed = found.remove(Future("u1"))
    assert (removed.running.key, removed.running.worker) == ("task", "tcp://a")
    assert found.remove(Future("u1")) is None
    assert not found.start("u1", "late", "tcp://a")
    assert (len(found), found.busy_workers()) == (1, set())


def test_a_timeout_counts_from_the_start_of_the_last_task():
    found = table("u1", "u2")
    found.start("u1", "first", "tcp://a")
    time.sleep(0.05)
    assert [(future.key, running.key) for future, _, running in found.overdue(0.04)] == [("u1", "first")]
    found.start("u1", "second", "tcp://a")
    assert list(found.overdue(0.04)) == []


def test_a_unit_may_be_removed_while_the_overdue_are_visited():
    found = table("u1", "u2")
    for name in ("u1", "u2"):
        found.start(name, "task", "tcp://a")
    for future, _, _ in found.overdue(0):
        found.remove(future)
    assert len(found) == 0


def test_a_unit_that_is_done_is_not_overdue():
    found = table("u1", "u2")
    for name in ("u1", "u2"):
        found.start(name, "task", "tcp://a")
    visited = found.overdue(0)
    assert next(visited)[0].key == "u1"
    next(future for future in found.by_future if future.key == "u2").result.append("came meanwhile")
    assert list(visited) == []


# --- the time limit -----------------------------------------------------------------------------------------------


class Cluster:
    """Workers and their client in one: each unit that is submitted has started at a worker of its own.

    While a worker restarts, `meanwhile` is called.
    """

    def __init__(self, meanwhile):
        self.client, self.meanwhile, self.restarted, self.futures = self, meanwhile, [], []

    def subscribe_topic(self, name, call):
        self.event = call

    def reachable(self):
        return nullcontext()

    def replace_abandoned(self):
        pass

    def known(self):
        return {f"tcp://{n}" for n in range(9)}

    def submit(self, call, tasks, *arguments, key, **more):
        self.how = {name: more[name] for name in ("workers", "allow_other_workers") if name in more}
        self.futures.append(Future(key))
        self.event((0.0, {"unit": key, "started": tasks[-1].key, "worker": f"tcp://{len(self.futures) - 1}"}))
        return self.futures[-1]

    def result_of(self, future):
        return future.result[0], ""

    def restart(self, address):
        self.restarted.append(address)
        self.meanwhile(self)

    def free_memory(self, run):
        pass


class Finished(Reporter):
    def __init__(self):
        self.outcomes, self.notes = {}, []

    def note(self, text):
        self.notes.append(text)

    def task_finished(self, outcome):
        self.outcomes[outcome.key] = outcome

    def stop_requested(self):
        return StopRequest.NONE


def training(key):
    return Task("train", "source", {"replicate": key}, {}, key * 64)


def run_with_limit(tmp_path, slots, *keys, meanwhile):
    """Run trainings on a fake cluster, each longer than the time limit; return their outcomes and the cluster."""
    store, reporter = Store(tmp_path / "store"), Finished()
    tasks = {t.key: t for t in map(training, keys)}
    config = RunConfig(store, None, tmp_path, slots=["cpu"] * slots, timeout=0.2)
    cluster = Cluster(lambda cluster: meanwhile(cluster, engine, store))
    engine = DaskEngine(TaskQueue(tasks), config, reporter, RetryPolicy(), lambda key: {}, cluster)
    engine.run()
    return {key[0]: o for key, o in reporter.outcomes.items()}, cluster


def save(store, key, **files):
    made = {"seconds": 4.5, "device": "cpu", "machine": "abacus", "inputs": {}, "sources": {"method:sac": "d"}}
    return store.save(key * 64, "train", {"accuracy": 0.5}, files, made)


def test_a_task_that_was_stored_before_its_worker_stopped_keeps_its_seconds_and_machine(tmp_path):
    outcomes, _ = run_with_limit(tmp_path, 1, "a", meanwhile=lambda cluster, engine, store: save(store, "a"))
    found = outcomes["a"]
    assert (found.status, found.seconds, found.device, found.machine) == (Status.DONE, 4.5, "cpu", "abacus")
    assert (found.facts, found.stored, dict(found.sources)) == ({"accuracy": 0.5}, False, {"method:sac": "d"})


def test_a_network_that_is_trained_once_more_for_its_weights_and_takes_too_long_has_failed(tmp_path):
    """After `--keep scores`, the store has the record of the first training."""
    store = Store(tmp_path / "store")
    save(store, "a", weights={"weight": torch.zeros(2)})
    store.drop("a" * 64, "weights")
    outcomes, _ = run_with_limit(tmp_path, 1, "a", meanwhile=lambda *world: None)
    assert (outcomes["a"].status, outcomes["a"].error) == (
        Status.FAILED,
        "it ran longer than --task-timeout 0.2 s and was stopped",
    )


def test_a_task_that_ends_while_another_worker_restarts_is_not_stopped(tmp_path):
    def meanwhile(cluster, engine, store):
        other = cluster.futures[1]
        other.result.append([Outcome("b" * 64, Status.DONE, seconds=0.3)])
        engine.finished.put(other)

    outcomes, cluster = run_with_limit(tmp_path, 1, "a", "b", meanwhile=meanwhile)
    assert (outcomes["a"].status, outcomes["a"].error) == (
        Status.FAILED,
        "it ran longer than --task-timeout 0.2 s and was stopped",
    )
    assert (outcomes["b"].status, outcomes["b"].seconds) == (Status.DONE, 0.3)
    assert cluster.restarted == ["tcp://0"]


def test_each_worker_with_an_overdue_task_is_stopped(tmp_path):
    outcomes, cluster = run_with_limit(tmp_path, 2, "a", "b", "c", meanwhile=lambda *world: None)
    assert {key: o.status for key, o in outcomes.items()} == dict.fromkeys("abc", Status.FAILED)
    assert cluster.restarted == ["tcp://0", "tcp://1", "tcp://2"]


# --- dead workers ---------------------------------------------------------------------------------------------------


def died(engine, cluster, number, started):
    """End a unit by the death of its worker; return what is submitted then: the tasks, and whether alone."""
    from distributed import KilledWorker

    future = cluster.futures[number]
    future.result.append(KilledWorker(future.key, None, 2))
    if not started:
        engine.in_flight.by_future[future].running = None
    engine._finish(future)
    engine._submit_ready()
    return [(u.tasks[0].key[0], u.alone) for u in engine.in_flight.by_future.values()]


def test_a_task_that_waited_at_a_worker_behind_one_that_killed_it_runs_again_alone(tmp_path):
    """A cluster has two units at each worker, and Dask counts a death for both."""
    store, cluster, reporter = Store(tmp_path / "store"), Cluster(None), Finished()
    tasks = {t.key: t for t in map(training, "ab")}
    config = RunConfig(store, None, tmp_path, slots=["cpu"])
    engine = DaskEngine(TaskQueue(tasks), config, reporter, RetryPolicy(), lambda key: {}, cluster)
    cluster.event = engine._receive
    engine._submit_ready()
    assert died(engine, cluster, 1, started=False) == [("a", False)]
    assert died(engine, cluster, 0, started=True) == [("b", True)]
    assert {key[0]: o.status for key, o in reporter.outcomes.items()} == {"a": Status.FAILED}
    assert died(engine, cluster, 2, started=False) == []
    assert [o.status for o in reporter.outcomes.values()] == [Status.FAILED] * 2
    assert "the worker died 3 times" in reporter.outcomes["b" * 64].error


# --- unusable workers -----------------------------------------------------------------------------------------------


def unusable(engine, cluster, number, reason="a worker of node7 cannot execute tasks of this run: no GPU"):
    """Let a unit end at a worker that can execute none; return the arguments of the next submission."""
    future = cluster.futures[number]
    key = engine.in_flight.by_future[future].tasks[0].key
    future.result.append([Outcome(key, Status.BUSY, error=reason, cause=FailureCause.WORKER)])
    cluster.result_of = lambda future: (future.result[0], f"tcp://{number}")
    engine._finish(future)
    time.sleep(1.1 * RETRY_DELAY)
    engine._submit_ready()
    return cluster.how


def test_a_worker_that_can_execute_none_gets_no_more_units_and_no_task_fails(tmp_path, monkeypatch):
    store, cluster, reporter = Store(tmp_path / "store"), Cluster(None), Finished()
    tasks = {t.key: t for t in map(training, "abc")}
    config = RunConfig(store, None, tmp_path, slots=["cuda:0"])
    engine = DaskEngine(TaskQueue(tasks), config, reporter, RetryPolicy(), lambda key: {}, cluster)
    cluster.event = engine._receive
    cluster.known = lambda: ["tcp://0", "tcp://1"]
    engine._submit_ready()
    assert (len(cluster.futures), cluster.how) == (2, {})
    unusable(engine, cluster, 0)
    assert len(cluster.futures) == 2, "what waits at a worker would come to the one that is idle"
    assert unusable(engine, cluster, 1, "another reason") == {}
    del engine.usable.reasons["tcp://1"]
    engine._submit_ready()
    assert (len(cluster.futures), cluster.how) == (3, {"workers": ["tcp://1"], "allow_other_workers": True})
    monkeypatch.setattr(usable, "PATIENCE", 0.5)
    unusable(engine, cluster, 2)
    engine.usable.reasons["tcp://1"] = engine.usable.reasons["tcp://0"]
    time.sleep(0.5)
    with pytest.raises(BenchError, match=r"^No worker is left: a worker of node7 cannot execute tasks of this run: no"):
        engine._submit_ready()
    assert reporter.notes == [
        "Note: a worker of node7 cannot execute tasks of this run: no GPU",
        "Note: another reason",
    ]
    assert reporter.outcomes == {}


def test_a_worker_that_is_mended_may_have_the_same_address(tmp_path):
    store, cluster, reporter = Store(tmp_path / "store"), Cluster(None), Finished()
    tasks = {t.key: t for t in map(training, "abc")}
    config = RunConfig(store, None, tmp_path, slots=["cuda:0"], address="tcp://scheduler:8786")
    engine = DaskEngine(TaskQueue(tasks), config, reporter, RetryPolicy(), lambda key: {}, cluster)
    cluster.event, cluster.known = engine._receive, lambda: ["tcp://0"]
    engine._submit_ready()
    unusable(engine, cluster, 0, "version 1 here")
    assert engine.usable.addresses() == []
    cluster.known = list
    engine._submit_ready()
    assert reporter.notes[0] == "Note: version 1 here" and "waiting for one" in reporter.notes[1]
    cluster.known = lambda: ["tcp://0"]
    before = len(cluster.futures)
    engine._submit_ready()
    assert len(cluster.futures) > before and cluster.how == {}


def test_a_task_that_has_to_run_alone_does_so_at_a_usable_worker(tmp_path):
    store, cluster = Store(tmp_path / "store"), Cluster(None)
    config = RunConfig(store, None, tmp_path, slots=["cuda:0"])
    engine = DaskEngine(TaskQueue({}), config, Finished(), RetryPolicy(), lambda key: {}, cluster)
    cluster.event = engine._receive
    cluster.known = lambda: ["tcp://0", "tcp://1"]
    task = training("a")
    engine.queue.tasks[task.key], engine.queue.waiting[task.key] = task, ()
    engine.run_alone.append(task.key)
    engine._submit_ready()
    assert unusable(engine, cluster, 0)["workers"] == ["tcp://1"]
    assert [unit.alone for unit in engine.in_flight.by_future.values()] == [True]


# --- full memory ----------------------------------------------------------------------------------------------------


def test_nothing_is_submitted_beside_a_task_that_runs_alone(tmp_path):
    """Two workers may share a GPU whose memory is enough for one task."""
    store, cluster = Store(tmp_path / "store"), Cluster(None)
    tasks = {t.key: t for t in map(training, "abcde")}
    config = RunConfig(store, None, tmp_path, slots=["cuda:0"])
    engine = DaskEngine(TaskQueue(tasks), config, Finished(), RetryPolicy(), lambda key: {}, cluster)
    cluster.event = engine._receive

    def end(number, **how):
        future = cluster.futures[number]
        future.result.append([Outcome(engine.in_flight.by_future[future].tasks[0].key, **how)])
        engine._finish(future)
        engine._submit_ready()
        engine._submit_ready()  # some time later
        return ["".join(t.key[0] for t in unit.tasks) for unit in engine.in_flight.by_future.values()]

    engine._submit_ready()
    full = {"status": Status.FAILED, "error": "out of memory: 9 GiB", "cause": FailureCause.MEMORY}
    assert end(0, **full) == ["b"]
    assert end(1, **full) == ["b"], "the last one first, alone"
    assert end(2, status=Status.DONE) == ["a"]
    assert end(3, status=Status.DONE) == ["c", "d"]


def test_a_task_that_is_full_beside_others_once_more_is_not_said_to_have_run_alone(tmp_path):
    """Alone, it was computed by another run, and so it came back to the queue."""
    store, cluster, reporter = Store(tmp_path / "store"), Cluster(None), Finished()
    config = RunConfig(store, None, tmp_path, slots=["cuda:0"])
    task = training("a")
    engine = DaskEngine(TaskQueue({task.key: task}), config, reporter, RetryPolicy(), lambda key: {}, cluster)
    cluster.event = engine._receive
    full = {"status": Status.FAILED, "error": "out of memory", "cause": FailureCause.MEMORY}
    alone = []
    for how in (full, {"status": Status.BUSY}, full, full):
        while not engine.in_flight:
            engine._submit_ready()
        ((future, unit),) = engine.in_flight.by_future.items()
        alone.append(unit.alone)
        future.result.append([Outcome(task.key, **how)])
        engine._finish(future)
    assert alone == [False, True, False, True]
    assert reporter.outcomes[task.key].error == "out of memory (also when it ran alone in this run)"
