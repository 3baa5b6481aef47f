"""Two runs in one store share the work: each task is executed once, and no run waits for a dead one."""

import re

import pytest
from processes import TASKS, seed_of

pytestmark = pytest.mark.faults


def executed(text):
    return int(re.search(r"^executed (\d+) tasks, 0 failed", text, re.MULTILINE)[1])


@pytest.mark.parametrize("workers", ["0", pytest.param("1", marks=pytest.mark.slow)])
def test_two_runs_started_together_do_each_task_once(world, undisturbed, workers):
    runs = [world.run("--workers", workers, pause=0.3) for _ in range(2)]
    counts = [executed(run.end()) for run in runs]
    assert sum(counts) == TASKS
    assert min(counts) > 0, "they did not run at the same time"
    assert world.rows() == undisturbed.rows
    assert world.whole() == undisturbed.keys


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_when_one_of_two_is_killed_the_other_does_the_rest(world, undisturbed, workers):
    one, other = (world.run("--workers", workers, out=out, pause=0.2) for out in ("one", "other"))
    world.begun(8, one)
    one.kill()
    finished, before = world.whole(), len(world.started())
    other.end()
    assert world.rows("other") == undisturbed.rows
    assert world.whole() == undisturbed.keys
    assert not {seed_of(key) for key in finished} & set(world.started()[before:])
