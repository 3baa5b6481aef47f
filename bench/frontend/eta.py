"""Estimate the remaining time of a run from what its finished tasks took and how far its running ones are."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.tasks import Outcome, Task

TRAININGS = (TaskKind.TRAIN, TaskKind.EMBED, TaskKind.STEAL)
"""Kinds whose length depends above all on data and architecture: nothing is assumed where one of these is unknown."""
LONG = (*TRAININGS, TaskKind.FINGERPRINT)
"""Kinds without an estimate until one is known; all others are short in comparison."""
MIN_FINISHED = 3
"""Finished tasks before there is an estimate."""
ANY = "*"
"""In a category: whatever it is."""


class Category(NamedTuple):
    """What decides how long a task takes: its kind, attack and method, data and architecture.

    `length` is the share of a whole training that an attack or a watermark declares for its own.
    """

    kind: str
    component: str
    data: str
    architecture: str
    length: float = 1.0


Measured: TypeAlias = Mapping[Category, tuple[float, float]]
"""Count and seconds of tasks by category, those with ANY included: there the count is that of whole trainings."""


def category(task: Task, tasks: Mapping[str, Task]) -> Category:
    """Return the category of a task; the architecture of a fingerprint is that of its source, if `tasks` has that.

    The scores of all architectures are in one category: there are many, and each is short.
    """
    parts = [str(task.params[k]["name"]) for k in (ComponentKind.ATTACK, ComponentKind.METHOD) if k in task.params]
    data = task.inputs.get("data") or str(task.params.get("dataset", {}).get("name", ""))
    network = tasks.get(task.inputs["source"], task) if task.kind == TaskKind.FINGERPRINT and task.inputs else task
    architecture = str(network.params.get("architecture", {}).get("name", ""))
    return Category(task.kind, " ".join(parts), data, architecture, _length(task) if task.kind in TRAININGS else 1.0)


def _length(task: Task) -> float:
    """Return the field `length` of the attack or, without one, of the method that trains; 1 where there is none."""
    named = [task.params[k] for k in (ComponentKind.ATTACK, ComponentKind.METHOD) if k in task.params]
    length = named[0].get("params", {}).get("length") if named else None
    return float(length) if isinstance(length, int | float) and length > 0 else 1.0


@dataclass
class _Running:
    category: Category
    started: float
    progress: float = 0.0
    """From 0 to 1, as far as it was reported."""
    several: bool = False
    """True if its progress began again: it has several trainings, of which the last may not be the longest."""

    def left(self, now: float, known: Measured) -> float | None:
        """Return the seconds that the task still takes: by its progress and what others of its category took."""
        spent = now - self.started
        whole = mean(self.category, known)
        if self.progress > 0 and not self.several:
            return max(spent / self.progress, whole or 0.0) - spent
        whole = expected(self.category, known) if whole is None else whole
        return None if whole is None else max(0.0, whole - spent)


@dataclass
class Eta:
    """Durations of the tasks of a run. Not safe for calls from several threads at once."""

    tasks: Mapping[str, Task]
    clock: Callable[[], float] = time.monotonic
    first_start: float | None = None
    running: dict[str, _Running] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    waiting: Counter[Category] = field(default_factory=Counter)
    categories: dict[str, Category] = field(default_factory=dict)
    """Of all tasks that were counted, but for scores: there may be a million."""
    counted: int = 0
    """Tasks that are in `waiting`, or were."""
    task_seconds: float = 0.0
    """Seconds of all tasks that ran, one after the other."""
    measured: dict[Category, tuple[int, float]] = field(default_factory=dict)
    """Count and seconds of the finished tasks."""

    def task_started(self, key: str) -> None:
        """Record the start of a task."""
        self._count()
        which, now = self._category(key), self.clock()
        self.first_start = now if self.first_start is None else self.first_start
        if key in self.finished:  # it is recomputed
            self.finished.discard(key)
        elif key not in self.running:
            self.waiting[which] -= 1
        self.running[key] = _Running(which, now)

    def task_progressed(self, key: str, progress: float) -> None:
        """Record the progress of a task, from 0 to 1."""
        if task := self.running.get(key):
            task.several |= progress < task.progress
            task.progress = progress

    def task_finished(self, outcome: Outcome) -> None:
        """Record the end of a task. One that was cached, failed or blocked measures nothing."""
        self._count()
        which = self._category(outcome.key)
        if self.running.pop(outcome.key, None) is None and outcome.key not in self.finished:
            self.waiting[which] -= 1
        self.finished.add(outcome.key)
        if not outcome.stored:
            self.task_seconds += outcome.seconds
        if outcome.status == Status.DONE and not outcome.stored:
            count, seconds = self.measured.get(which, (0, 0.0))
            self.measured[which] = count + 1, seconds + outcome.seconds

    def _category(self, key: str) -> Category:
        return self.categories.get(key) or category(self.tasks[key], {})

    def _count(self) -> None:
        """Count new tasks by category: a run may add some."""
        if self.counted < len(self.tasks):
            for key, task in list(self.tasks.items())[self.counted :]:
                which = category(task, self.tasks)
                self.waiting[which] += 1
                if task.kind != TaskKind.SCORE:
                    self.categories[key] = which
            self.counted = len(self.tasks)

    def remaining(self) -> float | None:
        """Return the estimated seconds until the run ends; None if too little is known.

        The work that is left is shared by as many tasks at once as so far; no task can be shared.
        """
        return self._remaining(at_least=False)

    def at_least(self) -> float | None:
        """Return the estimated seconds of what is known of the work that is left; None if that is nothing."""
        return self._remaining(at_least=True) or None

    def _remaining(self, at_least: bool) -> float | None:
        if self.first_start is None or len(self.finished) < MIN_FINISHED:
            return None
        now = self.clock()
        known = self._known(now)
        left = [(1, r.left(now, known)) for r in self.running.values()]
        left += [(count, expected(which, known)) for which, count in self.waiting.items() if count > 0]
        each = [(count, seconds) for count, seconds in left if seconds is not None]
        task_seconds = self.task_seconds + sum(now - r.started for r in self.running.values())
        if (len(each) < len(left) and not at_least) or not task_seconds:
            return None
        work = sum(count * seconds for count, seconds in each)
        longest = max((seconds for _, seconds in each), default=0.0)
        return max(work * (now - self.first_start) / task_seconds, longest)

    def _known(self, now: float) -> Measured:
        """Return what is measured. Until a task of a category has finished, the progress of running ones counts."""
        samples = [*self.measured.items()]
        for r in self.running.values():
            if r.progress > 0 and not r.several and r.category not in self.measured:
                samples.append((r.category, (1, (now - r.started) / r.progress)))
        known: dict[Category, tuple[float, float]] = {}
        for which, (count, seconds) in samples:
            for wider in dict.fromkeys((which, *_wider(which), *_partial(which))):
                before = known.get(wider, (0.0, 0.0))
                whole = count if wider == which else count * which.length
                known[wider] = before[0] + whole, before[1] + seconds
        return known


def mean(which: Category, known: Measured) -> float | None:
    """Return the mean seconds of a category; None if nothing is known of it."""
    count, seconds = known.get(which, (0, 0.0))
    return seconds / count if count else None


def expected(which: Category, known: Measured) -> float | None:
    """Return the mean seconds of a category, else of the next wider one that is known, times the category's length.

    A training on data and with an architecture that are both known, but not together, is expected to take as long as
    the longer of the two. None where that is not known either, or nothing of a fingerprint.
    """
    if (found := mean(which, known)) is not None:
        return found
    for wider in _wider(which):
        if (found := mean(wider, known)) is not None:
            return found * which.length
    if which.kind in TRAININGS:
        data, architecture = (mean(part, known) for part in _partial(which))
        return None if data is None or architecture is None else max(data, architecture) * which.length
    return None if which.kind in LONG else 0.0


def _wider(which: Category) -> Iterator[Category]:
    """Yield the categories of what takes about as long, the closest first."""
    kind, component, data, architecture, _ = which
    if kind in TRAININGS:
        yield Category(kind, ANY, data, architecture)
        yield Category("trainings", ANY, data, architecture)
    else:
        yield Category(kind, component, data, ANY)
        yield Category(kind, component, ANY, ANY)
        yield Category(kind, ANY, ANY, ANY)


def _partial(which: Category) -> tuple[Category, ...]:
    """Return the categories of all trainings on the data of a training, and of all with its architecture."""
    if which.kind not in TRAININGS:
        return ()
    return Category("trainings", ANY, which.data, ANY), Category("trainings", ANY, ANY, which.architecture)
