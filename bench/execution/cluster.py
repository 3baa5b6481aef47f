"""Worker processes on this machine, one per device slot; connections to a Dask scheduler and its workers."""

from __future__ import annotations

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError, describe_error, first_line
from bench.execution.nanny import closable_nanny
from bench.execution.slots import Slot
from bench.execution.worker import free_memory
from bench.sandbox.child_processes import changed_environment
from bench.sandbox.process_state import deferred_interrupts, gc_paused

if TYPE_CHECKING:
    from distributed import Client, Future, SpecCluster

RETRIES_AFTER_DEATH = 2
"""How often a unit is run again after its worker died."""
CONNECT_TIMEOUT = 10
"""Seconds that a scheduler which was started elsewhere has to answer."""
LONGEST_TEMPORARY_FOLDER = 107 - len("/pymp-12345678/listener-12345678")
"""Bytes of a folder's name to which multiprocessing can add the name of a socket."""
MOST_REPLACED = 10
"""Workers that are replaced, one after the other, while no unit comes to its end."""
RESULT_TIMEOUT = 10
"""Seconds after which a small result counts as lost: its worker died, and Dask has to compute it again."""
FREE_MEMORY_TIMEOUT = 30
"""Seconds that workers have to free memory; after these, the task that needs it runs anyway."""
SETTINGS: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "2s",
    "distributed.scheduler.allowed-failures": RETRIES_AFTER_DEATH,
    "distributed.scheduler.worker-ttl": None,  # one that ends disconnects; one that is silent was suspended (Ctrl-Z)
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # the cluster checks a dead worker after this time and drops it for good if it is dead then: its nanny restarts it
    "distributed.deploy.lost-worker-timeout": "10000h",
}


def import_dask() -> None:
    """Import Dask; BenchError if the user's configuration prevents that."""
    try:
        with gc_paused(), deferred_interrupts():
            import distributed  # noqa: F401
    except ImportError:
        raise
    except Exception as error:  # a file that is no YAML, a value that is none of those that it can have
        raise BenchError(
            f"Dask's configuration cannot be used: {describe_error(error).rstrip('.:')}. Correct it (~/.config/dask, "
            "$DASK_CONFIG, variables DASK_...), or run everything in this process: --workers 0"
        ) from error


@contextmanager
def silenced_dask() -> Iterator[None]:
    """Disable the tracebacks that Dask logs if a worker, the scheduler or a connection ends: the engine handles it."""
    found = [
        logger
        for name, logger in logging.root.manager.loggerDict.items()
        if name.split(".")[0] == "distributed" and isinstance(logger, logging.Logger)
    ]
    before = [(logger, logger.level, logger.handlers.copy()) for logger in found]
    for logger in found:
        logger.setLevel(logging.CRITICAL + 1)  # a scheduler whose client leaves logs a critical traceback
    try:
        yield
    finally:
        for logger, level, handlers in before:
            logger.setLevel(level)
            logger.handlers[:] = handlers  # each worker's nanny has added one


def connect(client: Any, cluster: SpecCluster | None, address: str) -> Any:
    """Return a client of the cluster, or of the scheduler at an address; BenchError if none answers."""
    try:
        return client(cluster or address, timeout=CONNECT_TIMEOUT if address else 60)
    except (OSError, ValueError, TypeError) as error:  # TypeError: an address of TLS, and no certificates
        tls = isinstance(error, TypeError)
        way = "Name its certificates, as docs/cluster.md shows" if tls else "Start one: dask scheduler"
        raise BenchError(f"No Dask scheduler answers at {address!r}: {one_line(error)}. {way}") from error


def one_line(error: BaseException) -> str:
    """Return the first line of an error's message, without the full stop."""
    return (first_line(error) or type(error).__name__).rstrip(".")


def _origin(error: BaseException) -> BaseException:
    """Return the error that came first: Dask wraps it in others, and fails once more when it closes a worker."""
    while earlier := error.__cause__ or error.__context__:
        error = earlier
    return error


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in the processes that are started here: a terminal sends it to all, only the driver acts on it.

    Threads that are started here inherit the mask, and so does every worker that they start later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # its start would lift the mask
    previous = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous)


def dask_settings(slots: Sequence[Slot]) -> dict[str, Any]:
    """Return Dask's settings for a run: on this machine its own defaults, whatever the user has configured."""
    import dask

    defaults = dask.config.merge(*dask.config.defaults) if slots else {}
    return {**defaults, **SETTINGS, "distributed.worker.multiprocessing-method": _start_method(slots)}


def _start_method(slots: Sequence[Slot]) -> str:
    """Return how worker processes start: forked from one that has imported torch, but spawned if they use a GPU.

    They are spawned also if the folder for temporary files has so long a name that no socket can be there.
    """
    fits = sys.platform == "linux" and len(os.fsencode(tempfile.gettempdir())) <= LONGEST_TEMPORARY_FOLDER
    return "forkserver" if fits and all(slot.device == "cpu" for slot in slots) else "spawn"


