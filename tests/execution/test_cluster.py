"""Workers of this machine: Dask leaves the place of a nanny that gave up empty."""

import asyncio
import logging
import operator
import os
import signal
import time

import pytest

from bench.core.errors import BenchError
from bench.execution import cluster, dask_engine
from bench.execution.slots import Slot
from bench.sandbox.child_processes import safe_start

SLOTS = (Slot(), Slot())


@pytest.fixture
def workers(tmp_path):
    """Start two workers."""
    import dask
    from distributed import Client

    with (
        safe_start(),
        cluster.running_forkserver(SLOTS),
        cluster.silenced_dask(),
        dask.config.set(cluster.dask_settings(SLOTS)),
    ):
        started = cluster.start_workers(SLOTS, str(tmp_path))
        try:
            with cluster.connect(Client, started, "") as client:
                yield cluster.Workers(client, "", started)
        finally:
            started.close()


def give_up(workers):
    """Close both nannies, as they close themselves, and wait until the scheduler knows of it."""
    wait_until(lambda: len(workers.started.workers) == 2)  # the scheduler may know one earlier
    nannies = list(workers.started.workers.values())
    for nanny in nannies:
        workers.started.sync(nanny.close)
    wait_for(workers, 0)
    return nannies


def wait_for(workers, count):
    wait_until(lambda: len(workers.known()) == count)


def wait_until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_workers_whose_nannies_gave_up_are_replaced_and_too_many_of_them_are_an_error(workers, monkeypatch):
    workers.replace_abandoned()
    assert workers.replaced == 0
    gone = give_up(workers)
    waiting = workers.client.submit(operator.add, 1, 2)
    workers.replace_abandoned()
    assert workers.replaced == 2
    wait_for(workers, 2)
    assert waiting.result(timeout=60) == 3
    assert not set(gone) & set(workers.started.workers.values())

    monkeypatch.setattr(cluster, "MOST_REPLACED", 3)
    give_up(workers)
    with pytest.raises(BenchError, match="cannot be started again: 4 ended before they did anything"):
        workers.replace_abandoned()
    workers.replaced = 0
    workers.replace_abandoned()
    wait_for(workers, 2)
    assert workers.result_of(workers.client.submit(operator.add, 2, 3)) == 5
    assert workers.replaced == 0


def test_a_nanny_whose_own_start_failed_is_replaced(workers, monkeypatch):
    """As where the process that forks workers is killed in that moment: the run waited for such a worker forever."""
    kind, failed = type(next(iter(workers.started.workers.values()))), []
    genuine = kind.instantiate

    async def instantiate(nanny):
        if failed:
            return await genuine(nanny)
        failed.append(nanny)
        raise EOFError("unexpected EOF")

    from distributed import Status

    monkeypatch.setattr(kind, "instantiate", instantiate)
    give_up(workers)
    workers.replace_abandoned()
    wait_until(lambda: failed and failed[0].status == Status.failed)
    wait_until(lambda: failed[0] in workers.started.workers.values())  # once the other one has started, too
    workers.replace_abandoned()
    wait_for(workers, 2)
    assert workers.replaced == 3 and failed[0] not in workers.started.workers.values()


def test_a_result_whose_workers_are_gone_is_waited_for_no_longer_than_a_while(workers, monkeypatch):
    """Until their places are filled nobody computes it, so whoever fills them must not wait for it."""
    monkeypatch.setattr(cluster, "RESULT_TIMEOUT", 1)
    future = workers.client.submit(operator.add, 1, 2, pure=False)
    wait_until(lambda: future.status == "finished")
    give_up(workers)
    assert workers.result_of(future) is None
    assert future.status in dask_engine.AWAITED
    workers.replace_abandoned()
    wait_for(workers, 2)
    monkeypatch.setattr(cluster, "RESULT_TIMEOUT", 60)
    assert workers.result_of(future) == 3


