"""The queue of a run: which tasks wait for inputs, which are ready, which are settled."""

import heapq
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.core.kinds import Status, TaskKind
from bench.core.tasks import Outcome, Task

SCORES_PER_UNIT = 32
"""Score tasks of one suspect in a unit: each takes a few milliseconds."""

FINGERPRINT_HEIGHT = 1000
"""Height of a fingerprint: it and its inputs precede suspects, since no suspect can be judged without one."""


@dataclass
class TaskQueue:
    """A queue of tasks; `take` returns the next unit, `settle` records an outcome."""

    tasks: Mapping[str, Task]
    waiting: dict[str, set[str]] = field(default_factory=dict)
    """The unfinished inputs of each task."""
    dependants: dict[str, dict[str, None]] = field(default_factory=dict)
    """The tasks that need each task, in the order of the plan."""
    ready: list[tuple[int, int, str]] = field(default_factory=list)
    """Heap of the tasks other than scores that can run: by height, then in the order of the plan."""
    scores: dict[str, list[str]] = field(default_factory=dict)
    """The scores of each suspect that are ready."""
    unready: dict[str, set[str]] = field(default_factory=dict)
    """The scores of each suspect that wait for an input."""
    suspects: list[tuple[bool, int, int, str]] = field(default_factory=list)
    """Heap of the suspects with ready scores: those with all of them ready first, then by their number."""
    delayed: list[tuple[float, str]] = field(default_factory=list)
    """Heap of the requeued tasks: by the time from which they may run."""
    settled: dict[str, str] = field(default_factory=dict)
    """The status of each settled task."""
    recomputed: Counter[str] = field(default_factory=Counter)
    """How often the inputs of each task were to be recomputed."""

    def __post_init__(self) -> None:
        self.tasks = dict(self.tasks)
        self.order = {key: n for n, key in enumerate(self.tasks)}
        self.height: dict[str, int] = {}
        """The number of tasks in the longest chain that starts at each task; fingerprints count more."""
        self._add(list(self.tasks))

    def _add(self, keys: Sequence[str]) -> None:
        """Add tasks, inputs first: they wait for their unfinished inputs, or are ready."""
        for key in keys:
            inputs = {k for k in self.tasks[key].inputs.values() if k in self.tasks and k not in self.settled}
            self.waiting[key] = inputs
            for k in inputs:
                self.dependants.setdefault(k, {})[key] = None
        for key in reversed(keys):
            highest = max((self.height[d] for d in self.dependants.get(key, ())), default=0)
            self.height[key] = highest + (FINGERPRINT_HEIGHT if self.tasks[key].kind == TaskKind.FINGERPRINT else 1)
        for key in keys:
            if self.waiting[key] and self.tasks[key].kind == TaskKind.SCORE:
                self.unready.setdefault(self.tasks[key].inputs["suspect"], set()).add(key)
        for key in keys:
            if not self.waiting[key]:
                self._make_ready(key)

    def _make_ready(self, key: str) -> None:
        task = self.tasks[key]
        if task.kind == TaskKind.SCORE:
            suspect = task.inputs["suspect"]
            self.scores.setdefault(suspect, []).append(key)
            self.unready.get(suspect, set()).discard(key)
            self._push_suspect(suspect)
        else:
            heapq.heappush(self.ready, (-self.height[key], self.order[key], key))

    def _push_suspect(self, suspect: str) -> None:
        """Push a suspect with its current rank; `take` discards entries with an earlier rank."""
        if suspect in self.scores:
            heapq.heappush(self.suspects, (*self._rank(suspect), suspect))

    def _rank(self, suspect: str) -> tuple[bool, int, int]:
        keys = self.scores.get(suspect, [])
        return bool(self.unready.get(suspect)), -len(keys), self.order[keys[0]] if keys else 0

    def take(self) -> list[Task]:
        """Remove the next unit of tasks and return it; empty if nothing is ready.

        First the scores of a suspect if all are ready, so that its weights can be dropped soon; then a fingerprint and
        its inputs; then the task that starts the longest chain; then the scores of a suspect that has only some ready.
        """
        now = time.monotonic()
        while self.delayed and self.delayed[0][0] <= now:
            self._make_ready(heapq.heappop(self.delayed)[1])
        while self.suspects and self.suspects[0][:3] != self._rank(self.suspects[0][3]):
            heapq.heappop(self.suspects)
        if self.ready and (not self.suspects or self.suspects[0][0]):
            return [self.tasks[heapq.heappop(self.ready)[2]]]
        if not self.suspects:
            return []
        suspect = heapq.heappop(self.suspects)[3]
        keys = self.scores.pop(suspect)
        if keys[SCORES_PER_UNIT:]:
            self.scores[suspect] = keys[SCORES_PER_UNIT:]
            self._push_suspect(suspect)
        return [self.tasks[k] for k in keys[:SCORES_PER_UNIT]]

    def requeue(self, key: str, delay: float = 0.0) -> None:
        """Return a task to the queue: it may run again after `delay` seconds."""
        heapq.heappush(self.delayed, (time.monotonic() + delay, key))

    def recompute_inputs(self, key: str, missing: Mapping[str, Task]) -> bool:
        """Return a task to the queue, behind the tasks that recompute its damaged or missing inputs (inputs first).

        Return False if one of these has failed, or after one attempt more than it has inputs: then
        the caller settles its failure.
        """
        self.recomputed[key] += 1
        failed = any(self.settled.get(k, Status.DONE) != Status.DONE for k in missing)
        if failed or self.recomputed[key] > len(self.tasks[key].inputs) + 1:
            return False
        unsettled = [k for k in missing if k not in self.tasks or k in self.settled]
        self.tasks = {**self.tasks, **missing}
        for k in unsettled:
            self.settled.pop(k, None)
            self.order.setdefault(k, len(self.order))
            for dependant in self.dependants.get(k, ()):
                if self.waiting[dependant]:  # it would find the same input missing
                    self.waiting[dependant].add(k)
        self._add([*unsettled, key])
        return True

    def settle(self, outcome: Outcome) -> list[Outcome]:
        """Record an outcome; return it, and those of all dependants that it blocks."""
        result = [outcome]
        self.settled[outcome.key] = outcome.status
        if outcome.status == Status.DONE:
            for key in self.dependants.get(outcome.key, ()):
                if outcome.key in self.waiting[key]:
                    self.waiting[key].discard(outcome.key)
                    if not self.waiting[key] and key not in self.settled:
                        self._make_ready(key)
            return result
        stack = list(self.dependants.get(outcome.key, ()))
        while stack:
            key = stack.pop()
            if key not in self.settled:
                self.settled[key] = Status.BLOCKED
                result.append(replace(outcome, key=key, status=Status.BLOCKED, seconds=0.0))
                self._forget(key)
                stack += self.dependants.get(key, ())
        return result

    def _forget(self, key: str) -> None:
        """Remove a blocked score from those that its suspect waits for: it may have been the last."""
        if self.tasks[key].kind == TaskKind.SCORE:
            suspect = self.tasks[key].inputs["suspect"]
            self.unready.get(suspect, set()).discard(key)
            self._push_suspect(suspect)

    @property
    def unfinished(self) -> int:
        """Return the number of tasks that are not settled."""
        return len(self.tasks) - len(self.settled)
