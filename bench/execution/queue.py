"""The queue of a run: which tasks wait for inputs, which are ready, which are settled."""

import heapq
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.core.kinds import Role, Status, TaskKind
from bench.core.tasks import Outcome, Task
from bench.sandbox.process_state import gc_paused

SCORES_PER_UNIT = 32
"""Score tasks of one suspect in a unit: each takes a few milliseconds."""
UNIT_SECONDS = 0.25
"""Seconds that the tasks of several suspects in a unit may take together, as far as is known."""
FINGERPRINT_HEIGHT = 1000
"""Height of a fingerprint: it and its inputs precede suspects, since no suspect can be judged without one."""


def complete(unit: Sequence[Task], outcomes: Iterable[Outcome]) -> Iterator[Outcome]:
    """Yield the outcomes of a unit as they come, then those of the tasks that were left out: `busy`."""
    left = {task.key for task in unit}
    for outcome in outcomes:
        left.discard(outcome.key)
        yield outcome
    yield from (Outcome(task.key, Status.BUSY) for task in unit if task.key in left)


class ReadyScores:
    """The scores that are ready, by suspect: those of a suspect with all of them ready come first."""

    def __init__(self, order: Mapping[str, int]) -> None:
        self.order = order
        self.scores: dict[str, list[str]] = {}
        self.unready: dict[str, set[str]] = {}
        """The scores of each suspect that wait for an input."""
        self.heap: list[tuple[bool, int, int, str]] = []
        self.pushed: dict[str, tuple[bool, int, int]] = {}
        """The rank of each suspect's last entry in the heap."""

    def wait(self, suspect: str, key: str) -> None:
        """Add a score that waits for an input."""
        self.unready.setdefault(suspect, set()).add(key)

    def add(self, suspect: str, key: str) -> None:
        """Add a score that is ready."""
        self.scores.setdefault(suspect, []).append(key)
        self.forget(suspect, key)

    def forget(self, suspect: str, key: str) -> None:
        """Remove a score from those that its suspect waits for: it may have been the last."""
        self.unready.get(suspect, set()).discard(key)
        self._push(suspect)

    def _push(self, suspect: str) -> None:
        """Push a suspect if its rank has changed; entries with an earlier rank are discarded when they come first."""
        if suspect in self.scores and (rank := self._rank(suspect)) != self.pushed.get(suspect):
            self.pushed[suspect] = rank
            heapq.heappush(self.heap, (*rank, suspect))

    def _rank(self, suspect: str) -> tuple[bool, int, int]:
        """Return whether scores of a suspect wait, how many are ready (bits of that if some wait), and their place."""
        keys, waits = self.scores.get(suspect, []), bool(self.unready.get(suspect))
        return waits, -len(keys).bit_length() if waits else -len(keys), self.order[keys[0]] if keys else 0

    def state(self) -> bool | None:
        """Return whether the first suspect has all its scores ready; None if no score is ready."""
        while self.heap and self.heap[0][:3] != self._rank(self.heap[0][3]):
            *rank, suspect = heapq.heappop(self.heap)
            if self.pushed.get(suspect) == tuple(rank):
                del self.pushed[suspect]
        return not self.heap[0][0] if self.heap else None

    def take(self) -> list[str]:
        """Remove the scores of the first suspect, at most SCORES_PER_UNIT, and return them."""
        suspect = heapq.heappop(self.heap)[3]
        self.pushed.pop(suspect, None)
        keys = self.scores.pop(suspect)
        if keys[SCORES_PER_UNIT:]:
            self.scores[suspect] = keys[SCORES_PER_UNIT:]
            self._push(suspect)
        return keys[:SCORES_PER_UNIT]


