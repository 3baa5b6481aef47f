"""Ctrl-C waits for the running tasks and writes the results so far; a second one does not wait; SIGTERM acts as one."""

import signal

import pytest
from processes import TASKS, seed_of, wait

pytestmark = pytest.mark.faults

WAITING = "Stopping: waiting for the running tasks"


def complete(world, undisturbed):
    """Run the same command again: it executes the missing tasks only."""
    finished, before = world.whole(), len(world.started())
    text = world.here()
    assert f"{len(finished)} found in the store" in text
    assert not {seed_of(key) for key in finished} & set(world.started()[before:])
    assert world.rows() == undisturbed.rows


def check_table(world, undisturbed):
    """Check that the table has the finished trials, and the others as `not_run`."""
    assert set(world.statuses()) <= {"done", "not_run"}
    for row, whole in zip(world.rows(), undisturbed.rows, strict=True):
        assert row["key"] == whole["key"]
        if row["status"] == "done":
            assert row == whole
    assert world.whole() < undisturbed.keys


@pytest.mark.parametrize(
    ("workers", "number", "everybody"),
    [
        pytest.param("0", signal.SIGINT, True, marks=pytest.mark.slow),
        ("2", signal.SIGINT, True),
        pytest.param("0", signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param("2", signal.SIGTERM, False, marks=pytest.mark.slow),
        pytest.param("2", signal.SIGTERM, True, marks=pytest.mark.slow),
    ],
)
def test_once_waits_for_what_runs_and_writes_what_there_is(world, undisturbed, workers, number, everybody):
    running = world.run("--workers", workers, pause=0.5)
    world.begun(4, running)
    if everybody:
        for process in running.workers() + running.nest():  # they ignore this signal, too
            process.send_signal(signal.SIGTERM)
    running.signal(number, everybody)
    text = running.end(130)
    assert text.count(WAITING) == 1
    assert "not_run" in text
    # what was begun was finished, where it was begun, and is not lost
    assert set(world.started()) == {seed_of(key) for key in world.whole()}
    assert len(world.processes_that_worked()) <= max(1, int(workers))
    check_table(world, undisturbed)
    complete(world, undisturbed)


@pytest.mark.parametrize(
    ("workers", "first", "second"),
    [
        ("0", signal.SIGTERM, signal.SIGINT),
        ("0", signal.SIGTERM, signal.SIGTERM),
        pytest.param("0", signal.SIGINT, signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("0", signal.SIGINT, signal.SIGINT, marks=pytest.mark.slow),
        pytest.param("2", signal.SIGINT, signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_twice_does_not_wait_for_a_task_that_never_ends(world, undisturbed, workers, first, second):
    hanging = undisturbed.seeds["steal slow_images slow_copy slow_net 1"]
    running = world.run("--workers", workers, hang=hanging)
    wait(lambda: hanging in world.started(), "the hanging task begins")
    running.signal(first, True)
    wait(lambda: WAITING in running.text, "it says that it waits")
    assert running.alive
    running.signal(second, True)
    running.end(130)
    check_table(world, undisturbed)
    assert hanging not in {seed_of(key) for key in world.whole()}
    assert world.statuses()["not_run"] > 0
    complete(world, undisturbed)


@pytest.mark.slow
def test_ctrl_c_while_the_workers_start_leaves_none_behind(world, undisturbed):
    running = world.run("--workers", "2")
    wait(lambda: len(running.workers()) == 2, "two workers are starting")
    running.signal(signal.SIGINT, True)
    running.end(130)
    assert world.statuses() == {"not_run": len(undisturbed.rows)}
    complete(world, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("command", [("list",), ("run", "--dry-run")])
def test_a_plugin_that_hangs_when_it_is_imported_is_named_and_ctrl_c_stops_it(world, command):
    plugin = world.folder / "sleepy.py"
    plugin.write_text("import time\n\nwhile True:\n    time.sleep(1)\n")
    running = world.command("bench", *command, "--plugin", plugin)
    wait(lambda: "Still importing" in running.text, "it says which plugin it waits for")
    running.signal(signal.SIGINT, True)
    told = running.end(130).split("\n")
    assert told[0].startswith(f"Still importing plugin 'sleepy' of {plugin} after 10 s: Ctrl-C stops.")
    assert told[-2] == f"Interrupted while plugin 'sleepy' of {plugin} was imported"
    assert len(told) == 4  # and the line of the Ctrl-C


@pytest.mark.slow
def test_the_second_of_two_runs_can_be_stopped_while_it_waits_for_the_first(world, undisturbed):
    hanging = undisturbed.seeds["steal slow_images slow_copy slow_net 1"]
    runs = [world.run("--workers", "0", hang=hanging, out=out) for out in ("first", "second")]
    wait(lambda: hanging in world.started(), "one holds the task that never ends")
    wait(lambda: len(world.processes_that_worked()) == 2, "both have begun")
    (holder,) = (pid for seed, pid in world.starts() if seed == hanging)
    first, second = sorted(runs, key=lambda run: run.pid != holder)  # the holder comes first
    wait(lambda: len(world.whole()) == TASKS - 2, "everything is done but that task and its score")
    second.signal(signal.SIGINT, True)
    second.end(130)
    out = "first" if second is runs[0] else "second"
    assert world.statuses(out) == {"done": len(undisturbed.rows) - 1, "not_run": 1}
    first.kill()
    assert "executed 2 tasks" in world.run("--workers", "0", out=out).end()
    assert world.rows(out) == undisturbed.rows
