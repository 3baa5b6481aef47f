"""Run a graph of tasks: inline in this process, or on Dask with one worker process per device slot.

The driver hands a task out when its inputs are there, so that a failure, a death or a hang is dealt with in one place:
dependants of a failed task become `blocked`, and everything else goes on.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.core.hardware import keep_freed_memory
from bench.core.kinds import FailureCause
from bench.core.tasks import Task
from bench.execution.dask_engine import DaskEngine
from bench.execution.queue import TaskQueue
from bench.execution.retry_policy import PATIENCE, settle_or_requeue
from bench.execution.run_config import RunConfig

if TYPE_CHECKING:
    pass


def run(tasks: Mapping[str, Task], place: RunConfig) -> None:
    """Run all tasks (inputs standing before what needs them), telling each outcome to `place.on_outcome`.

    Inline where there are neither slots nor an address. Raises StoreError where the store cannot be used, BenchError
    where the worker processes or the scheduler cannot.
    """
    if not tasks:
        return
    place.store.check_writable()
    queue = TaskQueue(tasks)
    if place.slots or place.address:
        DaskEngine(queue, place).run()
    else:
        try:
            _inline(queue, place)
        except KeyboardInterrupt:
            if place.stop() < 2:  # nobody asked us to stop at once: it is the caller's own
                raise


def _inline(queue: TaskQueue, place: RunConfig) -> None:
    from bench.execution.runner import execute
    from bench.execution.task_context import WorkerState

    keep_freed_memory()
    state = WorkerState(place.store, place.registry, place.device, place.data, place.threads, place.on_progress)
    tried: set[str] = set()
    while queue.left and not place.stop():
        unit = queue.take()
        if not unit:
            time.sleep(PATIENCE / 5)
        for task in unit:
            if place.stop():
                return
            place.on_start(task.key)
            outcome = execute(task, place.store, place.registry, place.device, state=state)
            settle_or_requeue(outcome, queue, place, tried, queue.again)
            if outcome.cause == FailureCause.DEVICE:
                place.say(
                    f"Stopping: this process cannot use {place.device} any more. With --workers 1 the same command "
                    "takes a new process after such a task"
                )
                return
