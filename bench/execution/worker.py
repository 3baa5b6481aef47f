"""What runs in a worker process: its state, and the units of tasks that it receives."""

from __future__ import annotations

import gc
import os
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.hardware import keep_freed_memory
from bench.core.kinds import FailureCause, Status
from bench.core.tasks import Outcome, Task
from bench.models.description import Zoo
from bench.sandbox.child_processes import complete_start
from bench.sandbox.signals import ignore_from_now_on
from bench.store.store import Store

if TYPE_CHECKING:
    from distributed import Worker

    from bench.execution.task_context import WorkerState
    from bench.registry.session import Shipped


def dask_setup(worker: Worker) -> None:
    """Ignore Ctrl-C and SIGTERM: a terminal, SLURM and systemd send them to all processes, but tasks have to finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ignore_from_now_on(signal.SIGTERM)  # a Pool ends its processes by this signal


_states: dict[tuple[Any, ...], WorkerState] = {}
MOST_RUNS = 4
"""Runs of which a worker keeps the state."""
_process_lock = threading.Lock()
"""Held while tasks run: they share the generators, streams and folder of their process, but a worker may have
several threads."""
NOTICED = 0.05
"""Seconds that a task which follows another one in its unit runs before it is reported."""
_device_lost = threading.Event()
"""Set when this process cannot use its device any more: it executes no more tasks, and the driver restarts it."""


def worker_state(
    run: str, store: str, data: str, plugins: tuple[str | Shipped, ...], threads: int, zoo: Zoo
) -> WorkerState:
    """Return the state of this process for a run; the first call loads the plugins and chooses the device.

    BenchError if it cannot use either.
    A worker of a cluster outlives runs: plugin files may have been edited since the last one.
    """
    arguments = (run, store, data, plugins, threads, zoo)
    if arguments not in _states:
        import torch

        from bench.execution.failures import check_device
        from bench.execution.task_context import WorkerState
        from bench.registry.discovery import load_registry

        keep_freed_memory()
        complete_start()
        device = os.environ.get("BENCH_DEVICE", "")
        ours = bool(device)  # a worker that was started elsewhere may do other work as well
        if not device:
            device = "cuda:0" if torch.cuda.is_available() else "cpu"
        check_device(device)
        registry = load_registry(plugins, data=data)
        for earlier in [*_states][: 1 - MOST_RUNS]:
            del _states[earlier]
        for other in _states.values():  # their runs may have ended
            other.cache.clear()
        state = WorkerState(Store(store, exists=True), registry, device, Path(data), threads)
        state.zoo, state.own_process, _states[arguments] = zoo, ours, state
        gc.freeze()  # or every full collection visits all that was imported
    return _states[arguments]


class _Starts:
    """Reports which task of a unit runs: the first at once, then every NOTICED seconds, if it is another one.

    An event takes longer than the score of a small network.
    """

    def __init__(self, report: Callable[[str], object]) -> None:
        self.report = report
        self.reported = ""
        self._current = ""
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def current(self) -> str:
        """The key of the running task."""
        return self._current

    @current.setter
    def current(self, key: str) -> None:
        self._current = key
        if not self.reported:
            self._report()
        elif not self._thread.ident:
            self._thread.start()

    def _report(self) -> None:
        self.reported = self._current
        self.report(self.reported)

    def _watch(self) -> None:
        while not self._ended.wait(NOTICED):
            if self.reported != self._current:
                self._report()

    def __enter__(self) -> _Starts:
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        if self._thread.ident:
            self._thread.join()


def execute_unit(
    unit: Sequence[Task],
    store: str,
    data: str,
    plugins: tuple[str | Shipped, ...],
    threads: int,
    topic: str,
    name: str,
    zoo: Zoo = Zoo(),  # noqa: B008  it is immutable
) -> tuple[list[Outcome], str]:
    """Execute the tasks of a unit in a worker; log each start, and progress, as events of the driver's topic.

    `name` identifies the unit. If a task lost this process its device, the tasks after it are `busy`, so that another
    worker executes them, and the outcomes come with the address of this worker; otherwise that is empty. The same if
    this process cannot execute one of the tasks: the cause of all is `worker`.
    """
    from distributed import get_worker

    from bench.execution.queue import complete
    from bench.execution.runner import execute_together

    worker = get_worker()
    outcomes = []
    with _process_lock:
        try:
            state = worker_state(topic, store, data, plugins, threads, zoo)
            for task in unit:
                for kind in task.components():
                    state.check_component(kind, task.params[kind])
        except BenchError as error:
            why = f"a worker of {socket.gethostname()} cannot execute tasks of this run: {error}"
            unusable = [Outcome(t.key, Status.BUSY, error=why, cause=FailureCause.WORKER) for t in unit]
            return unusable, worker.address
        state.on_progress = lambda *progress: worker.log_event(topic, {"progress": progress})

        report = {"worker": worker.address, "unit": name}
        with _Starts(lambda key: worker.log_event(topic, {"started": key, **report})) as starts:

            def start(task: Task) -> bool:
                starts.current = task.key
                return not _device_lost.is_set()

            for outcome in complete(unit, execute_together(unit, state, start)):
                outcomes.append(outcome)
                if outcome.cause == FailureCause.DEVICE:
                    _device_lost.set()
        return outcomes, worker.address if _device_lost.is_set() else ""


def free_memory() -> None:
    """Free the memory that this process caches for later tasks, the device's too."""
    with _process_lock:
        for state in _states.values():
            state.cache.clear()
        if _states:
            import torch

            torch.cuda.empty_cache()  # it does nothing without a GPU
