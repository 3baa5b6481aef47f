"""`kill -9` of the driver, a worker, the process that workers are forked from, or everything, at random moments.

The same command then completes it: no finished task is redone, every artifact is complete or absent, and the table
equals that of an undisturbed run.
"""

import random
import signal
import sys
import time
from collections import Counter
from contextlib import suppress

import psutil
import pytest
from processes import PATIENCE, TASKS, World, seed_of

pytestmark = pytest.mark.faults

PAUSES = (0.0, 0.02, 0.2)
"""Seconds that each task sleeps; without sleep, most of the time goes into reading and writing."""
KILLS_PER_STORE = 8
"""After so many kills the run may complete."""


def reach_a_moment(world, running, chance):
    """Wait for a random moment of a run; return False if it ended before."""
    when = chance.choices(("starting", "working", "ending"), (2, 10, 1))[0]
    begun = len(world.started())
    target = {"starting": begun, "working": begun + chance.randint(1, 25), "ending": TASKS}[when]

    def there():
        return len(world.whole() if when == "ending" else world.started()) >= target

    while running.alive and not there():
        time.sleep(0.005)
    end = time.monotonic() + chance.uniform(0, {"starting": 3.0, "working": 0.1, "ending": 1.5}[when])
    while running.alive and time.monotonic() < end:
        time.sleep(0.002)
    return running.alive


def strike(running, victim, chance):
    """Kill a process of a run; return which, or an empty string if it did not exist any more."""
    if victim in ("worker", "nest"):
        there = running.workers() if victim == "worker" else running.nest()
        with suppress(psutil.NoSuchProcess):
            if there:
                chance.choice(there).send_signal(signal.SIGKILL)
                return victim
        return ""
    if not running.alive:
        return ""
    running.signal(signal.SIGKILL, everybody=victim == "everything")
    running.process.wait()
    running.vanish()
    return victim


class Ordeal:
    """One store, one command, and many kills."""

    def __init__(self, world, undisturbed, workers, chance):
        self.world, self.undisturbed, self.workers, self.chance = world, undisturbed, workers, chance
        self.kills = Counter()
        self.finished = []
        """At each kill: the seeds of the tasks whose artifacts were whole, and how long the journal was."""

    def look(self):
        self.finished.append(({seed_of(key) for key in self.world.whole()}, len(self.world.started())))

    def attempt(self, most):
        """Run the command and kill; return True if it completed nevertheless."""
        victims = ("driver",) if self.workers == "0" else ("driver", "worker", "everything", "worker", "nest")
        running = self.world.run("--workers", self.workers, pause=self.chance.choice(PAUSES))
        for _ in range(min(2, most)):  # a task may lose its worker twice
            if not reach_a_moment(self.world, running, self.chance):
                break
            who = strike(running, self.chance.choice(victims), self.chance)
            self.look()
            if who:
                self.kills[who] += 1
            if who not in ("worker", "nest"):
                break
        code = running.process.wait(PATIENCE)
        if code < 0:
            return False
        if code == 2:
            assert "The worker processes cannot be started" in running.text  # one was killed before there was a run
            return False
        running.end()
        return True

    def go(self, most):
        """Kill up to so many times, then let it complete; see that nothing was lost, redone or damaged."""
        complete = False
        while not complete and self.kills.total() < most:
            complete = self.attempt(most - self.kills.total())
        if not complete:
            self.world.run("--workers", self.workers).end()
        assert self.world.rows() == self.undisturbed.rows
        assert self.world.whole() == self.undisturbed.keys

    @property
    def redone(self):
        journal = self.world.started()
        return sum(len(seeds & set(journal[place:])) for seeds, place in self.finished)

    @property
    def damaged(self):
        told = sum(running.text.count("was damaged") for running in self.world.processes)
        return len(self.world.damaged) + told


def ordeals(tmp_path, undisturbed, workers, count, seed):
    """Kill `count` times, in as many stores as it takes; give the kills by victim, and what else was counted."""
    chance, kills, redone, damaged = random.Random(seed), Counter(), 0, 0
    while kills.total() < count:
        world = World(tmp_path / f"{workers}-{kills.total()}")
        ordeal = Ordeal(world, undisturbed, workers, chance)
        try:
            ordeal.go(min(KILLS_PER_STORE, count - kills.total()))
        finally:
            for running in world.processes:
                running.kill()
        kills += ordeal.kills
        redone += ordeal.redone
        damaged += ordeal.damaged
    return kills, redone, damaged


@pytest.mark.parametrize(("workers", "count"), [pytest.param("0", 4, marks=pytest.mark.slow), ("2", 2)])
def test_a_few_kills(tmp_path, undisturbed, workers, count):
    kills, redone, damaged = ordeals(tmp_path, undisturbed, workers, count, seed=4)
    assert (kills.total(), redone, damaged) == (count, 0, 0)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_without_the_process_that_workers_are_forked_from_a_run_goes_on(world, undisturbed):
    running = world.run("--workers", "2", pause=0.2)
    world.begun(3, running)
    (nest,) = running.nest()
    nest.kill()
    running.end()
    assert world.rows() == undisturbed.rows


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_workers_that_die_while_they_start_again_are_replaced(world, undisturbed):
    """Their nannies give up then: a run without any waited forever."""
    running = world.run("--workers", "2", pause=0.2)
    world.begun(3, running)
    killed, end = set(), time.monotonic() + PATIENCE
    while len(killed) < 4 and running.alive and time.monotonic() < end:
        for nest in running.nest():
            if nest.pid not in killed:  # the one of before may be dying
                time.sleep(0.05 * len(killed))
                nest.kill()
                killed.add(nest.pid)
    assert len(killed) == 4
    running.end()
    assert world.rows() == undisturbed.rows


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
@pytest.mark.parametrize("pause", [0.5, *(pytest.param(seconds, marks=pytest.mark.slow) for seconds in (1.0, 2.0))])
def test_results_are_lost_together_with_those_who_would_compute_them_again(world, undisturbed, pause):
    """The run waited for such a result forever, and so did not see that nobody was left."""
    running = world.run("--workers", "2", pause=0.02)
    world.begun(TASKS - 1, running)
    for _ in range(2):
        for nest in running.nest():
            with suppress(psutil.NoSuchProcess):
                nest.kill()
        time.sleep(pause)
    assert running.process.wait(PATIENCE) in (0, 1), running.text  # 1: one task lost its worker three times
    world.here()
    assert world.rows() == undisturbed.rows


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_hundred_kills(tmp_path, undisturbed, tell):
    halves = [ordeals(tmp_path, undisturbed, workers, 50, seed=2026) for workers in ("0", "2")]
    kills, redone, damaged = (sum(counts, type(counts[0])()) for counts in zip(*halves, strict=True))
    tell(f"kills survived: {kills.total()} ({', '.join(f'{who} {n}' for who, n in sorted(kills.items()))})")
    tell(f"finished tasks redone: {redone}")
    tell(f"damaged artifacts used: {damaged}")
    assert (kills.total(), redone, damaged) == (100, 0, 0)
