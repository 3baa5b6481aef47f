"""A graph inline and on Dask workers: the scores are equal, and a fault fails no task but its own."""

import socket
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from bench.core.errors import BenchError, StoreError
from bench.execution import scheduler, usable
from bench.execution.run_config import Reporter, RunConfig, StopRequest
from bench.execution.scheduler import run_tasks
from bench.execution.slots import Slot
from bench.planning.declarations import declare
from bench.planning.planner import plan
from bench.registry import session
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.store.locks import claim
from bench.store.store import Store
from bench.testing import toy_plugins, toy_registry, toy_spec

SMALL = {"suspects": ("toy_net",), "replicates": 1, "copies": 1, "methods": ("toy_match",)}


def planned(registry, **changes):
    spec = toy_spec(**changes)
    return plan(spec, declare(spec, registry))


class Recorder(Reporter):
    """Record what a run reports; stop it after so many outcomes or seconds, so that no test hangs."""

    def __init__(self, most=10**9, seconds=180):
        self.most, self.deadline = most, time.monotonic() + seconds
        self.notes, self.started, self.progress, self.outcomes = [], [], [], []

    def note(self, text):
        self.notes.append(text)

    def task_started(self, key):
        self.started.append(key)

    def task_progressed(self, key, epoch, epochs, loss):
        self.progress.append((key, epoch, epochs, loss))

    def task_finished(self, outcome):
        self.outcomes.append(outcome)

    def stop_requested(self):
        if time.monotonic() > self.deadline:
            return StopRequest.NOW
        return StopRequest.AFTER_RUNNING if len(self.outcomes) >= self.most else StopRequest.NONE


def run_plan(found, config, reporter=None):
    reporter = reporter or Recorder()
    run_tasks(found.tasks, config, reporter)
    return {outcome.key: outcome for outcome in reporter.outcomes}


def of(found, outcomes, kind, **named):
    return [outcomes[t.key] for t in found.tasks.values()
            if t.kind == kind and all(t.params[k]["name"] == v for k, v in named.items())]  # fmt: skip


def scores(outcomes):
    return {k: o.facts["score"] for k, o in outcomes.items() if "score" in o.facts}


# --- inline -------------------------------------------------------------------------------------------------------


def test_nothing_to_do_starts_nothing(tmp_path):
    run_tasks({}, RunConfig(Store(tmp_path), toy_registry(), tmp_path, slots=[Slot()]))
    assert list(tmp_path.iterdir()) == []


def test_inline_scores_are_those_of_executing_one_by_one(toy_run, tmp_path):
    registry, reporter = toy_registry(), Recorder()
    found = planned(registry)
    outcomes = run_plan(found, RunConfig(Store(tmp_path), registry, tmp_path), reporter)
    assert scores(outcomes) == toy_run.scores()
    assert sorted(reporter.started) == sorted(found.tasks)
    assert reporter.progress


def test_a_run_stops_between_two_tasks(tmp_path):
    reporter = Recorder(most=3)
    run_plan(planned(toy_registry(), **SMALL), RunConfig(Store(tmp_path), toy_registry(), tmp_path), reporter)
    assert [o.status for o in reporter.outcomes] == ["done"] * 3


def test_a_store_that_cannot_be_used_stops_the_run(tmp_path):
    (tmp_path / "file").write_text("no folder")
    config = RunConfig(Store(tmp_path / "file" / "store"), toy_registry(), tmp_path)
    with pytest.raises(StoreError, match="cannot be used"):
        run_plan(planned(toy_registry(), **SMALL), config)


@dataclass(frozen=True)
class Greedy(toy_plugins.ToyTune):
    """Use up the memory, so many times."""

    name: str = "greedy"
    times: int = 1

    def steal(self, source, data, build, context):
        tried.append(context.seed)
        if len(tried) <= self.times:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return super().steal(source, data, build, context)


tried = []


