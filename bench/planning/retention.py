"""Remove the weights of suspects that no task of this run needs any more."""

from collections import Counter
from collections.abc import Container, Mapping
from dataclasses import dataclass, field

from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.planning.graph import Plan
from bench.store.store import Store
from bench.store.uses import DIGITS

WEIGHTS = "weights.safetensors"
"""The file of an artifact that is removed."""


def removable(plan: Plan) -> set[str]:
    """Return the suspects whose weights `--keep scores` removes: those that are no source."""
    return {t.suspect for t in plan.trials if t.suspect} - {t.source for t in plan.trials}


@dataclass
class WeightRetention:
    """Removes a suspect's weights once every task of this run that needs them is done (`--keep scores`).

    `elsewhere` has the first DIGITS digits of keys that runs of other results folders still need: their weights stay.
    """

    plan: Plan
    store: Store
    missing: Mapping[str, Task]
    elsewhere: Container[str] = frozenset()
    needed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.suspects = removable(self.plan)
        self.unfinished: dict[str, Task] = {}
        self.add_tasks(self.missing)

    def add_tasks(self, more: Mapping[str, Task]) -> None:
        """Count tasks that have to run, those that were done and have to run once more included."""
        for key, task in more.items():
            if key not in self.unfinished:
                self.needed.update(set(task.inputs.values()) & self.suspects)
                self.unfinished[key] = task

    def task_finished(self, outcome: Outcome) -> None:
        """Count an outcome. The next run may retry a failed task, so the weights that it needs stay."""
        if outcome.status == Status.DONE and (task := self.unfinished.pop(outcome.key, None)):
            for key in set(task.inputs.values()) & self.suspects:
                self.needed[key] -= 1
                if not self.needed[key] and key[:DIGITS] not in self.elsewhere:
                    self.store.drop(key, "weights")
