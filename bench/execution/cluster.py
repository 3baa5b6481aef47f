"""The worker processes of this machine, one per device slot, and the way to a scheduler that somebody else started."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, resource_tracker
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError, first_line
from bench.execution.slots import Slot

if TYPE_CHECKING:
    from distributed import SpecCluster

DEATHS = 2
"""How often a task is tried again after the worker that had it died."""
CONNECTING = 10
"""Seconds until a scheduler that does not answer is given up."""
SETTINGS: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.scheduler.allowed-failures": DEATHS,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.comm.timeouts.connect": "60s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # a worker that dies is looked for so much later, and given up for good where it has died again just then
    "distributed.deploy.lost-worker-timeout": "10000h",
}


def hush() -> None:
    """Keep Dask from logging what is dealt with here: that it lost a worker or its scheduler, with a traceback."""
    for name, logger in logging.root.manager.loggerDict.items():
        if name.split(".")[0] == "distributed" and isinstance(logger, logging.Logger):
            logger.setLevel(logging.CRITICAL)


def reach(client: Any, cluster: SpecCluster | None, address: str) -> Any:
    """Make a client of the cluster, or of the scheduler at an address; BenchError where none answers."""
    try:
        return client(cluster or address, timeout=CONNECTING if address else 60)
    except (OSError, TimeoutError, ValueError) as error:
        raise BenchError(
            f"No Dask scheduler answers at {address!r}: {line(error)}. Start one: dask scheduler"
        ) from error


def line(error: Exception) -> str:
    """Give the first line of what an error says, to go on after it in the same sentence."""
    return (first_line(error) or type(error).__name__).rstrip(".")


@contextmanager
def _deaf() -> Iterator[None]:
    """Start processes that do not hear Ctrl-C: a terminal sends it to all, but only the driver shall act on it.

    What the engine's threads inherit in here, every worker that they start inherits from them, now and later.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # whose start would lift the mask
    was = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, was)


def settings(slots: Sequence[Slot]) -> dict[str, Any]:
    """Give Dask's settings of a run."""
    return {**SETTINGS, "distributed.worker.multiprocessing-method": _method(slots)}


def _method(slots: Sequence[Slot]) -> str:
    """Say how worker processes begin: forked from one that has imported torch, but with a GPU each anew."""
    forks = sys.platform == "linux" and all(slot.device == "cpu" for slot in slots)
    return "forkserver" if forks else "spawn"


def prepare(slots: Sequence[Slot]) -> None:
    """Start the process that workers are forked from, if they are forked and there is none yet."""
    if not slots or _method(slots) != "forkserver":
        return
    with _deaf():
        _import_once()


def _import_once() -> None:
    was = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"  # read when numpy's and torch's libraries are loaded
    try:
        forkserver.set_forkserver_preload(["bench.execution.preload"])
        forkserver.ensure_running()
    finally:
        if was is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = was


def gather(slots: Sequence[Slot], scratch: str) -> SpecCluster:
    """Start a worker process per slot on this machine, bound to the loopback address, each under a nanny."""
    from distributed import Nanny, Scheduler, SpecCluster
    from distributed.security import Security

    security = Security.temporary()
    workers = {
        str(n): {
            "cls": Nanny,
            "options": {
                "nthreads": 1,
                "host": "127.0.0.1",
                "memory_limit": 0,
                "dashboard": False,
                "local_directory": scratch,
                "preload": ["bench.execution.worker"],
                "silence_logs": logging.CRITICAL,  # a heartbeat that comes too late would show its traceback
                "security": security,
                "env": {**os.environ, "BENCH_DEVICE": slot.device, "OMP_NUM_THREADS": "1", **slot.environment},
            },
        }
        for n, slot in enumerate(slots)
    }
    scheduler = {
        "cls": Scheduler,
        # a port must be named: otherwise the scheduler takes one that is known, and warns where another has it
        "options": {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0", "security": security},
    }
    with _deaf():
        try:
            return SpecCluster(workers=workers, scheduler=scheduler, security=security, silence_logs=logging.ERROR)
        except (OSError, RuntimeError, TimeoutError) as error:
            raise BenchError(
                f"The worker processes cannot be started: {line(error)}. --workers 0 runs everything in this process"
            ) from error
