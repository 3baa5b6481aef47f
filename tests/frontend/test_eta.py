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


def test_of_what_is_left_the_known_part_is_the_least():
    run = FakeRun(train_net=6, fingerprint_a=2, score_a=9)
    run.do("train", 60.0, 2)
    assert run.eta.at_least() is None  # too few have finished
    run.do("train", 60.0)
    assert run.remaining() is None  # of fingerprints nothing is known
    assert run.eta.at_least() == pytest.approx(3 * 60.0)
    run.do("fingerprint", 10.0)
    assert run.remaining() == run.eta.at_least() == pytest.approx(3 * 60.0 + 10.0)
    run = FakeRun(train_net=3, fingerprint_a=2)
    run.do("train", 60.0, 3)
    assert run.eta.at_least() is None


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


# --- trainings that differ in length ------------------------------------------------------------------------------


def network(kind, data, architecture, n, **components):
    """Return a task that trains a network."""
    params = {"architecture": {"name": architecture}, "replicate": n, **{k: {"name": v} for k, v in components.items()}}
    return Task.of(kind, kind, params, {"data": data})


class Trainings(FakeRun):
    """A run of tasks that the test makes, of which `do_next` does the first that is left."""

    def __init__(self, *made):
        super().__init__(data=3)
        self.tasks.update({t.key: t for t in made})
        self.waiting = list(self.tasks)
        self.do("data", 0.1, 3)

    def do_next(self, seconds):
        self.do(self.tasks[self.waiting[0]].kind, seconds)


def attack(name, n, architecture="net", **params):
    """Return a task that steals a network; `params` are the fields of the attack."""
    task = network("steal", "small", architecture, n)
    return Task.of("steal", "stolen", {**task.params, "attack": {"name": name, "params": params}}, task.inputs)


def test_an_attack_that_was_not_seen_takes_its_length_of_a_whole_training():
    tuned = [attack("tune", n, length=0.25) for n in (0, 1)]
    run = Trainings(network("train", "small", "net", 0), attack("extract", 0, length=1.0), *tuned)
    run.do_next(10.0)
    assert run.remaining() == pytest.approx(10.0 + 2 * 2.5, rel=0.05)
    run.do_next(12.0)
    assert run.remaining() == pytest.approx(2 * 3.0, rel=0.05)
    run.do_next(5.0)  # what was measured counts
    assert run.remaining() == pytest.approx(5.0, rel=0.05)


def test_a_whole_training_is_estimated_from_short_ones_by_their_lengths():
    run = Trainings(*[attack("tune", n, length=0.25) for n in (0, 1)], attack("extract", 0, length=1.0))
    run.do_next(2.0)
    run.do_next(3.0)
    assert run.remaining() == pytest.approx(10.0, rel=0.05)
    run = Trainings(network("train", "small", "net", 0), network("train", "small", "deep", 0))
    run.tasks.update({t.key: t for t in (attack("tune", n, "deep", length=0.5) for n in (0, 1))})
    run.do_next(10.0)
    run.do_next(30.0)
    assert run.remaining() == pytest.approx(2 * 15.0, rel=0.05)


@pytest.mark.parametrize("length", [None, "long", True, 0, -1.0])
def test_a_length_that_says_nothing_is_that_of_a_whole_training(length):
    run = Trainings(network("train", "small", "net", 0), attack("odd", 0, length=length))
    run.do_next(10.0)
    assert run.remaining() == pytest.approx(10.0, rel=0.05)


def test_trainings_on_other_data_or_of_another_architecture_are_no_estimate():
    made = [network("train", d, a, n) for d, a in (("small", "net"), ("small", "deep"), ("big", "net")) for n in (0, 1)]
    run = Trainings(*made, network("train", "big", "deep", 0))
    for seconds, left in ((1.0, None), (1.0, None), (20.0, None), (20.0, None), (50.0, 100.0), (50.0, 50.0)):
        run.do_next(seconds)
        assert run.remaining() == (left if left is None else pytest.approx(left, rel=0.02))


def test_a_running_training_of_unknown_length_is_unknown_until_it_reports_progress():
    run = Trainings(network("train", "small", "net", 0), network("train", "big", "net", 0))
    run.do_next(1.0)
    key = run.start("train")
    run.clock.now += 30.0
    assert run.remaining() is None
    run.eta.task_progressed(key, 0.1)
    assert run.remaining() == pytest.approx(270.0, rel=0.02)


def test_progress_counts_after_other_trainings_have_ended_too():
    made = [network("steal", "small", "net", n, attack=a) for a in ("quick", "slow") for n in (0, 1)]
    run = Trainings(*made)
    run.do_next(1.0)
    run.do_next(1.0)
    key = run.start("steal")
    assert run.remaining() == pytest.approx(2.0, rel=0.3)
    run.clock.now += 10.0
    run.eta.task_progressed(key, 0.1)
    assert run.remaining() == pytest.approx(90.0 + 100.0, rel=0.05)


def test_a_task_with_several_trainings_is_not_taken_for_the_first_of_them():
    made = [network("steal", "small", "net", n, attack="ensemble") for n in range(2)]
    run = Trainings(*made)
    key = run.start("steal")
    run.clock.now += 10.0
    run.eta.task_progressed(key, 1.0)
    run.eta.task_progressed(key, 0.1)
    assert run.remaining() is None
    run.clock.now += 30.0
    run.end(key, 40.0)
    key = run.start("steal")
    run.clock.now += 10.0
    run.eta.task_progressed(key, 0.9)
    assert run.remaining() == pytest.approx(30.0, rel=0.05)


def test_the_longest_task_is_not_shared():
    run = Trainings(*[network("train", "small", "net", n) for n in range(8)], network("train", "big", "net", 0))
    keys = [run.start("train") for _ in range(9)]
    run.clock.now += 10.0
    for key in keys[:8]:
        run.end(key, 10.0)
    run.eta.task_progressed(keys[8], 0.1)
    assert run.remaining() == pytest.approx(90.0)


def test_a_fingerprint_is_unknown_until_one_is_known():
    source = network("train", "small", "net", 0)
    made = [Task.of("fingerprint", "", {"method": {"name": m}}, {"data": "small", "source": source.key}) for m in "abc"]
    run = Trainings(source, *made)
    run.do_next(1.0)
    assert run.remaining() is None
    run.do_next(60.0)
    assert run.remaining() == pytest.approx(120.0, rel=0.02)


def test_scores_are_estimated_from_those_on_the_same_data():
    made = [
        Task.of("score", "", {"method": {"name": "zest"}}, {"data": d, "suspect": f"{d}{n}"})
        for d in ("small", "big")
        for n in range(3)
    ]
    run = Trainings(*made)
    run.do("score", 1.0, 3)
    assert run.remaining() == pytest.approx(3.0, rel=0.2)
    run.do("score", 60.0)
    assert run.remaining() == pytest.approx(120.0, rel=0.05)
