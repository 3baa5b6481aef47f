"""How long the rest of a run will take: trainings are long, scores short, and the run itself says how long."""

import pytest

from bench.cli.eta import Eta
from bench.core.tasks import Outcome, Task


class Clock:
    """A clock that the test sets."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def tasks(**counts):
    """Make tasks: `train_net=2` is two trainings of `net`, `score_sac=5` five scores by `sac`."""
    said = {"train": "architecture", "steal": "attack", "embed": "method", "fingerprint": "method", "score": "method"}
    made = {}
    for name, count in counts.items():
        kind, _, of = name.partition("_")
        for n in range(count):
            task = Task.of(kind, kind, {said[kind]: {"name": of}, "replicate": n} if kind in said else {"n": n}, {})
            made[task.key] = task
    return made


class Story:
    """A run that a test tells, one task after the other unless it says otherwise."""

    def __init__(self, **counts):
        self.clock, self.tasks = Clock(), tasks(**counts)
        self.pace = Eta(self.tasks, self.clock)
        self.waiting = list(self.tasks)

    def start(self, kind):
        key = next(k for k in self.waiting if self.tasks[k].kind == kind)
        self.waiting.remove(key)
        self.pace.started(key)
        return key

    def end(self, key, seconds, status="done", stored=False):
        self.pace.settled(Outcome(key, status, stored=stored, seconds=seconds))

    def do(self, kind, seconds, times=1):
        for _ in range(times):
            key = self.start(kind)
            self.clock.now += seconds
            self.end(key, seconds)

    def left(self):
        return self.pace.left()


def test_short_tasks_do_not_stand_for_long_ones():
    run = Story(data=3, train_net=3, score_sac=1000)
    run.do("data", 0.1, 3)
    assert run.left() is None
    run.do("train", 60.0)
    assert run.left() == pytest.approx(120.0)
    run.do("train", 60.0, 2)
    run.do("score", 0.01, 500)
    assert run.left() == pytest.approx(5.0)


def test_attacks_differ_in_length_and_an_unseen_one_is_like_all_trainings():
    run = Story(train_net=1, steal_tune=3, steal_extract=3)
    run.do("train", 10.0)
    run.do("steal", 2.0, 2)
    known = (10.0 + 2 * 2.0) / 3
    assert run.left() != pytest.approx(4 * known)
    assert run.left() == pytest.approx(2.0 + 3 * 2.0)  # thefts have been seen, hence not those of other kinds
    run.do("steal", 2.0)
    run.do("steal", 8.0)
    assert run.left() == pytest.approx(2 * 8.0)


def test_tasks_side_by_side_halve_the_time():
    run = Story(train_net=8)
    for _ in range(2):
        keys = [run.start("train"), run.start("train")]
        run.clock.now += 10.0
        for key in keys:
            run.end(key, 10.0)
    assert run.left() == pytest.approx(20.0)


def test_what_is_at_work_counts_with_what_is_left_of_it():
    run = Story(data=3, train_net=3)
    run.do("data", 0.0, 3)
    run.do("train", 10.0)
    run.start("train")
    run.clock.now += 4.0
    assert run.left() == pytest.approx(6.0 + 10.0)
    run.clock.now += 30.0
    assert run.left() == pytest.approx(10.0)


def test_the_first_training_says_how_long_it_will_be_by_its_epochs():
    run = Story(data=3, train_net=3)
    run.do("data", 0.0, 3)
    key = run.start("train")
    run.clock.now += 5.0
    assert run.left() is None
    run.pace.progressed(key, 0.25)
    assert run.left() == pytest.approx(15.0 + 2 * 20.0)


def test_what_failed_was_blocked_or_lay_in_the_store_says_nothing_of_the_others():
    run = Story(train_net=6)
    run.do("train", 10.0)
    run.end(run.start("train"), 0.0, stored=True)
    run.end(run.start("train"), 0.0, status="failed")
    run.end(run.waiting.pop(), 0.0, status="blocked")
    assert run.left() == pytest.approx(20.0)


def test_tasks_that_are_made_anew_and_tasks_that_come_later_count_once():
    run = Story(data=3, train_net=2)
    run.do("data", 0.0, 3)
    run.do("train", 10.0, 2)
    assert run.left() == 0.0
    again = next(k for k in run.tasks if run.tasks[k].kind == "train")
    run.pace.started(again)
    assert run.left() == pytest.approx(10.0)
    run.clock.now += 10.0
    run.end(again, 10.0)
    assert run.left() == 0.0
    later = tasks(train_net=3)
    run.tasks.update(later)
    run.do_later = [k for k in later if k not in run.pace.over]
    run.pace.started(run.do_later[0])
    assert run.left() == pytest.approx(10.0)
