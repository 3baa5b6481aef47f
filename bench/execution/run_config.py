"""The configuration of a run (store, registry, devices, limits), and what it reports to its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.execution.slots import Slot
from bench.models.description import Zoo
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.registry.registry import Registry
    from bench.registry.session import Shipped

MissingInputs: TypeAlias = Callable[[str], Mapping[str, Task]]
"""Returns the tasks that have to run before one that found an input damaged or missing, inputs first."""


class StopRequest(IntEnum):
    """How soon a run has to stop."""

    NONE = 0
    AFTER_RUNNING = 1
    """Start no more tasks, and wait for those that are running."""
    NOW = 2


@dataclass(frozen=True)
class RunConfig:
    """Where and how the tasks of a run are executed: inline if there are neither slots nor an address."""

    store: Store
    registry: Registry
    data: Path
    slots: Sequence[Slot] = ()
    address: str = ""
    """Of a Dask scheduler that was started elsewhere."""
    plugins: tuple[str | bytes | Shipped, ...] = ()
    threads: int = 1
    timeout: float = 0.0
    """Seconds after which a task is stopped; 0: never."""
    device: str = "cpu"
    """The device of an inline run."""
    zoo: Zoo = field(default_factory=Zoo)
    """The file that describes networks."""


class Reporter:
    """The callbacks of a run, which do nothing here: a caller overrides those that it needs."""

    def note(self, text: str) -> None:
        """Report one line that the user should read."""

    def task_started(self, key: str) -> None:
        """Report that a task has started."""

    def task_progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Report that a task's training has finished `epoch` of `epochs` epochs, the last with mean loss `loss`."""

    def task_finished(self, outcome: Outcome) -> None:
        """Report the outcome of a task: done, failed, or blocked by one that failed."""

    def stop_requested(self) -> StopRequest:
        """Return how soon the run has to stop; asked several times a second."""
        return StopRequest.NONE


class ForwardingReporter(Reporter):
    """Passes every callback on to another reporter."""

    def __init__(self, reporter: Reporter) -> None:
        self.reporter = reporter

    def note(self, text: str) -> None:
        """Pass a note on."""
        self.reporter.note(text)

    def task_started(self, key: str) -> None:
        """Pass a start on."""
        self.reporter.task_started(key)

    def task_progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Pass the progress of a training on."""
        self.reporter.task_progressed(key, epoch, epochs, loss)

    def task_finished(self, outcome: Outcome) -> None:
        """Pass an outcome on."""
        self.reporter.task_finished(outcome)

    def stop_requested(self) -> StopRequest:
        """Ask the other reporter."""
        return self.reporter.stop_requested()


class Failures(ForwardingReporter):
    """Collects the errors of failed tasks by key, in their order."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(reporter)
        self.errors: dict[str, str] = {}

    def task_finished(self, outcome: Outcome) -> None:
        """Record an error, of the task itself or of the one that blocks it."""
        if outcome.status in (Status.FAILED, Status.BLOCKED):
            self.errors[outcome.key] = f"{outcome.root}: {outcome.error}"
        super().task_finished(outcome)
