"""Remove the weights of suspects that every task of this run is finished with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.planning.planner import Plan
from bench.store.store import Store

if TYPE_CHECKING:
    pass


@dataclass
class WeightRetention:
    """Removes a suspect's weights once every task of this run that needs them is settled (`--keep scores`)."""

    plan: Plan
    store: Store
    missing: Mapping[str, Task]
    needed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.suspects = {t.suspect for t in self.plan.trials if t.suspect} - {t.source for t in self.plan.trials}
        for task in self.missing.values():
            self.needed.update(set(task.inputs.values()) & self.suspects)

    def expect(self, more: Mapping[str, Task]) -> None:
        """Take note of tasks that have to run, too."""
        for key, task in more.items():
            if key not in self.missing:
                self.needed.update(set(task.inputs.values()) & self.suspects)
        self.missing = {**self.missing, **more}

    def settled(self, outcome: Outcome) -> None:
        """Take note of an outcome. What failed may be tried again by the next run, so its suspect stays."""
        if outcome.key in self.missing and outcome.status == Status.DONE:
            for key in set(self.missing[outcome.key].inputs.values()) & self.suspects:
                self.needed[key] -= 1
                if not self.needed[key]:
                    self.store.drop(key, "weights")