@pytest.mark.parametrize(
    ("error", "way"),
    [
        (TypeError("TLS expects a `ssl_context` argument"), "Name its certificates, as docs/cluster.md shows"),
        (OSError("Timed out"), "Start one: dask scheduler"),
    ],
)
def test_a_scheduler_that_cannot_be_reached_is_one_line_that_names_the_way_out(error, way):
    """distributed raises a TypeError for an address of TLS where its configuration names no certificates."""

    def client(address, timeout):
        raise error

    with pytest.raises(BenchError) as caught:
        cluster.connect(client, None, "tls://10.0.0.1:8786")
    assert str(caught.value) == f"No Dask scheduler answers at 'tls://10.0.0.1:8786': {error}. {way}"


@pytest.fixture
def impatient(monkeypatch):
    """Let Dask, by default, restart workers that are silent for five seconds, not for five minutes."""
    import dask
    import distributed  # noqa: F401  it adds its own defaults

    impatience = {"distributed": {"scheduler": {"worker-ttl": "1s"}}}  # it allows ten heartbeats at least
    monkeypatch.setattr(dask.config, "defaults", [*dask.config.defaults, impatience])


@pytest.mark.slow
def test_workers_that_are_stopped_and_continued_go_on(impatient, workers):
    """As by Ctrl-Z and `fg`: their tasks must not begin again."""
    wait_for(workers, 2)
    before = workers.client.run(os.getpid)
    for number, seconds in ((signal.SIGSTOP, 8), (signal.SIGCONT, 2)):
        for process in before.values():
            os.kill(process, number)
        time.sleep(seconds)
    wait_for(workers, 2)
    assert workers.client.run(os.getpid) == before


def die_the_second_time(path):
    with path.open("a+b") as file:
        if file.tell():
            os._exit(1)
        file.write(b"x")
    return 3


def test_a_result_whose_workers_die_while_they_compute_it_again_is_an_error_of_its_future(
    workers, monkeypatch, tmp_path
):
    monkeypatch.setattr(cluster, "RESULT_TIMEOUT", 1)
    future = workers.client.submit(die_the_second_time, tmp_path / "once", pure=False)
    wait_until(lambda: future.status == "finished")
    give_up(workers)
    assert workers.result_of(future) is None
    workers.replace_abandoned()
    wait_until(lambda: future.status == "error")
    assert workers.result_of(future) is None
    assert "died" in dask_engine._reason(future)


def test_a_worker_that_was_never_started_keeps_no_cluster_from_closing(workers, monkeypatch):
    """distributed 2026.8.0: the process that forks workers dies while a nanny starts one, and the run ends."""
    from distributed import Status
    from distributed.process import AsyncProcess

    asked = []

    async def start(process):
        asked.append(process)
        await asyncio.sleep(2)
        raise EOFError

    wait_until(lambda: len(workers.started.workers) == 2)
    nanny = workers.started.workers["0"]
    monkeypatch.setattr(AsyncProcess, "start", start)
    os.kill(nanny.pid, signal.SIGKILL)
    wait_until(lambda: asked)
    workers.started.close()
    assert workers.started.status == nanny.status == Status.closed


def test_no_worker_is_missing_while_the_client_refreshes_what_it_knows(impatient, workers):
    """distributed 2026.8.0: scheduler_info(n_workers=-1) returns no workers if the periodic refresh ends meanwhile."""
    refresh = workers.client._periodic_callbacks["scheduler-info"]

    async def refresh_often():
        refresh.stop()
        refresh.callback_time = 5  # milliseconds
        refresh.start()

    workers.started.sync(refresh_often)
    assert {len(workers.known()) for _ in range(2000)} == {2}
    assert workers.started.scheduler.worker_ttl is None  # nor is a silent one ever: Ctrl-Z may have stopped it


def test_a_scheduler_whose_client_has_left_logs_nothing(workers, monkeypatch):
    """distributed 2026.8.0 logs "Closed comm ... while trying to write" with a traceback, as critical."""
    scheduler, records = workers.started.scheduler, []
    kept = logging.Handler()
    monkeypatch.setattr(kept, "emit", records.append)
    logging.getLogger("distributed.scheduler").addHandler(kept)

    async def write_to_a_closed_connection():
        for connection in scheduler.client_comms.values():
            connection.abort()
        scheduler.send_all({name: [{"op": "event"}] for name in scheduler.client_comms}, {})

    workers.started.sync(write_to_a_closed_connection)
    assert [record.getMessage() for record in records] == []