@pytest.mark.parametrize("times", [1, 9])
def test_out_of_memory_is_tried_once_more(tmp_path, times):
    tried.clear()
    registry = toy_registry(Greedy(times=times))
    found = planned(registry, **SMALL, attacks=("greedy",))
    outcomes = run_plan(found, RunConfig(Store(tmp_path), registry, tmp_path))
    (outcome,) = of(found, outcomes, "steal")
    assert len(tried) == 2
    assert outcome.status == ("done" if times == 1 else "failed")
    assert ("also when it ran alone in this run" in outcome.error) is (times == 9)
    assert tried[0] == tried[1]


@dataclass(frozen=True)
class Asserting(toy_plugins.ToyTune):
    """Fail as a task does that asked a GPU for the impossible."""

    name: str = "asserting"

    def steal(self, source, data, build, context):
        raise RuntimeError(ASSERT)


ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported at some other call"


def test_a_device_that_is_lost_stops_the_process_that_has_no_other(tmp_path):
    registry, reporter = toy_registry(Asserting()), Recorder()
    found = planned(registry, **{**SMALL, "copies": 2}, attacks=("asserting", "toy_tune"))
    outcomes = list(run_plan(found, RunConfig(Store(tmp_path), registry, tmp_path), reporter).values())
    (failed,) = (o for o in outcomes if o.status == "failed")
    assert failed.error == LOST
    (note,) = reporter.notes
    assert note == (
        "Stopping: a task left cpu unusable in this process. Run again with --workers 1: only the worker is restarted "
        "then"
    )
    assert outcomes[-1].status == "blocked" and len(outcomes) < len(found.tasks)


LOST = "RuntimeError: CUDA error: device-side assert triggered; its process could not use the device any more"


def test_a_task_that_another_run_computes_is_waited_for(tmp_path):
    registry, store = toy_registry(), Store(tmp_path)
    found = planned(registry, **SMALL, attacks=())
    source = next(t for t in found.tasks.values() if t.role == "source")
    ours, let_go = threading.Event(), threading.Event()

    def other():
        with claim(Store(tmp_path), source.key) as claimed:
            assert claimed
            ours.set()
            let_go.wait(20)

    thread = threading.Thread(target=other)
    thread.start()
    ours.wait(20)

    class Releasing(Recorder):
        def task_finished(self, outcome):
            super().task_finished(outcome)
            if len(self.outcomes) == 2:  # the data and the irrelevant model: all that does not need the source
                let_go.set()

    outcomes = run_plan(found, RunConfig(store, registry, tmp_path), Releasing())
    thread.join()
    assert set(outcomes) == set(found.tasks)
    assert {o.status for o in outcomes.values()} == {"done"}
    assert list(outcomes)[2] == source.key


def test_a_failure_blocks_what_needs_it_and_the_rest_goes_on(tmp_path):
    @dataclass(frozen=True)
    class Raiser(toy_plugins.ToyCopy):
        """Take the place of toy_copy."""

        def steal(self, source, data, build, context):
            raise ValueError("no")

    registry = toy_registry(Raiser())
    found = planned(registry, **SMALL)
    outcomes = run_plan(found, RunConfig(Store(tmp_path), registry, tmp_path))
    assert {o.status for o in of(found, outcomes, "steal", attack="toy_copy")} == {"failed"}
    blocked = [o for o in outcomes.values() if o.status == "blocked"]
    assert {found.tasks[o.key].kind for o in blocked} == {"steal", "score"}
    assert {(o.error, o.root) for o in blocked} == {("ValueError: no", "steal toy toy_copy toy_net 0")}
    assert {o.status for o in of(found, outcomes, "steal", attack="toy_tune")} == {"done"}
    assert set(outcomes) == set(found.tasks)


# --- workers ------------------------------------------------------------------------------------------------------

