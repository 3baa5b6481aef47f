"""Run the tasks of a queue on Dask workers."""

from __future__ import annotations

import tempfile
import threading
import uuid
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from bench.core.kinds import FailureCause
from bench.core.tasks import Task
from bench.execution import cluster
from bench.execution.in_flight import InFlightTable, Unit
from bench.execution.queue import TaskQueue
from bench.execution.retry_policy import MEMORY_HINT, RETRY_DELAY, Decision, RetryPolicy, apply
from bench.execution.run_config import MissingInputs, Reporter, RunConfig, StopRequest
from bench.execution.usable import NO_WORKER, UsableWorkers
from bench.execution.worker import execute_unit
from bench.sandbox.child_processes import safe_start
from bench.sandbox.process_state import deferred_interrupts

if TYPE_CHECKING:
    from distributed import Future

QUEUED_PER_SLOT = 2
"""Units submitted per slot: one runs, the next is at the worker already."""
AWAITED = ("finished", "lost", "pending")
"""States in which the result of a future is still to come after its worker died: Dask runs it again."""


def run_on_dask(
    queue: TaskQueue, config: RunConfig, reporter: Reporter, policy: RetryPolicy, missing_inputs: MissingInputs
) -> None:
    """Start the workers or connect to the scheduler; run until every task is settled or the run has to stop."""
    slots = () if config.address else config.slots
    with (
        safe_start(len(slots)),  # it restores the environment, which Dask changes
        cluster.running_forkserver(slots),  # it imports torch while this process imports Dask
        tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as scratch,
    ):
        cluster.import_dask()
        import dask
        from distributed import Client

        with cluster.silenced_dask(), dask.config.set(cluster.dask_settings(slots)):
            started = None
            try:
                with deferred_interrupts():
                    started = None if config.address else cluster.start_workers(slots, scratch)
                with cluster.connect(Client, started, config.address) as client:
                    workers = cluster.Workers(client, config.address, started)
                    DaskEngine(queue, config, reporter, policy, missing_inputs, workers).run()
            finally:
                if started is not None:
                    started.close()


