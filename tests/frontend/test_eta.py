"""The estimated time of the rest of a run, from the durations of its finished tasks."""

import pytest

from bench.core.tasks import Outcome, Task
from bench.frontend.eta import Eta


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def tasks(**counts):
    """Return tasks: `train_net=2` is two trainings of `net`, `score_sac=5` five scores by `sac`."""
    said = {"train": "architecture", "steal": "attack", "embed": "method", "fingerprint": "method", "score": "method"}
    made = {}
    for name, count in counts.items():
        kind, _, of = name.partition("_")
        for n in range(count):
            task = Task.of(kind, kind, {said[kind]: {"name": of}, "replicate": n} if kind in said else {"n": n}, {})
            made[task.key] = task
    return made


class FakeRun:
    """A run with a fake clock, one task after the other unless a test does otherwise."""

    def __init__(self, **counts):
        self.clock, self.tasks = Clock(), tasks(**counts)
        self.eta = Eta(self.tasks, self.clock)
        self.waiting = list(self.tasks)

    def start(self, kind):
        key = next(k for k in self.waiting if self.tasks[k].kind == kind)
        self.waiting.remove(key)
        self.eta.task_started(key)
        return key

    def end(self, key, seconds, status="done", stored=False):
        self.eta.task_finished(Outcome(key, status, stored=stored, seconds=seconds))

    def do(self, kind, seconds, times=1):
        for _ in range(times):
            key = self.start(kind)
            self.clock.now += seconds
            self.end(key, seconds)

    def remaining(self):
        return self.eta.remaining()


def test_short_tasks_are_no_estimate_of_long_ones():
    run = FakeRun(data=3, train_net=3, score_sac=1000)
    run.do("data", 0.1, 3)
    assert run.remaining() is None
    run.do("train", 60.0)
    assert run.remaining() == pytest.approx(120.0)
    run.do("train", 60.0, 2)
    run.do("score", 0.01, 500)
    assert run.remaining() == pytest.approx(5.0)


def test_attacks_differ_in_length_and_an_unseen_one_is_like_all_trainings():
    run = FakeRun(train_net=1, steal_tune=3, steal_extract=3)
    run.do("train", 10.0)
    run.do("steal", 2.0, 2)
    known = (10.0 + 2 * 2.0) / 3
    assert run.remaining() != pytest.approx(4 * known)
    assert run.remaining() == pytest.approx(2.0 + 3 * 2.0)  # thefts have been seen, hence not those of other kinds
    run.do("steal", 2.0)
    run.do("steal", 8.0)
    assert run.remaining() == pytest.approx(2 * 8.0)


def test_tasks_side_by_side_halve_the_time():
    run = FakeRun(train_net=8)
    for _ in range(2):
        keys = [run.start("train"), run.start("train")]
        run.clock.now += 10.0
        for key in keys:
            run.end(key, 10.0)
    assert run.remaining() == pytest.approx(20.0)


def test_a_running_task_counts_with_its_remaining_time():
    run = FakeRun(data=3, train_net=3)
    run.do("data", 0.0, 3)
    run.do("train", 10.0)
    run.start("train")
    run.clock.now += 4.0
    assert run.remaining() == pytest.approx(6.0 + 10.0)
    run.clock.now += 30.0
    assert run.remaining() == pytest.approx(10.0)


def test_the_first_training_is_estimated_from_its_epochs():
    run = FakeRun(data=3, train_net=3)
    run.do("data", 0.0, 3)
    key = run.start("train")
    run.clock.now += 5.0
    assert run.remaining() is None
    run.eta.task_progressed(key, 0.25)
    assert run.remaining() == pytest.approx(15.0 + 2 * 20.0)


def test_failed_blocked_and_cached_tasks_measure_nothing():
    run = FakeRun(train_net=6)
    run.do("train", 10.0)
    run.end(run.start("train"), 0.0, stored=True)
    run.end(run.start("train"), 0.0, status="failed")
    run.end(run.waiting.pop(), 0.0, status="blocked")
    assert run.remaining() == pytest.approx(20.0)


def test_recomputed_and_added_tasks_count_once():
    run = FakeRun(data=3, train_net=2)
    run.do("data", 0.0, 3)
    run.do("train", 10.0, 2)
    assert run.remaining() == 0.0
    again = next(k for k in run.tasks if run.tasks[k].kind == "train")
    run.eta.task_started(again)
    assert run.remaining() == pytest.approx(10.0)
    run.clock.now += 10.0
    run.end(again, 10.0)
    assert run.remaining() == 0.0
    later = tasks(train_net=3)
    run.tasks.update(later)
    run.do_later = [k for k in later if k not in run.eta.finished]
    run.eta.task_started(run.do_later[0])
    assert run.remaining() == pytest.approx(10.0)
