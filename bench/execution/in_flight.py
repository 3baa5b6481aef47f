"""The units of tasks that Dask workers have: what each runs, since when, and whether alone."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.execution.run_config import Reporter
from bench.planning.inventory import stored_outcome

if TYPE_CHECKING:
    from distributed import Future

    from bench.store.store import Store


@dataclass
class RunningTask:
    """The task of a unit that a worker has started last: where, and when."""

    key: str
    worker: str
    since: float


@dataclass
class Unit:
    """Tasks that were submitted together."""

    tasks: Sequence[Task]
    running: RunningTask | None = None
    """None: no worker has started it."""
    started: set[str] = field(default_factory=set)
    """Its tasks that were reported to have started: short ones are not."""
    alone: bool = False  # no other unit is submitted before it ends

    def report_starts(self, outcomes: Sequence[Outcome], reporter: Reporter) -> None:
        """Report the start of each task that ran and was not reported before."""
        for outcome in outcomes:
            if outcome.status != Status.BUSY and outcome.key not in self.started:
                reporter.task_started(outcome.key)

    def stored(self, store: Store) -> dict[str, Outcome]:
        """Return the outcomes of the tasks whose artifacts are complete in the store."""
        found = {task.key: stored_outcome(store, task) for task in self.tasks}
        return {key: replace(outcome, stored=False) for key, outcome in found.items() if outcome}


class InFlightTable:
    """The units that are submitted and not finished, by future and by name."""

    def __init__(self) -> None:
        self.by_future: dict[Future[Any], Unit] = {}
        self.by_name: dict[str, Unit] = {}

    def __len__(self) -> int:
        return len(self.by_future)

    def remove(self, future: Future[Any]) -> Unit | None:
        """Remove a unit and return it; None if it was removed before."""
        self.by_name.pop(str(future.key), None)
        return self.by_future.pop(future, None)

    def start(self, name: str, key: str, worker: str) -> bool:
        """Record that a worker has started a task; return False if its unit is not in flight any more."""
        unit = self.by_name.get(name)
        if unit is not None:
            unit.running = RunningTask(key, worker, time.monotonic())
            unit.started.add(key)
        return unit is not None

    def busy_workers(self) -> set[str]:
        """Return the addresses of the workers that have started a unit."""
        return {unit.running.worker for unit in self.by_future.values() if unit.running}

    def not_started(self) -> list[Future[Any]]:
        """Return the futures of the units that no worker has started."""
        return [future for future, unit in self.by_future.items() if unit.running is None]

    def cancel_not_started(self, processing: Mapping[str, Sequence[str]]) -> None:
        """Cancel the units that no worker has started; one that an idle worker has received may be starting.

        `processing` are the keys of the units that each worker has received.
        """
        busy = self.busy_workers()
        received = {key for worker, keys in processing.items() if worker not in busy for key in keys}
        for future in self.not_started():
            if future.key not in received:
                self.remove(future)
                future.cancel()

    def overdue(self, timeout: float) -> Iterator[tuple[Future[Any], Unit, RunningTask]]:
        """Yield the units whose running task has exceeded the timeout and goes on."""
        for future, unit in list(self.by_future.items()):
            running = unit.running
            if running and time.monotonic() - running.since >= timeout and not future.done():
                yield future, unit, running