FAULTS = '''
"""Attacks that go wrong, for workers to load."""
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from bench import hookimpl
from bench.testing.toy_plugins import ToyTune


@dataclass(frozen=True)
class Killer(ToyTune):
    """Kill the worker, always."""
    name: str = "killer"

    def steal(self, source, data, build, context):
        os._exit(9)


@dataclass(frozen=True)
class Once(ToyTune):
    """Kill the worker the first time."""
    name: str = "once"
    flag: str = ""

    def steal(self, source, data, build, context):
        if not Path(self.flag).exists():
            Path(self.flag).write_text("killed")
            os._exit(9)
        context.note(survived=1)
        return super().steal(source, data, build, context)


@dataclass(frozen=True)
class Sleeper(ToyTune):
    """Sleep for ever."""
    name: str = "sleeper"

    def steal(self, source, data, build, context):
        time.sleep(600)


@dataclass(frozen=True)
class Raiser(ToyTune):
    """Raise."""
    name: str = "raiser"

    def steal(self, source, data, build, context):
        raise ValueError("no")


@dataclass(frozen=True)
class Placed(ToyTune):
    """Wait for one on the other device, and say where it runs."""
    name: str = "placed"
    folder: str = ""

    def steal(self, source, data, build, context):
        (Path(self.folder) / os.environ["CUDA_VISIBLE_DEVICES"]).touch()
        patience = time.monotonic() + 12
        while len(list(Path(self.folder).iterdir())) < 2 and time.monotonic() < patience:
            time.sleep(0.1)
        context.note(gpu=os.environ["CUDA_VISIBLE_DEVICES"], process=os.getpid(), threads=os.environ["OMP_NUM_THREADS"])
        return super().steal(source, data, build, context)


@dataclass(frozen=True)
class Asserting(ToyTune):
    """Lose the process its GPU."""
    name: str = "asserting"

    def steal(self, source, data, build, context):
        LOST.append(True)
        raise RuntimeError("CUDA error: device-side assert triggered\\nCUDA kernel errors might be reported later")


LOST = []
"""Everything fails in a process where something is in it."""


@dataclass(frozen=True)
class Sensitive(ToyTune):
    """Use the GPU."""
    name: str = "sensitive"

    def steal(self, source, data, build, context):
        if LOST:
            raise RuntimeError("CUDA error: device-side assert triggered")
        return super().steal(source, data, build, context)


@dataclass(frozen=True)
class Greedy(ToyTune):
    """Find no memory the first time, when both workers have begun."""
    name: str = "greedy"
    folder: str = ""

    def steal(self, source, data, build, context):
        folder = Path(self.folder)
        (folder / f"tried {time.monotonic()}").touch()
        while len(list(folder.glob("began *"))) < 2:
            time.sleep(0.05)
        if len(list(folder.glob("tried *"))) == 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        context.note(emptied=len(list(folder.glob("emptied *"))))
        return super().steal(source, data, build, context)


if "FOLDER" in os.environ:  # in a worker: torch empties no cache here, but says that it was asked to
    Path(os.environ["FOLDER"], f"began {os.getpid()}").touch()
    torch.cuda.empty_cache = lambda: Path(os.environ["FOLDER"], f"emptied {os.getpid()}").touch()


@hookimpl
def bench_attacks():
    return [Killer(), Once(), Sleeper(), Raiser(), Placed(), Asserting(), Sensitive(), Greedy()]
'''


@pytest.fixture
def plugins(tmp_path):
    (tmp_path / "faults.py").write_text(FAULTS)
    return (toy_plugins.__file__, str(tmp_path / "faults.py"))


def together(*plans):
    """Put the tasks of several plans into one graph."""
    return replace(plans[0], tasks={key: task for p in plans for key, task in p.tasks.items()})


def test_one_worker_gives_the_scores_of_inline_although_a_task_kills_it_each_time(toy_run, plugins, tmp_path):
    registry = load_registry(plugins)
    found = together(
        planned(registry, methods=("toy_match", "toy_mark")), planned(registry, **SMALL, attacks=("killer",))
    )
    config = RunConfig(Store(tmp_path / "store"), registry, tmp_path, slots=[Slot("cpu")], plugins=plugins)
    outcomes = run_plan(found, config)
    assert set(outcomes) == set(found.tasks)
    (killed,) = of(found, outcomes, "steal", attack="killer")
    assert killed.status == "failed"
    assert killed.error == (
        "the worker died 3 times while it ran this task; if its log is empty, memory may have run out: use fewer "
        "--workers"
    )
    for outcome in outcomes.values():
        needs_it = killed.key in found.tasks[outcome.key].inputs.values()
        assert outcome.status == ("failed" if outcome is killed else "blocked" if needs_it else "done")
    assert set(scores(outcomes).items()) <= set(toy_run.scores().items())


