"""What runs in a worker process: a desk of its own, and the tasks it is handed."""

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
from bench.store.store import Store

if TYPE_CHECKING:
    from distributed import Worker

    from bench.execution.task_context import WorkerState


def dask_setup(worker: Worker) -> None:
    """Leave Ctrl-C to the driver: a terminal sends it to every process of the group, and running tasks shall end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


_states: dict[tuple[Any, ...], WorkerState] = {}
_one_at_a_time = threading.Lock()
"""Tasks share the state of their process (generators, streams, folder), however many threads a worker has."""
_lost = threading.Event()
"""Set where no later task of this process could use its device: it waits to be replaced."""


def state_of(store: str, data: str, plugins: tuple[str, ...], threads: int) -> WorkerState:
    """Give this process's desk, made at the first call: its own catalogue, its own device."""
    what = (store, data, plugins, threads)
    if what not in _states:
        import torch

        from bench.execution.task_context import WorkerState
        from bench.registry.discovery import load_registry

        keep_freed_memory()
        device = os.environ.get("BENCH_DEVICE", "")
        if not device:
            device = "cuda:0" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        _states[what] = WorkerState(Store(store, exists=True), load_registry(plugins), device, Path(data), threads)
        gc.freeze()  # or every full collection walks all that was imported
    return _states[what]


def work(
    unit: Sequence[Task], store: str, data: str, plugins: tuple[str, ...], threads: int, topic: str, name: str
) -> tuple[list[Outcome], str]:
    """Execute a few tasks in a worker, telling the driver, under its topic, when each one starts and how far it is.

    `name` is what the driver calls this unit. With the outcomes comes the worker's address where a task has lost it its
    device, so that it has to be replaced; every task after that one is `busy`, for another worker.
    """
    from distributed import get_worker

    from bench.execution.runner import execute

    worker = get_worker()
    outcomes = []
    with _one_at_a_time:
        try:
            state = state_of(store, data, plugins, threads)
        except BenchError as error:
            return [Outcome(t.key, Status.FAILED, error=str(error), root=t.name) for t in unit], ""
        state.on_progress = lambda *progress: worker.log_event(topic, {"epoch": progress})
        for task in unit:
            if _lost.is_set():
                outcomes.append(Outcome(task.key, Status.BUSY))
                continue
            worker.log_event(topic, {"start": task.key, "worker": worker.address, "unit": name})
            outcomes.append(execute(task, state.store, state.registry, state.device, state=state))
            if outcomes[-1].cause == FailureCause.DEVICE:
                _lost.set()
        return outcomes, worker.address if _lost.is_set() else ""


def make_room() -> None:
    """Give back the memory that this process keeps for later tasks, the device's too."""
    with _one_at_a_time:
        for state in _states.values():
            state.cache.clear()
        if _states:
            import torch

            torch.cuda.empty_cache()  # which does nothing where there is no GPU
