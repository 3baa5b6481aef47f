"""What runs in a worker process: its state, and the units of tasks that it receives."""

from __future__ import annotations

import gc
import os
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError
from bench.core.hardware import keep_freed_memory
from bench.core.kinds import FailureCause, Status
from bench.core.tasks import Outcome, Task
from bench.models.description import Zoo
from bench.sandbox.child_processes import complete_start
from bench.store.store import Store

if TYPE_CHECKING:
    from distributed import Worker

    from bench.execution.task_context import WorkerState


def dask_setup(worker: Worker) -> None:
    """Ignore Ctrl-C: a terminal sends it to every process of the group, but running tasks have to finish."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_states: dict[tuple[Any, ...], WorkerState] = {}
_process_lock = threading.Lock()
"""Held while tasks run: they share the generators, streams and folder of their process, but a worker may have
several threads."""
_device_lost = threading.Event()
"""Set when this process cannot use its device any more: it executes no more tasks, and the driver restarts it."""


def worker_state(store: str, data: str, plugins: tuple[str | bytes, ...], threads: int, zoo: Zoo) -> WorkerState:
    """Return the state of this process; the first call loads the plugins and chooses the device."""
    arguments = (store, data, plugins, threads, zoo)
    if arguments not in _states:
        import torch

        from bench.execution.task_context import WorkerState
        from bench.registry.discovery import load_registry

        keep_freed_memory()
        complete_start()
        device = os.environ.get("BENCH_DEVICE", "")
        if not device:
            device = "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        registry = load_registry(plugins, data=data)
        state = WorkerState(Store(store, exists=True), registry, device, Path(data), threads)
        state.zoo, _states[arguments] = zoo, state
        gc.freeze()  # or every full collection visits all that was imported
    return _states[arguments]


def execute_unit(
    unit: Sequence[Task],
    store: str,
    data: str,
    plugins: tuple[str | bytes, ...],
    threads: int,
    topic: str,
    name: str,
    zoo: Zoo = Zoo(),  # noqa: B008  it is immutable
) -> tuple[list[Outcome], str]:
    """Execute the tasks of a unit in a worker; log each start, and progress, as events of the driver's topic.

    `name` identifies the unit. If a task lost this process its device, the tasks after it are `busy`, so that another
    worker executes them, and the outcomes come with the address of this worker; otherwise that is empty.
    """
    from distributed import get_worker

    from bench.execution.runner import execute

    worker = get_worker()
    outcomes = []
    with _process_lock:
        try:
            state = worker_state(store, data, plugins, threads, zoo)
        except BenchError as error:
            return [Outcome(t.key, Status.FAILED, error=str(error), root=t.name) for t in unit], ""
        state.on_progress = lambda *progress: worker.log_event(topic, {"progress": progress})
        for task in unit:
            if _device_lost.is_set():
                outcomes.append(Outcome(task.key, Status.BUSY))
                continue
            worker.log_event(topic, {"started": task.key, "worker": worker.address, "unit": name})
            outcomes.append(execute(task, state.store, state.registry, state.device, state=state))
            if outcomes[-1].cause == FailureCause.DEVICE:
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
