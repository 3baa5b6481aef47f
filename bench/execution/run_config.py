"""The configuration of a run (store, registry, devices, limits), and what it reports to its caller."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bench.core.tasks import Outcome, Task
from bench.execution.slots import Slot
from bench.models.description import Zoo
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.registry.registry import Registry

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
    plugins: tuple[str | bytes, ...] = ()
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
