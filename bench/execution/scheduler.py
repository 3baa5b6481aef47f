"""Run a graph of tasks: inline in this process, or on Dask with one worker process per device slot.

A task is started when its inputs are stored. If it fails, the tasks that need it become `blocked`; all others run.
"""

import time
from collections.abc import Mapping

from bench.core.kinds import FailureCause
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
    queue, policy = TaskQueue(tasks), RetryPolicy()
    if config.slots or config.address:
        run_on_dask(queue, config, reporter, policy, missing_inputs)
        return
    try:
        _run_inline(queue, config, reporter, policy, missing_inputs)
    except KeyboardInterrupt:
        if reporter.stop_requested() < StopRequest.NOW:  # it is not the reporter's way to stop, but the caller's own
            raise


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