@contextmanager
def running_forkserver(slots: Sequence[Slot]) -> Iterator[None]:
    """Run the process that workers are forked from, if they are forked; stop it afterwards if it was started here.

    The caller restores the environment.
    """
    os.environ.pop("SSLKEYLOGFILE", None)  # Python would write the keys of the workers' connections there
    server: Any = forkserver._forkserver
    if not slots or _start_method(slots) != "forkserver" or server._forkserver_pid is not None:
        yield
        return
    preload = server._preload_modules
    with changed_environment({"OMP_NUM_THREADS": "1"}):  # read when numpy's and torch's libraries are loaded
        forkserver.set_forkserver_preload(["bench.execution.preload"])
        with _interrupts_blocked():
            forkserver.ensure_running()
    try:
        yield
    finally:
        forkserver.set_forkserver_preload(preload)
        if server._forkserver_pid:
            os.kill(server._forkserver_pid, signal.SIGKILL)  # it has nothing to finish
        server._stop()


def start_workers(slots: Sequence[Slot], scratch: str) -> SpecCluster:
    """Start a worker process per slot on this machine, bound to the loopback address, each with a nanny."""
    from distributed import Scheduler, Security, SpecCluster

    security = Security.temporary()
    workers = {
        str(n): {
            "cls": closable_nanny(),
            "options": {
                "nthreads": 1,
                "host": "127.0.0.1",
                "memory_limit": 0,
                "dashboard": False,
                "local_directory": scratch,
                "preload": ["bench.execution.worker"],
                "silence_logs": logging.CRITICAL,  # a late heartbeat logs a traceback
                "security": security,
                "env": {**os.environ, "BENCH_DEVICE": slot.device, "OMP_NUM_THREADS": "1", **slot.environment},
            },
        }
        for n, slot in enumerate(slots)
    }
    scheduler = {
        "cls": Scheduler,
        # without a port, the scheduler takes its default one and warns if that is in use
        "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0", "security": security},
    }
    with _interrupts_blocked():
        try:
            return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=logging.ERROR)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise BenchError(
                f"The worker processes cannot be started: {one_line(_origin(error))}. "
                "Use fewer --workers; --workers 0 runs everything in this process"
            ) from error


class Workers:
    """The workers that a scheduler knows: those of a cluster that was started here, or those at an address."""

    def __init__(self, client: Client, address: str, started: SpecCluster | None = None) -> None:
        self.client, self.address, self.started = client, address, started
        self.replaced = 0
        """Workers that were replaced since a unit came to its end."""

    def replace_abandoned(self) -> None:
        """Start workers in place of those whose nanny has given up: the worker, or what forks it, died as it started.

        Dask leaves such a place empty, and once all are, waits forever. BenchError if too many ended in this way.
        """
        from distributed import Status

        started, ended = self.started, (Status.closed, Status.failed)
        abandoned = [n for n, nanny in started.workers.items() if nanny.status in ended] if started else []
        if not started or not abandoned:
            return
        self.replaced += len(abandoned)
        if self.replaced > MOST_REPLACED:
            raise BenchError(
                f"The worker processes cannot be started again: {self.replaced} ended before they did anything. "
                "Finished tasks are cached, and the same command continues. --workers 0 runs everything in this process"
            )

        async def remove() -> None:  # in the thread that changes it
            for name in abandoned:
                started.workers.pop(name, None)

        started.sync(remove)
        started.scale(len(started.worker_spec))  # it starts what is missing of its specification

    def known(self) -> Mapping[str, Any]:
        """Return the scheduler's description of each worker, by address."""
        scheduler = self.client.scheduler
        if scheduler is None or self.client.status in ("closing", "closed"):
            raise self.scheduler_gone()
        # not scheduler_info: the client refreshes what that is about to return, with a copy that lacks workers
        with self.reachable():
            workers: Mapping[str, Any] = self.client.sync(scheduler.identity, n_workers=-1)["workers"]
        return workers

    @contextmanager
    def reachable(self) -> Iterator[None]:
        """Raise BenchError if the scheduler does not answer any more."""
        from distributed.client import ClosedClientError

        try:
            yield
        except (OSError, TimeoutError, CancelledError, ClosedClientError) as error:
            raise self.scheduler_gone() from error

    def result_of(self, future: Future[Any]) -> Any:
        """Return the result of a future that is finished, None if its worker died, BenchError if the scheduler did."""
        with self.reachable():
            try:
                result = future.result(timeout=RESULT_TIMEOUT)
            except Exception as error:
                if not isinstance(error, TimeoutError) and future.status != "error":
                    raise
                return None  # it does not come in time, or its next workers died, too, and it is an error now
        self.replaced = 0
        return result

    def scheduler_gone(self) -> BenchError:
        """Return the error for a scheduler that is gone."""
        return BenchError(
            f"The Dask scheduler {self.address} is gone. Finished tasks are cached: once it is back, the same command "
            "continues from there"
        )

    def free_memory(self, run: str) -> None:
        """Let every worker free its cached memory: workers that share a device each hold a part of it."""
        from distributed import wait

        futures = [
            self.client.submit(free_memory, key=f"{run}-memory-{uuid.uuid4().hex}", workers=[address], retries=0)
            for address in self.known()
        ]
        with suppress(TimeoutError):
            wait(futures, timeout=FREE_MEMORY_TIMEOUT)
        self.client.cancel(futures)

    def restart(self, address: str) -> None:
        """Restart a worker, unless it has left; without a nanny it is only stopped."""
        # it may leave at this moment, or restart slowly: the engine handles a worker that is missing later
        with suppress(TimeoutError, OSError, KeyError, ValueError):
            if self.known()[address]["nanny"]:
                self.client.restart_workers([address], timeout=60, raise_for_error=False)
            else:
                self.client.retire_workers([address], close_workers=True)
