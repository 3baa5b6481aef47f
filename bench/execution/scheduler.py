"""Run a graph of tasks: inline in this process, or on Dask with one worker process per device slot.

A task is started when its inputs are stored. If it fails, the tasks that need it become `blocked`; all others run.
"""

import time
from collections.abc import Mapping
from dataclasses import replace

from bench.core.kinds import FailureCause, Role, TaskKind
from bench.core.tasks import Task
from bench.execution.dask_engine import run_on_dask
from bench.execution.queue import TaskQueue, complete
from bench.execution.retry_policy import RETRY_DELAY, RetryPolicy, apply
from bench.execution.run_config import MissingInputs, Reporter, RunConfig, StopRequest
from bench.sandbox.process_state import deferred_interrupts


def run_tasks(
    tasks: Mapping[str, Task],
    config: RunConfig,
    reporter: Reporter = Reporter(),  # noqa: B008  it has no state
    missing_inputs: MissingInputs = lambda key: {},
) -> None:
    """Run all tasks, which are in an order where inputs precede their dependants, and report each outcome.

    They run inline if `config` has neither slots nor an address. StoreError if the store cannot be used, BenchError
    if the worker processes or the scheduler cannot.
    """
    if not tasks:
        return
    config.store.check_writable()
    queue, policy = TaskQueue(_with_needs(tasks)), RetryPolicy()
    if config.slots or config.address:
        run_on_dask(queue, config, reporter, policy, missing_inputs)
        return
    try:
        _run_inline(queue, config, reporter, policy, missing_inputs)
    except KeyboardInterrupt:
        if reporter.stop_requested() < StopRequest.NOW:  # it is not the reporter's way to stop, but the caller's own
            raise


def _with_needs(tasks: Mapping[str, Task]) -> dict[str, Task]:
    """Return tasks of which each suspect names those that need it: another run may remove its weights after these.

    A suspect that is made from it counts by the tasks that need that one: its own weights may be removed, too.
    """
    needing = {key: list[str]() for key, t in tasks.items() if t.kind == TaskKind.STEAL or t.role == Role.IRRELEVANT}
    for key, task in reversed([*tasks.items()]):
        for needed in needing.keys() & task.inputs.values():
            needing[needed] += needing.get(key) or [key]
    return {key: replace(t, needed_by=tuple(needing[key])) if key in needing else t for key, t in tasks.items()}


def _run_inline(
    queue: TaskQueue, config: RunConfig, reporter: Reporter, policy: RetryPolicy, missing_inputs: MissingInputs
) -> None:
    with deferred_interrupts():
        from bench.execution.runner import execute_together
        from bench.execution.task_context import WorkerState

    device = config.device
    state = WorkerState(config.store, config.registry, device, config.data, config.threads, reporter.task_progressed)
    state.zoo = config.zoo

    def start(task: Task) -> bool:
        if reporter.stop_requested():
            return False
        reporter.task_started(task.key)
        return True

    while queue.unfinished and not reporter.stop_requested():
        unit = queue.take()
        if not unit:
            time.sleep(RETRY_DELAY / 5)
        for outcome in complete(unit, execute_together(unit, state, start)):
            apply(policy.after_outcome(outcome), queue, reporter, missing_inputs, queue.requeue)
            if outcome.cause == FailureCause.DEVICE:
                reporter.note(
                    f"Stopping: a task left {device} unusable in this process. Run again with --workers 1: only the "
                    "worker is restarted then"
                )
                return
