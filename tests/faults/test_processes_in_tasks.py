"""Tasks may start processes, inline and in workers; these end with their parent, and whatever hangs can be stopped."""

import csv
import signal
import sys
import time
from pathlib import Path

import parental_plugin
import psutil
import pytest
from processes import Running, wait

from bench.testing import toy_plugins

pytestmark = pytest.mark.faults

WAITING = "Stopping: waiting for the running tasks"


@pytest.fixture
def start(world):
    """Start a run of some attacks of the plugin, and of a healthy one."""

    def run(*attacks, workers, out="out", more=()):
        world.children = world.folder / "children.txt"
        environment = {**world.environment(), "CHILDREN": str(world.children)}
        plugins = ("--plugin", toy_plugins.__file__, "--plugin", parental_plugin.__file__)
        names = ("--datasets", "toy", "--architectures", "toy_net", "--attacks", ",".join(attacks))
        sizes = ("--methods", "toy_match", "--no-baselines", "--preset", "smoke", "--set", "recipe.epochs=1")
        place = ("--store", world.folder / f"store-{out}", "--out", world.folder / out)
        counts = ("--copies", "1", "--replicates", "1", "--seeds", "1", "--workers", workers)
        command = (Path(sys.executable).with_name("bench"), "run", *plugins, *names, *sizes, *counts, *place, *more)
        world.processes.append(Running(command, world.folder / "home", environment))
        return world.processes[-1]

    return run


def rows(world, out="out"):
    with (world.folder / out / "trials.csv").open(newline="") as file:
        return {r["attack"]: (r["status"], r["error"], r["score"]) for r in csv.DictReader(file) if r["attack"]}


def children(world, running):
    wait(lambda: world.children.exists() or not running.alive, f"the task writes its children\n{running.text}")
    assert running.alive, running.text
    return [int(number) for number in world.children.read_text().split()]


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_gone(pids):
    return all(gone(pid) for pid in pids)


@pytest.mark.parametrize(
    "attacks",
    [("load_in_processes", "choose_start_method"), pytest.param(("map_in_pools",), marks=pytest.mark.slow)],
    ids=" ".join,
)
def test_what_works_inline_works_in_a_worker_too(world, start, attacks):
    found = []
    for workers in ("0", "1"):
        text = start(*attacks, "toy_tune", workers=workers, out=f"out{workers}").end()
        assert "0 failed" in text
        found.append(rows(world, f"out{workers}"))
    assert found[0] == found[1]
    assert {status for status, *_ in found[0].values()} == {"done"}


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_loop_of_pools_is_stopped_by_the_second_signal(world, start, number):
    running = start("pool_for_ever", workers="0")
    children(world, running)
    running.signal(number, everybody=number == signal.SIGINT)
    wait(lambda: WAITING in running.text, "it says that it waits")
    before = world.children.stat().st_mtime_ns
    wait(lambda: world.children.stat().st_mtime_ns > before, "the pools go on meanwhile")
    running.signal(number, everybody=number == signal.SIGINT)
    assert running.end(130).count(WAITING) == 1  # the children have no handler of ours


@pytest.mark.parametrize("attack", [pytest.param("hang_in_c", marks=pytest.mark.slow), "catch_everything"])
def test_the_third_signal_ends_whatever_hangs(world, start, attack):
    running = start(attack, workers="0")
    children(world, running)
    for _ in range(3):
        running.signal(signal.SIGINT, everybody=True)
        time.sleep(0.5)
    assert "Stopped at once" in running.end(130)


@pytest.mark.slow
def test_a_worker_that_hangs_in_c_is_ended_by_the_second_signal(world, start):
    running = start("hang_in_c", workers="1")
    children(world, running)
    running.signal(signal.SIGINT, everybody=True)
    wait(lambda: WAITING in running.text, "it says that it waits")
    running.signal(signal.SIGINT, everybody=True)
    running.end(130)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_processes_that_a_task_left_end_with_their_parent(world, start, workers):
    running = start("leave_children", workers=workers)
    pids = children(world, running)
    assert "0 failed" in running.end()
    wait(lambda: all_gone(pids), "its children are gone", 20)


@pytest.mark.slow
def test_children_end_with_a_worker_that_dies(world, start):
    running = start("die_with_children", workers="1")
    pids = children(world, running)
    wait(lambda: all_gone(pids), "the first worker's children are gone", 30)
    text = running.end(1)
    assert "1 failed" in text
    assert "the worker died" in rows(world)["die_with_children"][1]
    wait(lambda: all_gone(map(int, world.children.read_text().split())), "those of the last one, too", 30)


@pytest.mark.slow
def test_children_end_with_a_worker_that_ran_too_long(world, start):
    running = start("hang_with_children", workers="1", more=("--task-timeout", "3"))
    pids = children(world, running)
    running.end(1)
    assert "it ran longer than --task-timeout" in rows(world)["hang_with_children"][1]
    wait(lambda: all_gone(pids), "its children are gone", 30)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_everything_ends_with_a_run_that_is_killed(world, start, workers):
    running = start("hang_with_children", workers=workers)
    pids = children(world, running)
    others = [p.pid for p in running.members()]
    running.process.kill()
    wait(lambda: all_gone([*pids, *others]), "nothing of it is left", 30)


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_forked_child_that_returns_does_not_go_on_with_the_run(world, start, workers):
    text = start("fork_and_return", workers=workers).end()
    assert text.count("results: ") == 1
    assert rows(world)["fork_and_return"][0] == "done"
