"""A cluster that was started elsewhere: scheduler and workers have home folders of their own, and share one store."""

import json
import re
import signal

import psutil
import pytest
from processes import TASKS, wait

pytestmark = pytest.mark.faults


class Cluster:
    """A scheduler on this machine, and workers that come and go."""

    def __init__(self, world):
        self.world = world
        file = world.folder / "scheduler.json"
        self.scheduler = self.dask(
            "scheduler",
            "--host",
            "127.0.0.1",
            "--port",
            "0",
            "--no-dashboard",
            "--dashboard-address",
            "127.0.0.1:0",
            "--scheduler-file",
            file,
            home="scheduler",
        )
        wait(lambda: file.exists() and file.read_text().rstrip().endswith("}"), "the scheduler is there")
        self.address = json.loads(file.read_text())["address"]

    def dask(self, *command, home, **how):
        return self.world.command("dask", *command, home=home, **how)

    def worker(self, home, *more, **how):
        """Start a worker with a home of its own."""
        options = ("--host", "127.0.0.1", "--no-dashboard", "--local-directory", self.world.folder / home / "scratch")
        return self.dask("worker", self.address, "--nthreads", "1", *options, *more, home=home, **how)

    def run(self, *more):
        return self.world.run("--scheduler", self.address, *more, home="driver")


@pytest.fixture
def cluster(world):
    return Cluster(world)


def wait_for_registration(*workers):
    """Wait until workers have been registered."""
    for worker in workers:
        wait(lambda worker=worker: "Registered to" in worker.text, f"a worker is there\n{worker.text}")


def test_one_worker_dies_one_joins_late_and_the_table_is_the_same(world, cluster, undisturbed):
    first, second = (cluster.worker(home, pause=0.5) for home in ("first", "second"))
    wait_for_registration(first, second)
    run = cluster.run()
    wait(lambda: len(world.processes_that_worked()) == 2, "both workers have begun")
    world.begun(6, run)
    first.kill()
    third = cluster.worker("third", pause=0.1)
    wait_for_registration(third)
    before = world.processes_that_worked()
    second.kill()  # so that it is certain that the third one does something
    executed = re.search(r"^executed (\d+) tasks, 0 failed, 0 blocked", run.end(), re.MULTILINE)
    assert executed, run.text
    # a worker may die after it has stored an artifact and before it reports it: the next worker finds it cached
    assert TASKS - 2 <= int(executed[1]) <= TASKS
    assert world.rows() == undisturbed.rows
    assert world.whole() == undisturbed.keys
    assert len(world.processes_that_worked()) >= len(before)
    assert third.alive
    assert cluster.scheduler.alive


@pytest.mark.slow
def test_no_scheduler_at_the_address_is_one_line(world):
    text = world.run("--scheduler", "tcp://127.0.0.1:9").end(2)
    (line,) = text.strip().splitlines()
    assert line.startswith("Error: No Dask scheduler answers at 'tcp://127.0.0.1:9': ")


def gone(pid):
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.slow
@pytest.mark.parametrize("nanny", [True, False])
def test_a_task_that_hangs_costs_its_row_and_nothing_else(world, cluster, undisturbed, nanny):
    hanging = undisturbed.seeds["steal slow_images slow_copy slow_net 1"]
    workers = [
        cluster.worker(home, "--nanny" if nanny else "--no-nanny", hang=hanging)
        for home in ("first", "second")[: 1 if nanny else 2]
    ]
    wait_for_registration(*workers)
    text = cluster.run("--task-timeout", "20").end(1)
    assert "it ran longer than --task-timeout 20 s and was stopped" in text
    assert f"executed {TASKS - 2} tasks, 1 failed, 1 blocked" in text
    for row, whole in zip(world.rows(), undisturbed.rows, strict=True):
        if (row["attack"], row["replicate"]) == ("slow_copy", "1"):
            assert row["status"] == "blocked"
            assert row["error"].startswith("steal slow_images slow_copy slow_net 1: it ran longer")
        else:
            assert row == whole
    # the process that hung is gone, and with it its lock on the task
    (pid,) = {pid for seed, pid in world.starts() if seed == hanging}
    wait(lambda: gone(pid), "the process that hung is gone", 60)
    if not nanny:
        wait(lambda: sum(worker.alive for worker in workers) == 1, "one worker is given up, the other is there")
    assert "executed 2 tasks, 0 failed" in world.run("--workers", "0", "--out", world.folder / "again").end()


@pytest.mark.slow
def test_a_run_without_workers_waits_for_the_first_and_says_so(world, cluster, undisturbed):
    run = cluster.run()
    wait(lambda: "No worker is at tcp://" in run.text, "it says that it waits")
    cluster.worker("late")
    run.end()
    assert world.rows() == undisturbed.rows


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["working", "stopping", "waiting"])
def test_a_scheduler_that_dies_is_one_line_and_nothing_is_lost(world, cluster, undisturbed, moment):
    if moment == "waiting":
        run = cluster.run()
        wait(lambda: "No worker is at tcp://" in run.text, "it waits for a worker")
    else:
        wait_for_registration(cluster.worker("first", pause=0.5 if moment == "working" else 5))
        run = cluster.run()
        world.begun(6 if moment == "working" else 1, run)
    if moment == "stopping":
        run.signal(signal.SIGINT)
        wait(lambda: "Stopping" in run.text, "it waits for what runs")
    cluster.scheduler.kill()
    text = run.end(2)
    assert text.strip().splitlines()[-1].startswith(f"Error: The Dask scheduler {cluster.address} is gone")
    for running in world.processes:
        running.kill()  # a worker may still be at its task
    finished = len(world.whole())
    assert finished > 0 or moment != "working"
    assert f"{finished} found in the store" in world.run("--workers", "0").end()
    assert world.rows() == undisturbed.rows


@pytest.mark.slow
def test_two_runs_share_a_cluster_and_a_worker_with_many_threads(world, cluster, undisturbed):
    worker = cluster.worker("first", "--nthreads", "4", pause=0.1)
    wait_for_registration(worker)
    runs = [cluster.world.run("--scheduler", cluster.address, out=out, home="driver") for out in ("one", "other")]
    for run in runs:
        run.end()
    assert world.rows("one") == world.rows("other") == undisturbed.rows


@pytest.mark.slow
def test_ctrl_c_leaves_the_cluster_alone(world, cluster, undisturbed):
    worker = cluster.worker("first", pause=0.5)
    wait_for_registration(worker)
    run = cluster.run()
    world.begun(6, run)
    run.signal(signal.SIGINT, True)
    run.end(130)
    assert set(world.statuses()) <= {"done", "not_run"}
    assert worker.alive
    assert cluster.scheduler.alive
    cluster.run().end()
    assert world.rows() == undisturbed.rows