def test_two_workers_on_fake_gpus_give_the_scores_of_inline_and_survive_every_fault(toy_run, plugins, tmp_path):
    registry = load_registry(plugins)
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    found = together(
        planned(registry),
        planned(registry, **{**SMALL, "copies": 6}, attacks=("placed",), settings={"placed": {"folder": f"{meeting}"}}),
        planned(
            registry, **SMALL, attacks=("once", "sleeper", "raiser"), settings={"once": {"flag": f"{tmp_path}/killed"}}
        ),
    )
    slots = [Slot("cpu", {"CUDA_VISIBLE_DEVICES": name}) for name in ("4", "GPU-7f")]
    store, reporter = Store(tmp_path / "store"), Recorder()
    outcomes = run_plan(
        found, RunConfig(store, registry, tmp_path, slots=slots, plugins=plugins, timeout=15.0), reporter
    )
    assert set(outcomes) == set(found.tasks)

    (once,) = of(found, outcomes, "steal", attack="once")
    assert (once.status, once.facts.get("notes")) == ("done", {"survived": 1})
    assert (tmp_path / "killed").exists()
    (slept,) = of(found, outcomes, "steal", attack="sleeper")
    assert (slept.status, slept.error) == ("failed", "it ran longer than --task-timeout 15 s and was stopped")
    (raised,) = of(found, outcomes, "steal", attack="raiser")
    assert (raised.status, raised.error) == ("failed", "ValueError: no")
    assert "ValueError: no" in store.log(raised.key).read_text()

    bad = {slept.key, raised.key}
    for outcome in outcomes.values():
        needs_bad = bool(bad & set(found.tasks[outcome.key].inputs.values()))
        assert outcome.status == ("failed" if outcome.key in bad else "blocked" if needs_bad else "done")
    assert set(toy_run.scores().items()) <= set(scores(outcomes).items())

    placed = [o.facts["notes"] for o in of(found, outcomes, "steal", attack="placed")]
    assert {n["gpu"] for n in placed} == {"4", "GPU-7f"}
    assert {n["threads"] for n in placed} == {"1"}
    assert len({n["process"] for n in placed}) == len({(n["process"], n["gpu"]) for n in placed}) >= 2
    assert reporter.progress
    assert set(reporter.started) <= set(found.tasks)


def test_a_worker_that_lost_its_device_is_replaced_and_no_later_task_suffers(plugins, tmp_path):
    registry = load_registry(plugins)
    found = planned(registry, **{**SMALL, "copies": 2}, attacks=("asserting", "sensitive"))
    config = RunConfig(Store(tmp_path / "store"), registry, tmp_path, slots=[Slot("cpu")], plugins=plugins)
    outcomes = run_plan(found, config)
    assert set(outcomes) == set(found.tasks)
    assert [o.error for o in of(found, outcomes, "steal", attack="asserting")] == [LOST] * 2
    assert [o.status for o in of(found, outcomes, "steal", attack="sensitive")] == ["done"] * 2
    assert {o.error for o in outcomes.values()} == {"", LOST}


def test_a_worker_without_a_gpu_that_works_gets_no_tasks_and_the_others_do_them(plugins, tmp_path):
    registry, reporter = load_registry(plugins), Recorder()
    found = planned(registry, **{**SMALL, "copies": 6})
    slots = [Slot("cuda:0", {"CUDA_VISIBLE_DEVICES": ""}), Slot("cpu")]
    config = RunConfig(Store(tmp_path / "store"), registry, tmp_path, slots=slots, plugins=plugins)
    outcomes = run_plan(found, config, reporter)
    assert set(outcomes) == set(found.tasks)
    assert {(o.status, o.device) for o in outcomes.values()} == {("done", "cpu")}
    (note,) = reporter.notes
    assert note.startswith(
        f"Note: a worker of {socket.gethostname()} cannot execute tasks of this run: its device cuda:0 cannot be used: "
    )