class DaskEngine:
    """Submits the units of a queue to Dask workers, and handles outcomes, dead workers and timeouts."""

    def __init__(
        self,
        queue: TaskQueue,
        config: RunConfig,
        reporter: Reporter,
        policy: RetryPolicy,
        missing_inputs: MissingInputs,
        workers: cluster.Workers,
    ) -> None:
        self.queue, self.config, self.reporter, self.policy = queue, config, reporter, policy
        self.missing_inputs, self.client, self.workers = missing_inputs, workers.client, workers
        self.name = f"bench-{uuid.uuid4().hex[:12]}"  # other runs may use the same scheduler
        self.in_flight = InFlightTable()
        self.finished: SimpleQueue[Future[Any]] = SimpleQueue()
        self.run_alone: list[str] = []
        """Keys of the tasks that have to run while no other task runs."""
        self.lost_device: set[str] = set()
        """Addresses of the workers that cannot use their device any more: they execute no task."""
        self.usable = UsableWorkers(workers, reporter)
        self.submitted = 0
        self.without_workers = False

    def run(self) -> None:
        """Run until every task is settled or the run has to stop."""
        self.client.subscribe_topic(self.name, self._receive)
        while self.queue.unfinished:
            stop = self.reporter.stop_requested()
            if stop == StopRequest.NOW:
                return
            with self.workers.reachable():
                self.workers.replace_abandoned()
                if stop:
                    self.in_flight.cancel_not_started(self.client.processing())
                else:
                    self._replace_lost()
                    if not self.lost_device:
                        self._submit_ready()
            if stop and not self.in_flight:
                return
            with suppress(Empty):
                self._finish(self.finished.get(timeout=RETRY_DELAY))
                while True:
                    self._finish(self.finished.get_nowait())
            self._stop_overdue()

    def _receive(self, event: tuple[float, dict[str, Any]]) -> None:
        """Pass on what a worker reports: that a task has started, or its progress."""
        report = event[1]
        if "progress" in report:
            self.reporter.task_progressed(*report["progress"])
        elif self.in_flight.start(report["unit"], report["started"], report["worker"]):
            self.reporter.task_started(report["started"])

    def _submit_ready(self) -> None:
        slots = self._slot_count()
        if slots and self.run_alone and not self.in_flight:
            key = self.run_alone.pop()
            if key in self.policy.out_of_memory:
                self.workers.free_memory(self.name)
            self._submit([self.queue.tasks[key]], alone=True)
        if self.run_alone or any(unit.alone for unit in self.in_flight.by_future.values()):
            return
        queued = 1 if self.usable.reasons else QUEUED_PER_SLOT  # a worker without tasks takes those that wait elsewhere
        while len(self.in_flight) < queued * slots:
            unit = self.queue.take()
            if not unit:
                return
            self._submit(unit)

    def _slot_count(self) -> int:
        """Return the number of tasks that can run at once; workers may join and leave a cluster at any time."""
        if not self.config.address and not self.usable.reasons:
            return len(self.config.slots)
        count, address = len(self.usable.addresses()), self.config.address
        waiting = bool(address) and count == 0 and not self.usable.reasons
        if waiting and not self.without_workers:
            self.reporter.note(NO_WORKER.format(address=address))
        self.without_workers = waiting
        return count

    def _submit(self, tasks: list[Task], alone: bool = False) -> None:
        config = self.config
        self.submitted += 1
        name = f"{self.name}-{self.submitted}"
        unit = self.in_flight.by_name[name] = Unit(tasks, alone=alone)  # before a worker can report its start
        where = str(config.store.root), str(config.data), config.plugins, config.threads
        arguments = (tasks, *where, self.name, name, config.zoo)
        how = {"key": name, "priority": -self.submitted, "pure": False, "retries": 0, **self.usable.placement()}
        future = self.client.submit(execute_unit, *arguments, **how)
        self.in_flight.by_future[future] = unit
        future.add_done_callback(self.finished.put)

    def _finish(self, future: Future[Any]) -> None:
        """Handle a future that is done."""
        unit = self.in_flight.by_future.get(future)
        if unit is None:
            return
        result = self.workers.result_of(future) if future.status == "finished" else None
        if result is None and future.status in AWAITED:
            threading.Timer(RETRY_DELAY, self.finished.put, [future]).start()
            return
        self.in_flight.remove(future)
        if result is not None:
            outcomes, address = result
            unit.report_starts(outcomes, self.reporter)
            self._apply(*(self.policy.after_outcome(outcome, unit.alone) for outcome in outcomes))
            if outcomes[-1].cause == FailureCause.WORKER:
                self.usable.leave_out(address, outcomes[-1].error)
            elif address:
                self.lost_device.add(address)
        elif future.status == "cancelled":
            raise self.workers.scheduler_gone()
        else:
            log = str(self.config.store.log(unit.tasks[0].key))
            suspected = unit.alone or unit.running is not None or not _died(future)
            self._apply(*self.policy.after_death(unit.tasks, _reason(future), log, suspected))
        future.release()  # or Dask would compute it again if its worker goes

    def _apply(self, *decisions: Decision) -> None:
        for decision in decisions:
            apply(decision, self.queue, self.reporter, self.missing_inputs, self.run_alone.append)

    def _stop_overdue(self) -> None:
        """Stop a worker whose task has exceeded the timeout: a thread cannot be stopped, a process can.

        One at a time: until a worker has restarted, others may finish, and what they have is fetched before the next.
        """
        timeout, store = self.config.timeout, self.config.store
        for future, unit, running in self.in_flight.overdue(timeout) if timeout else ():
            if running.worker not in self.workers.known():  # it died, and Dask gives the unit to another one
                unit.running = None
                continue
            self.in_flight.remove(future)
            future.cancel(force=True)
            self.workers.restart(running.worker)
            error = f"it ran longer than --task-timeout {timeout:g} s and was stopped"
            log = str(store.log(running.key))
            self._apply(*self.policy.after_timeout(unit.tasks, running.key, unit.stored(store), error, log))
            return

    def _replace_lost(self) -> None:
        """Restart the workers that lost their device once all their results are here: a restart loses the others."""
        for address in list(self.lost_device):
            held = {*self.client.processing().get(address, ()), *self.client.has_what().get(address, ())}
            if not any(str(key).startswith(self.name) for key in held):
                self.lost_device.discard(address)
                self.workers.restart(address)


def _died(future: Future[Any]) -> bool:
    """Return True if the workers that had a unit died, one after the other."""
    from distributed import KilledWorker

    return isinstance(future.exception(), KilledWorker)


def _reason(future: Future[Any]) -> str:
    """Return in one line why Dask could not run a unit."""
    error: Any = future.exception()
    if _died(future):
        return f"the worker died {error.allowed_failures + 1} times while it ran this task; {MEMORY_HINT}"
    return f"the worker could not run it: {type(error).__name__}: {cluster.one_line(error)}"
