"""Estimate how long the rest of a run will take, from what its tasks have taken so far, kind by kind."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.tasks import Outcome, Task

TRAININGS = (TaskKind.TRAIN, TaskKind.EMBED, TaskKind.STEAL)
"""Kinds that are as long as one another, until more is known; all others are short beside them."""
ENOUGH = 3
"""Settled tasks before anything is said."""

Sort = tuple[str, str]


def sort(task: Task) -> Sort:
    """Name what tasks of one length share: the kind, and the attack, method or architecture."""
    name = next((task.params[k]["name"] for k in reversed(ComponentKind) if k in task.params), "")
    return task.kind, str(name)


@dataclass
class _Running:
    sort: Sort
    began: float
    share: float = 0.0
    """How much of it is done, as far as it tells."""


class Eta:
    """Keeps what the tasks of a run have taken. Not safe to be told from several threads at once."""

    def __init__(self, tasks: Mapping[str, Task], clock: Callable[[], float] = time.monotonic) -> None:
        self.tasks, self.clock = tasks, clock
        self.began: float | None = None
        self.running: dict[str, _Running] = {}
        self.over: set[str] = set()
        self.waiting: Counter[Sort] = Counter()
        self.counted = 0
        """Tasks that are in `waiting`, or were."""
        self.spent = 0.0
        """Seconds of all tasks that ran, one after the other."""
        self.taken: dict[Sort, tuple[int, float]] = {}

    def started(self, key: str) -> None:
        """Note that a task began."""
        self._count()
        which, now = sort(self.tasks[key]), self.clock()
        self.began = now if self.began is None else self.began
        if key in self.over:  # it is made anew
            self.over.discard(key)
        elif key not in self.running:
            self.waiting[which] -= 1
        self.running[key] = _Running(which, now)

    def progressed(self, key: str, share: float) -> None:
        """Note how much of a task is done, from 0 to 1."""
        if key in self.running:
            self.running[key].share = share

    def settled(self, outcome: Outcome) -> None:
        """Note that a task is over. One that ran nowhere here, or failed, says nothing of others."""
        self._count()
        which = sort(self.tasks[outcome.key])
        if self.running.pop(outcome.key, None) is None and outcome.key not in self.over:
            self.waiting[which] -= 1
        self.over.add(outcome.key)
        if not outcome.stored:
            self.spent += outcome.seconds
        if outcome.status == Status.DONE and not outcome.stored:
            count, seconds = self.taken.get(which, (0, 0.0))
            self.taken[which] = count + 1, seconds + outcome.seconds

    def _count(self) -> None:
        """Count the tasks by sort; a run may come to have more of them."""
        if self.counted < len(self.tasks):
            self.waiting.update(sort(t) for t in list(self.tasks.values())[self.counted :])
            self.counted = len(self.tasks)

    def left(self) -> float | None:
        """Give the seconds that the rest will take if it goes on like this; None: too little is known."""
        if self.began is None or len(self.over) < ENOUGH:
            return None
        now = self.clock()
        known = self._known(now)
        work = 0.0
        for which, count in self.waiting.items():
            if count > 0:
                each = expected(which, known)
                if each is None:
                    return None
                work += count * each
        for r in self.running.values():
            work += max(0.0, (expected(r.sort, known) or 0.0) - (now - r.began))
        spent = self.spent + sum(now - r.began for r in self.running.values())
        return work * (now - self.began) / spent if spent else None

    def _known(self, now: float) -> dict[Sort, tuple[int, float]]:
        """Give the count and the seconds of each sort, and, with an empty name, of each kind.

        Where no training is over yet, those at work say how long they will be.
        """
        known: dict[Sort, tuple[int, float]] = {}
        samples = [*self.taken.items()]
        if not any(kind in TRAININGS for kind, _ in self.taken):
            samples += [(r.sort, (1, (now - r.began) / r.share)) for r in self.running.values() if r.share > 0]
        for (kind, name), (count, seconds) in samples:
            for which in {(kind, name), (kind, ""), (family(kind), "")}:
                before = known.get(which, (0, 0.0))
                known[which] = before[0] + count, before[1] + seconds
        return known


def expected(which: Sort, known: Mapping[Sort, tuple[int, float]]) -> float | None:
    """Give the seconds of one task, from its sort, its kind or all trainings. None: a training, and none is known."""
    kind, name = which
    for other in ((kind, name), (kind, ""), (family(kind), "")):
        if other in known:
            count, seconds = known[other]
            return seconds / count
    return None if kind in TRAININGS else 0.0


def family(kind: str) -> str:
    """Name what kinds of about one length share."""
    return "trainings" if kind in TRAININGS else kind
