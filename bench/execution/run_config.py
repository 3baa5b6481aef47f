"""The configuration of a run: store, registry, devices, limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.tasks import Outcome, Task
from bench.execution.slots import Slot
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.registry.registry import Registry


@dataclass
class RunConfig:
    """What a run needs to know besides its tasks."""

    store: Store
    registry: Registry
    data: Path
    slots: Sequence[Slot] = ()
    address: str = ""
    plugins: tuple[str, ...] = ()
    threads: int = 1
    timeout: float = 0.0
    device: str = "cpu"
    """The device of an inline run."""
    on_outcome: Callable[[Outcome], None] = lambda outcome: None
    on_start: Callable[[str], None] = lambda key: None
    on_progress: Callable[[str, float, float, float], None] = lambda key, epoch, epochs, loss: None
    anew: Callable[[str], Mapping[str, Task]] = lambda key: {}
    """Asked for the tasks that have to run before one that found an input damaged or gone."""
    say: Callable[[str], None] = lambda text: None
    """Told what the user should know besides."""
    stop: Callable[[], int] = lambda: 0
    """0: go on; 1: hand nothing more out and wait for what is running; 2: stop at once."""