class Pace:
    """What a task of each kind took, the last ones counting most."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def record(self, kind: str, outcome: Outcome) -> None:
        """Record what a task took."""
        if outcome.seconds and not outcome.stored:
            self.seconds[kind] = 0.8 * self.seconds.get(kind, outcome.seconds) + 0.2 * outcome.seconds

    def expected(self, unit: Sequence[Task]) -> float:
        """Return the seconds that a unit will take; a kind that is not known fills it."""
        return sum(self.seconds.get(task.kind, UNIT_SECONDS) for task in unit)


@dataclass
class _Graph:
    """Tasks, and which of them wait for others."""

    tasks: Mapping[str, Task]
    waiting: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """The unfinished inputs of each task, each once."""
    dependants: dict[str, list[str]] = field(default_factory=dict)
    """The tasks that need each task, in the order of the plan; one that was linked again is there again."""
    settled: dict[str, str] = field(default_factory=dict)
    """The status of each settled task."""
    height: dict[str, int] = field(default_factory=dict)
    """The number of tasks in the longest chain that starts at each task; fingerprints count more."""

    def _link(self, keys: Sequence[str]) -> None:
        """Let tasks, inputs first, wait for their unfinished inputs."""
        tasks, settled, waiting, dependants = self.tasks, self.settled, self.waiting, self.dependants
        for key in keys:
            inputs = dict.fromkeys(tasks[key].inputs.values())
            waiting[key] = tuple([k for k in inputs if k in tasks and k not in settled])  # it takes a third of a set
            for k in waiting[key]:
                dependants.setdefault(k, []).append(key)
        for key in reversed(keys):
            highest = max((self.height[d] for d in self.dependants.get(key, ())), default=0)
            self.height[key] = highest + (FINGERPRINT_HEIGHT if self.tasks[key].kind == TaskKind.FINGERPRINT else 1)

    def _with_needs(self, key: str) -> Task:
        """Return a task; a suspect names those that need it: another run may remove its weights after these."""
        task = self.tasks[key]
        suspect = task.kind == TaskKind.STEAL or task.role == Role.IRRELEVANT
        return replace(task, needed_by=tuple(self._needing(key))) if suspect else task

    def _needing(self, suspect: str) -> Iterator[str]:
        """Yield the tasks that need the weights of a suspect; for a suspect made from it, those that need that one's.

        Those of the latter may be removed, too.
        """
        for key in dict.fromkeys(self.dependants.get(suspect, ())):
            chained = self.tasks[key].kind == TaskKind.STEAL and self.dependants.get(key)
            yield from self._needing(key) if chained else (key,)

    @property
    def unfinished(self) -> int:
        """Return the number of tasks that are not settled."""
        return len(self.tasks) - len(self.settled)


@dataclass
class TaskQueue(_Graph):
    """A queue of tasks; `take` returns the next unit, `settle` records an outcome."""

    ready: list[tuple[int, int, str]] = field(default_factory=list)
    """Heap of the tasks other than scores that can run: by height, then in the order of the plan."""
    delayed: list[tuple[float, str]] = field(default_factory=list)
    """Heap of the requeued tasks: by the time from which they may run."""
    single: list[str] = field(default_factory=list)
    """The requeued tasks that are units of their own."""
    recomputed: Counter[str] = field(default_factory=Counter)
    """How often the inputs of each task were to be recomputed."""
    riding: set[str] = field(default_factory=set)
    """The scores that were taken together with the network that they wait for."""
    pace: Pace = field(default_factory=Pace)

    def __post_init__(self) -> None:
        self.tasks = dict(self.tasks)
        self.order = {key: n for n, key in enumerate(self.tasks)}
        self.scores = ReadyScores(self.order)
        with gc_paused():
            self._add(list(self.tasks))

    def _add(self, keys: Sequence[str]) -> None:
        """Add tasks, inputs first: they wait for their unfinished inputs, or are ready."""
        self._link(keys)
        for key in keys:
            if self.waiting[key] and self.tasks[key].kind == TaskKind.SCORE:
                self.scores.wait(self.tasks[key].inputs["suspect"], key)
        for key in keys:
            if not self.waiting[key]:
                self._make_ready(key)

    def _make_ready(self, key: str) -> None:
        task = self.tasks[key]
        if task.kind == TaskKind.SCORE:
            self.scores.add(task.inputs["suspect"], key)
        else:
            heapq.heappush(self.ready, (-self.height[key], self.order[key], key))

    def take(self) -> list[Task]:
        """Remove the next unit of tasks and return it; empty if nothing is ready.

        First the scores of a suspect if all are ready, so that its weights can be dropped soon; then a fingerprint and
        its inputs; then the task that starts the longest chain; then the scores of a suspect that has only some ready.
        A described network comes with its scores, if these wait for nothing else. If that takes less than
        UNIT_SECONDS, further suspects of the same kind follow.
        """
        now = time.monotonic()
        while self.delayed and self.delayed[0][0] <= now:
            self._make_ready(heapq.heappop(self.delayed)[1])
        if self.single:
            return [self._with_needs(self.single.pop(0))]
        unit = self._take_one()
        while unit and unit[-1].kind == TaskKind.SCORE and self.pace.expected(unit) < UNIT_SECONDS:
            if self._next_kind() != unit[0].kind:
                break
            unit += self._take_one()
        return unit

    def _next_kind(self) -> str:
        """Return the kind of the task that comes next; empty if nothing is ready."""
        complete = self.scores.state()
        if complete is not None and (complete or not self.ready):
            return TaskKind.SCORE
        return self.tasks[self.ready[0][2]].kind if self.ready else ""

    def _take_one(self) -> list[Task]:
        """Remove the scores of a suspect, or a task and the scores that ride with it."""
        kind = self._next_kind()
        if not kind:
            return []
        if kind == TaskKind.SCORE:
            return [self.tasks[k] for k in self.scores.take()]
        key = heapq.heappop(self.ready)[2]
        needing = dict.fromkeys(self.dependants.get(key, ()) if kind == TaskKind.MODEL else ())
        riding = [k for k in needing if self._waits_only_for(key, k)][:SCORES_PER_UNIT]
        for k in riding:
            self.scores.forget(key, k)
        self.riding.update(riding)
        return [self._with_needs(key), *(self.tasks[k] for k in riding)]

    def _waits_only_for(self, suspect: str, key: str) -> bool:
        """Return True for a score of a suspect that nothing else delays."""
        task = self.tasks[key]
        scores = task.kind == TaskKind.SCORE and task.inputs["suspect"] == suspect
        return scores and self.waiting[key] == (suspect,) and key not in self.settled and key not in self.riding

    def requeue(self, key: str, delay: float = 0.0, single: bool = False) -> None:
        """Return a task to the queue: after `delay` seconds or once its inputs are there, or at once and `single`."""
        if not self.waits(key):
            if single:
                self.single.append(key)
            else:
                heapq.heappush(self.delayed, (time.monotonic() + delay, key))

    def waits(self, key: str) -> bool:
        """Return True for a task that came back from a unit, and is settled or waits for an input again."""
        if key not in self.settled and key in self.riding and self.waiting[key]:
            self.scores.wait(self.tasks[key].inputs["suspect"], key)
        self.riding.discard(key)
        return key in self.settled or bool(self.waiting[key])

    def recompute_inputs(self, key: str, missing: Mapping[str, Task]) -> bool:
        """Return a task to the queue, behind the tasks that recompute its damaged or missing inputs (inputs first).

        Return False if one of these has failed, or after one attempt more than it has inputs: then
        the caller settles its failure.
        """
        self.recomputed[key] += 1
        self.riding.discard(key)
        failed = any(self.settled.get(k, Status.DONE) != Status.DONE for k in missing)
        if failed or self.recomputed[key] > len(self.tasks[key].inputs) + 1:
            return False
        unsettled = [k for k in missing if k not in self.tasks or k in self.settled]
        self.tasks = {**self.tasks, **missing}
        for k in unsettled:
            self.settled.pop(k, None)
            self.order.setdefault(k, len(self.order))
            for dependant in self.dependants.get(k, ()):
                waits = self.waiting[dependant]
                if waits and k not in waits:  # it would find the same input missing
                    self.waiting[dependant] = (*waits, k)
        self._add([*unsettled, key])
        return True

    def settle(self, outcome: Outcome) -> list[Outcome]:
        """Record an outcome; return it, and those of all dependants that it blocks."""
        result = [outcome]
        self.riding.discard(outcome.key)
        self.pace.record(self.tasks[outcome.key].kind, outcome)
        self.settled[outcome.key] = outcome.status
        if outcome.status == Status.DONE:
            for key in self.dependants.get(outcome.key, ()):
                waits = self.waiting[key]
                if outcome.key in waits:
                    self.waiting[key] = left = tuple([k for k in waits if k != outcome.key])
                    if not left and key not in self.settled and key not in self.riding:
                        self._make_ready(key)
            return result
        stack = list(self.dependants.get(outcome.key, ()))
        while stack:
            key = stack.pop()
            if key not in self.settled:
                self.riding.discard(key)
                self.settled[key] = Status.BLOCKED
                result.append(replace(outcome, key=key, status=Status.BLOCKED, seconds=0.0))
                if self.tasks[key].kind == TaskKind.SCORE:  # it may have been the last for which its suspect waits
                    self.scores.forget(self.tasks[key].inputs["suspect"], key)
                stack += self.dependants.get(key, ())
        return result
