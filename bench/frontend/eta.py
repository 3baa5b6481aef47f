"""Estimate the remaining time of a run from the durations of its finished tasks."""

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.tasks import Outcome, Task

TRAININGS = (TaskKind.TRAIN, TaskKind.EMBED, TaskKind.STEAL)
"""Kinds that are assumed to take equally long until they are measured; all others are short in comparison."""
MIN_FINISHED = 3
"""Finished tasks before there is an estimate."""

Category: TypeAlias = tuple[str, str]
"""A kind of task, and its attack, method or architecture: tasks of one category take equally long."""


def category(task: Task) -> Category:
    """Return the category of a task."""
    name = next((task.params[k]["name"] for k in reversed(ComponentKind) if k in task.params), "")
    return task.kind, str(name)


@dataclass
class _Running:
    category: Category
    started: float
    progress: float = 0.0
    """From 0 to 1, as far as it was reported."""


class Eta:
    """Durations of the tasks of a run. Not safe for calls from several threads at once."""

    def __init__(self, tasks: Mapping[str, Task], clock: Callable[[], float] = time.monotonic) -> None:
        self.tasks, self.clock = tasks, clock
        self.first_start: float | None = None
        self.running: dict[str, _Running] = {}
        self.finished: set[str] = set()
        self.waiting: Counter[Category] = Counter()
        self.counted = 0
        """Tasks that are in `waiting`, or were."""
        self.task_seconds = 0.0
        """Seconds of all tasks that ran, one after the other."""
        self.measured: dict[Category, tuple[int, float]] = {}
        """Count and seconds of the finished tasks."""

    def task_started(self, key: str) -> None:
        """Record the start of a task."""
        self._count()
        which, now = category(self.tasks[key]), self.clock()
        self.first_start = now if self.first_start is None else self.first_start
        if key in self.finished:  # it is recomputed
            self.finished.discard(key)
        elif key not in self.running:
            self.waiting[which] -= 1
        self.running[key] = _Running(which, now)

    def task_progressed(self, key: str, progress: float) -> None:
        """Record the progress of a task, from 0 to 1."""
        if key in self.running:
            self.running[key].progress = progress

    def task_finished(self, outcome: Outcome) -> None:
        """Record the end of a task. One that was cached, failed or blocked measures nothing."""
        self._count()
        which = category(self.tasks[outcome.key])
        if self.running.pop(outcome.key, None) is None and outcome.key not in self.finished:
            self.waiting[which] -= 1
        self.finished.add(outcome.key)
        if not outcome.stored:
            self.task_seconds += outcome.seconds
        if outcome.status == Status.DONE and not outcome.stored:
            count, seconds = self.measured.get(which, (0, 0.0))
            self.measured[which] = count + 1, seconds + outcome.seconds

    def _count(self) -> None:
        """Count new tasks by category: a run may add some."""
        if self.counted < len(self.tasks):
            self.waiting.update(category(t) for t in list(self.tasks.values())[self.counted :])
            self.counted = len(self.tasks)

    def remaining(self) -> float | None:
        """Return the estimated seconds until the run ends; None if too little is known."""
        if self.first_start is None or len(self.finished) < MIN_FINISHED:
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
            work += max(0.0, (expected(r.category, known) or 0.0) - (now - r.started))
        task_seconds = self.task_seconds + sum(now - r.started for r in self.running.values())
        return work * (now - self.first_start) / task_seconds if task_seconds else None

    def _known(self, now: float) -> dict[Category, tuple[int, float]]:
        """Return count and seconds of each category, and, with an empty name, of each kind.

        If no training has finished yet, the progress of running ones is extrapolated.
        """
        known: dict[Category, tuple[int, float]] = {}
        samples = [*self.measured.items()]
        if not any(kind in TRAININGS for kind, _ in self.measured):
            running = [r for r in self.running.values() if r.progress > 0]
            samples += [(r.category, (1, (now - r.started) / r.progress)) for r in running]
        for (kind, name), (count, seconds) in samples:
            for which in {(kind, name), (kind, ""), (family(kind), "")}:
                before = known.get(which, (0, 0.0))
                known[which] = before[0] + count, before[1] + seconds
        return known


def expected(which: Category, known: Mapping[Category, tuple[int, float]]) -> float | None:
    """Return the mean seconds of a category, else of its kind, else of all trainings; None for an unknown training."""
    kind, name = which
    for other in ((kind, name), (kind, ""), (family(kind), "")):
        if other in known:
            count, seconds = known[other]
            return seconds / count
    return None if kind in TRAININGS else 0.0


def family(kind: str) -> str:
    """Return the name of the kinds that are assumed to take as long as this one."""
    return "trainings" if kind in TRAININGS else kind
