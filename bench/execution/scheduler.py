"""Run a graph of tasks: inline in this process, or on Dask with one worker process per device slot.

A task is started when its inputs are stored. If it fails, the tasks that need it become `blocked`; all others run.
"""

import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from bench.core.errors import BenchError
from bench.core.kinds import FailureCause
from bench.core.tasks import Task
from bench.execution.dask_engine import run_on_dask
from bench.execution.queue import TaskQueue, complete
from bench.execution.retry_policy import OPEN_FILES, RETRY_DELAY, RetryPolicy, apply
from bench.execution.run_config import MissingInputs, Reporter, RunConfig, StopRequest
from bench.registry.session import write
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
    queue, policy = TaskQueue(tasks), RetryPolicy(machines=bool(config.address))
    if config.slots or config.address:
        with _written_session(config) as written:
            run_on_dask(queue, written, reporter, policy, missing_inputs)
        return
    try:
        _run_inline(queue, config, reporter, policy, missing_inputs)
    except KeyboardInterrupt:
        if reporter.stop_requested() < StopRequest.NOW:  # it is not the reporter's way to stop, but the caller's own
            raise


@contextmanager
def _written_session(config: RunConfig) -> Iterator[RunConfig]:
    """Write the objects of a session once, where every worker can read them, and yield a configuration with the file.

    With each unit of tasks, they would be sent and compared again.
    """
    if not any(isinstance(plugin, bytes) for plugin in config.plugins):
        yield config
        return
    with tempfile.TemporaryDirectory(prefix="bench-session-", ignore_cleanup_errors=True) as own:
        path = Path(own)
        try:
            try:
                path = config.store.subfolder("tmp") if config.address else path  # machines share the store
                path /= f"session.{uuid.uuid4().hex}"
                plugins = tuple(write(path, p) if isinstance(p, bytes) else p for p in config.plugins)
            except OSError as error:
                raise BenchError(f"{path} cannot be written: {error.strerror or error}") from error
            yield replace(config, plugins=plugins)
        finally:
            with suppress(OSError):
                path.unlink()


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
                full = outcome.error == OPEN_FILES
                left = "this process no file that it can open" if full else f"{device} unusable in this process"
                reporter.note(
                    f"Stopping: a task left {left}. Run again with --workers 1: only the worker is restarted then"
                )
                return
