"""What happens when a task fails or its worker dies: each decision, and what it does to the queue. No Dask."""

import time
from types import SimpleNamespace

import pytest

from bench.core.errors import StoreError
from bench.core.kinds import FailureCause, Status
from bench.core.tasks import Outcome, Task
from bench.execution import retry_policy
from bench.execution.queue import TaskQueue
from bench.execution.retry_policy import (
    OPEN_FILES,
    RETRY_DELAY,
    RecomputeInputs,
    Requeue,
    RetryPolicy,
    RunAlone,
    Settle,
    StopRun,
    apply,
)
from bench.execution.run_config import Reporter


def task(key, **inputs):
    return Task("train", "source", {"dataset": {"name": f"set_{key}"}}, inputs, key)


def failure(key="a", cause=FailureCause.NONE, error="it broke"):
    return Outcome(key, Status.FAILED, error=error, cause=cause)


# --- decisions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome",
    [Outcome("a", Status.DONE), failure(), failure(cause=FailureCause.DEVICE)],
    ids=["success", "failure", "lost device"],
)
def test_a_success_and_an_ordinary_failure_are_final(outcome):
    assert RetryPolicy().after_outcome(outcome) == Settle(outcome)


def test_a_task_whose_process_could_open_no_more_files_runs_twice_more_in_others():
    policy, full = RetryPolicy(), failure(cause=FailureCause.DEVICE, error=OPEN_FILES)
    for _ in range(2):
        assert policy.after_outcome(full) == Requeue("a", RETRY_DELAY, single=True)
    assert policy.after_outcome(full) == Settle(full)


def test_a_task_that_another_process_computes_is_asked_for_again():
    policy = RetryPolicy()
    for _ in range(3):
        assert policy.after_outcome(Outcome("a", Status.BUSY)) == Requeue("a", RETRY_DELAY)