@pytest.mark.slow
def test_a_run_whose_workers_can_execute_nothing_ends_with_their_reason(plugins, tmp_path, monkeypatch):
    monkeypatch.setattr(usable, "PATIENCE", 1.0)
    registry, reporter = load_registry(plugins), Recorder()
    slots = [Slot("cuda:0", {"CUDA_VISIBLE_DEVICES": ""})] * 2
    config = RunConfig(Store(tmp_path / "store"), registry, tmp_path, slots=slots, plugins=plugins)
    with pytest.raises(BenchError, match=r"^No worker is left: a worker of .*: its device cuda:0 cannot be used: "):
        run_plan(planned(registry, **SMALL), config, reporter)
    assert reporter.outcomes == []


def test_all_workers_free_their_memory_before_a_task_runs_alone(plugins, tmp_path):
    registry = load_registry(plugins)
    found = planned(registry, **SMALL, attacks=("greedy",), settings={"greedy": {"folder": str(tmp_path)}})
    slots = [Slot("cpu", {"FOLDER": str(tmp_path)})] * 2
    config = RunConfig(Store(tmp_path / "store"), registry, tmp_path, slots=slots, plugins=plugins)
    (outcome,) = of(found, run_plan(found, config), "steal")
    assert outcome.facts["notes"] == {"emptied": 2}
    assert len(list(tmp_path.glob("began *"))) == 2


METHODS = '''
"""Two methods that score quickly, and one whose score never ends and keeps Python's lock."""
import ctypes
import time
from dataclasses import dataclass

from bench import hookimpl
from bench.testing.toy_plugins import ToyMatch


@dataclass(frozen=True)
class First(ToyMatch):
    """Take the time that the report of its start needs."""

    def score(self, fingerprint, suspect):
        time.sleep(0.1)
        return super().score(fingerprint, suspect)


@dataclass(frozen=True)
class Hanging(ToyMatch):
    """Sleep in C."""

    def score(self, fingerprint, suspect):
        time.sleep(0.02)  # the report of its start needs so long where it is alone, and longer after others
        ctypes.PyDLL(None).sleep(3600)


@hookimpl
def bench_methods():
    return [First("before"), Hanging("hanging"), ToyMatch("after")]
'''


@pytest.mark.slow
def test_a_score_that_keeps_pythons_lock_fails_by_the_time_limit_and_no_other_does(tmp_path):
    """The worker cannot report its start: what it reported last is the start of a score before it."""
    (tmp_path / "methods.py").write_text(METHODS)
    plugins = (toy_plugins.__file__, str(tmp_path / "methods.py"))
    registry, store = load_registry(plugins), Store(tmp_path / "store")
    found = planned(registry, **{**SMALL, "methods": ("before", "hanging", "after")}, attacks=())
    tasks = {key: task for key, task in found.tasks.items() if task.kind == "score"}
    others = replace(found, tasks={key: task for key, task in found.tasks.items() if key not in tasks})
    run_plan(others, RunConfig(store, registry, tmp_path))
    config = RunConfig(store, registry, tmp_path, slots=[Slot("cpu")], plugins=plugins, timeout=5.0)
    scored = replace(found, tasks=tasks)
    outcomes = run_plan(scored, config)
    assert {o.status for name in ("before", "after") for o in of(scored, outcomes, "score", method=name)} == {"done"}
    (hanging,) = of(scored, outcomes, "score", method="hanging")
    assert (hanging.status, hanging.error) == ("failed", "it ran longer than --task-timeout 5 s and was stopped")


def test_machines_read_the_objects_of_a_session_from_the_store_as_they_were_written(tmp_path):
    registry = Registry()
    registry.add(toy_plugins.ToyMatch(), session.SESSION)
    shared = RunConfig(Store(tmp_path), registry, tmp_path, address="tcp://here", plugins=(session.ship(registry),))
    for config, is_shared in ((shared, True), (replace(shared, address=""), False)):
        with scheduler._written_session(config) as written:
            (file,) = written.plugins
            path = Path(file.path)
            assert (path.parent == tmp_path / "tmp") == is_shared
            assert "toy_match" in load_registry(written.plugins, []).entries["method"]
            path.write_bytes(path.read_bytes() + b"more")
            with pytest.raises(BenchError, match=r"cannot be used in this process: .*is not what the run wrote"):
                load_registry(written.plugins, [])
        assert not path.exists()