def test_the_user_is_to_know_once_of_a_task_that_another_process_computes_for_long(monkeypatch):
    """A run that was suspended keeps its locks, and nothing happens in the one that waits."""
    now, policy = [1000.0], RetryPolicy()
    monkeypatch.setattr(retry_policy, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def asked(seconds, key="a"):
        now[0] += seconds
        return policy.after_outcome(Outcome(key, Status.BUSY)).waits

    assert [asked(4.0) for _ in range(15)] == [False] * 15
    assert not asked(100.0)  # something else was computed
    assert [asked(4.0) for _ in range(16)] == [False] * 14 + [True, False]
    assert not asked(4.0, "b")
    assert [asked(4.0) for _ in range(30)] == [False] * 30


def test_a_store_that_cannot_be_used_stops_the_run():
    assert RetryPolicy().after_outcome(failure(cause=FailureCause.STORE, error="disk full")) == StopRun("disk full")


def test_a_damaged_input_is_recomputed():
    damaged = failure(cause=FailureCause.DAMAGED)
    assert RetryPolicy().after_outcome(damaged) == RecomputeInputs(damaged)


def test_an_input_that_another_machine_does_not_find_is_looked_for_again_for_longer_than_nfs_needs():
    policy, missing = RetryPolicy(machines=True), failure(cause=FailureCause.DAMAGED)
    delays = [policy.after_outcome(missing).delay for _ in range(8)]
    assert delays == [1.5, 3, 6, 12, 24, 48, 0, 0]
    assert policy.after_outcome(failure("b", FailureCause.DAMAGED)).delay == 1.5


def test_out_of_memory_is_tried_once_more_alone_and_then_final():
    policy, full = RetryPolicy(), failure(cause=FailureCause.MEMORY, error="out of memory: 9 GiB")
    assert policy.after_outcome(full) == RunAlone("a")
    assert policy.out_of_memory == {"a": 1}
    assert policy.after_outcome(failure("b", FailureCause.MEMORY)) == RunAlone("b")
    final = policy.after_outcome(full)
    assert isinstance(final, Settle)
    assert final.outcome.error == "out of memory: 9 GiB (also when it ran alone in this run)"
    assert final.outcome.status == Status.FAILED


def test_a_task_that_ran_out_of_memory_beside_others_again_runs_alone_again_a_few_times():
    """Another run may have computed it meanwhile, or an input was missing: it comes back to the queue then."""
    policy, full = RetryPolicy(), failure(cause=FailureCause.MEMORY, error="out of memory")
    decisions = [policy.after_outcome(full, alone=False) for _ in range(4)]
    assert decisions == [RunAlone("a")] * 3 + [Settle(full)]
    assert RetryPolicy().after_outcome(full, alone=True) == RunAlone("a"), "others held memory that is freed now"


def test_a_dead_worker_fails_the_only_task_of_its_unit():
    (decision,) = RetryPolicy().after_death([task("a")], "the worker died 3 times", "log.txt")
    expected = Outcome("a", Status.FAILED, error="the worker died 3 times", root="train source set_a", log="log.txt")
    assert decision == Settle(expected)


def test_a_task_that_was_not_reported_to_have_started_runs_alone_after_the_death_of_its_worker():
    assert RetryPolicy().after_death([task("a")], "died", "", suspected=False) == [RunAlone("a")]


def test_the_tasks_of_a_unit_whose_worker_died_run_alone_and_count_as_no_lack_of_memory():
    policy = RetryPolicy()
    assert policy.after_death([task("a"), task("b")], "died", "") == [RunAlone("a"), RunAlone("b")]
    assert policy.out_of_memory == {}
    assert policy.after_outcome(failure("a", FailureCause.MEMORY)) == RunAlone("a")


def test_a_timeout_keeps_the_finished_and_runs_each_of_the_others_in_a_unit_of_its_own():
    """The one that was reported last may have ended since."""
    unit = [task("a"), task("b"), task("c")]
    done = Outcome("a", Status.DONE, facts={"score": 1.0}, seconds=4.5, device="cpu")
    decisions = RetryPolicy().after_timeout(unit, "b", {"a": done}, "too long", "log.txt")
    assert decisions == [Settle(done), Requeue("b", single=True), Requeue("c", single=True)]


def test_a_timeout_fails_the_running_task_if_all_others_are_finished():
    unit, done = [task("a"), task("b")], Outcome("a", Status.DONE, seconds=4.5)
    assert RetryPolicy().after_timeout(unit, "b", {"a": done}, "too long", "log.txt") == [
        Settle(done),
        Settle(Outcome("b", Status.FAILED, error="too long", root="train source set_b", log="log.txt")),
    ]


def test_a_task_after_one_that_finished_just_before_the_timeout_runs_again():
    done = Outcome("a", Status.DONE, seconds=4.5)
    decisions = RetryPolicy().after_timeout([task("a"), task("b")], "a", {"a": done}, "too long", "")
    assert decisions == [Settle(done), Requeue("b", single=True)]


def test_a_task_that_finished_just_before_the_timeout_is_done():
    done = Outcome("a", Status.DONE, seconds=4.5)
    (decision,) = RetryPolicy().after_timeout([task("a")], "a", {"a": done}, "too long", "")
    assert decision == Settle(done)


# --- what they do -------------------------------------------------------------------------------------------------


class Finished(Reporter):
    def __init__(self):
        self.outcomes, self.notes = [], []

    def note(self, text):
        self.notes.append(text)

    def task_finished(self, outcome):
        self.outcomes.append((outcome.key, outcome.status))


@pytest.fixture
def queue():
    """A queue whose first task has been taken; another one needs it."""
    queue = TaskQueue({"a": task("a"), "b": task("b", source="a")})
    assert [t.key for t in queue.take()] == ["a"]
    return queue


@pytest.fixture
def run(queue):
    """Apply a decision; return what was reported and what is to run alone."""

    def run(decision, missing_inputs=lambda key: {}):
        reporter, alone = Finished(), []
        apply(decision, queue, reporter, missing_inputs, alone.append)
        return reporter.outcomes, alone

    return run


def keys(unit):
    return [t.key for t in unit]


def test_a_settled_failure_is_reported_with_all_that_it_blocks(run, queue):
    assert run(Settle(failure())) == ([("a", "failed"), ("b", "blocked")], [])
    assert queue.unfinished == 0


def test_a_settled_success_makes_its_dependants_ready(run, queue):
    assert run(Settle(Outcome("a", Status.DONE))) == ([("a", "done")], [])
    assert keys(queue.take()) == ["b"]


def test_a_requeued_task_comes_after_its_delay(run, queue):
    assert run(Requeue("a", 60)) == ([], [])
    assert queue.take() == []
    assert run(Requeue("a")) == ([], [])
    assert keys(queue.take()) == ["a"]


def test_a_task_that_is_waited_for_is_named(queue):
    reporter = Finished()
    for waits in (False, True):
        apply(Requeue("a", 0.0, waits), queue, reporter, lambda key: {}, [].append)
    assert reporter.notes == [
        "Note: waiting for another run in this store, which computes train source set_a. If it was suspended (Ctrl-Z), "
        "continue it or end it"
    ]


def test_a_task_that_shares_its_lock_with_a_running_one_of_this_run_waits_for_no_other_run():
    """Among thousands of keys, some begin alike."""
    queue, reporter = TaskQueue({key: task(key) for key in ("abcd1", "abcd2", "abcd3")}), Finished()
    assert [keys(queue.take()), keys(queue.take())] == [["abcd1"], ["abcd2"]]

    def decide(decision):
        apply(decision, queue, reporter, lambda key: {}, [].append)

    decide(Requeue("abcd2", 0.0, waits=True))
    assert reporter.notes == []
    decide(Settle(Outcome("abcd1", Status.DONE)))
    assert keys(queue.take()) == ["abcd2"]
    decide(Requeue("abcd2", 0.0, waits=True))
    (note,) = reporter.notes
    assert note.startswith("Note: waiting for another run in this store, which computes train source set_abcd2.")


def test_a_task_that_runs_alone_is_for_the_engine_and_not_in_the_queue(run, queue):
    assert run(RunAlone("a")) == ([], ["a"])
    assert queue.take() == []
    assert queue.unfinished == 2


def test_stopping_the_run_raises(run):
    with pytest.raises(StoreError, match="disk full"):
        run(StopRun("disk full"))


def test_missing_inputs_run_before_the_task_that_needs_them(run, queue):
    run(Settle(Outcome("a", Status.DONE)))
    assert keys(queue.take()) == ["b"]
    damaged = failure("b", FailureCause.DAMAGED)
    assert run(RecomputeInputs(damaged), lambda key: {"a": task("a")}) == ([], [])
    assert keys(queue.take()) == ["a"]
    assert queue.take() == []
    run(Settle(Outcome("a", Status.DONE)))
    assert keys(queue.take()) == ["b"]


def test_an_input_that_only_another_machine_misses_is_waited_for(run, queue):
    run(Settle(Outcome("a", Status.DONE)))
    assert keys(queue.take()) == ["b"]
    damaged = failure("b", FailureCause.DAMAGED)
    for _ in range(9):
        assert run(RecomputeInputs(damaged, 0.01)) == ([], [])
        assert queue.take() == []
        time.sleep(0.02)
        assert keys(queue.take()) == ["b"]
    assert run(RecomputeInputs(damaged, 60), lambda key: {"a": task("a")}) == ([], [])
    assert keys(queue.take()) == ["a"], "one that is missing is recomputed at once"


def test_inputs_that_are_damaged_again_and_again_are_given_up(run, queue):
    run(Settle(Outcome("a", Status.DONE)))
    damaged, attempts = failure("b", FailureCause.DAMAGED), 0
    while not (reported := run(RecomputeInputs(damaged), lambda key: {"a": task("a")})[0]):
        attempts += 1
        run(Settle(Outcome("a", Status.DONE)))
    assert reported == [("b", "failed")]
    assert attempts == 2  # one more than it has inputs


def test_an_input_that_failed_is_not_recomputed():
    queue, reporter = TaskQueue({"x": task("x"), "y": task("y")}), Finished()
    assert [keys(queue.take()), keys(queue.take())] == [["x"], ["y"]]
    for decision in (Settle(failure("x")), RecomputeInputs(failure("y", FailureCause.DAMAGED))):
        apply(decision, queue, reporter, lambda key: {"x": task("x")}, [].append)
    assert reporter.outcomes == [("x", "failed"), ("y", "failed")]
    assert queue.unfinished == 0
