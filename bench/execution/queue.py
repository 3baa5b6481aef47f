"""Keep the books of a run: which tasks wait for inputs, which are ready, which are settled."""

from __future__ import annotations

import heapq
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.core.kinds import Status, TaskKind
from bench.core.tasks import Outcome, Task

HANDFUL = 32
"""Score tasks of one suspect that are handed out at once: each takes a few milliseconds."""

FIRST = 1000
"""Steps that count for a fingerprint: it and what it needs go before suspects, none of which could be judged yet."""


@dataclass
class TaskQueue:
    """Which tasks wait, are ready, or are settled."""

    tasks: Mapping[str, Task]
    waiting: dict[str, set[str]] = field(default_factory=dict)
    """Of each task: the inputs that are not there yet."""
    dependants: dict[str, dict[str, None]] = field(default_factory=dict)
    ready: list[tuple[int, int, str]] = field(default_factory=list)
    scores: dict[str, list[str]] = field(default_factory=dict)
    """Of each suspect: the scores that are ready."""
    unready: dict[str, set[str]] = field(default_factory=dict)
    """Of each suspect: the scores that wait for something."""
    suspects: list[tuple[bool, int, int, str]] = field(default_factory=list)
    """Suspects with scores that are ready: those whose scores all are, then those with most."""
    later: list[tuple[float, str]] = field(default_factory=list)
    settled: dict[str, str] = field(default_factory=dict)
    """The status of each task that is settled."""
    mended: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.tasks = dict(self.tasks)
        self.order = {key: n for n, key in enumerate(self.tasks)}
        self.height: dict[str, int] = {}
        self._enter(list(self.tasks))

    def _enter(self, keys: Sequence[str]) -> None:
        """Let tasks wait for their inputs; those that need none are ready. Inputs stand before what needs them."""
        for key in keys:
            inputs = {k for k in self.tasks[key].inputs.values() if k in self.tasks and k not in self.settled}
            self.waiting[key] = inputs
            for before in inputs:
                self.dependants.setdefault(before, {})[key] = None
        for key in reversed(keys):
            above = max((self.height[d] for d in self.dependants.get(key, ())), default=0)
            self.height[key] = above + (FIRST if self.tasks[key].kind == TaskKind.FINGERPRINT else 1)
        for key in keys:
            if self.waiting[key] and self.tasks[key].kind == TaskKind.SCORE:
                self.unready.setdefault(self.tasks[key].inputs["suspect"], set()).add(key)
        for key in keys:
            if not self.waiting[key]:
                self._offer(key)

    def _offer(self, key: str) -> None:
        task = self.tasks[key]
        if task.kind == TaskKind.SCORE:
            suspect = task.inputs["suspect"]
            self.scores.setdefault(suspect, []).append(key)
            self.unready.get(suspect, set()).discard(key)
            self._line_up(suspect)
        else:
            heapq.heappush(self.ready, (-self.height[key], self.order[key], key))

    def _line_up(self, suspect: str) -> None:
        """Put a suspect where it belongs now; its earlier places hold no more."""
        if suspect in self.scores:
            heapq.heappush(self.suspects, (*self._rank(suspect), suspect))

    def _rank(self, suspect: str) -> tuple[bool, int, int]:
        keys = self.scores.get(suspect, [])
        return bool(self.unready.get(suspect)), -len(keys), self.order[keys[0]] if keys else 0

    def take(self) -> list[Task]:
        """Hand out what comes next.

        Scores of a suspect that are all ready, a handful at once, so that its weights need not be kept; else a
        fingerprint and what it needs; else the task with the longest chain behind it; else whatever scores there are.
        """
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            self._offer(heapq.heappop(self.later)[1])
        while self.suspects and self.suspects[0][:3] != self._rank(self.suspects[0][3]):
            heapq.heappop(self.suspects)
        if self.ready and (not self.suspects or self.suspects[0][0]):
            return [self.tasks[heapq.heappop(self.ready)[2]]]
        if not self.suspects:
            return []
        suspect = heapq.heappop(self.suspects)[3]
        keys = self.scores.pop(suspect)
        if keys[HANDFUL:]:
            self.scores[suspect] = keys[HANDFUL:]
            self._line_up(suspect)
        return [self.tasks[k] for k in keys[:HANDFUL]]

    def again(self, key: str, after: float = 0.0) -> None:
        """Put a task back that was handed out."""
        heapq.heappush(self.later, (time.monotonic() + after, key))

    def mend(self, key: str, lost: Mapping[str, Task]) -> bool:
        """Put a task back whose inputs were damaged or gone, behind the tasks that make them anew.

        Inputs stand before what needs them. False where one of these has failed, or where it was mended before as
        often as it has inputs: then its own failure stands.
        """
        self.mended[key] += 1
        failed = any(self.settled.get(k, Status.DONE) != Status.DONE for k in lost)
        if failed or self.mended[key] > len(self.tasks[key].inputs) + 1:
            return False
        anew = [k for k in lost if k not in self.tasks or k in self.settled]
        self.tasks = {**self.tasks, **lost}
        for k in anew:
            self.settled.pop(k, None)
            self.order.setdefault(k, len(self.order))
            for dependant in self.dependants.get(k, ()):
                if self.waiting[dependant]:  # what waits for something else would come upon the same
                    self.waiting[dependant].add(k)
        self._enter([*anew, key])
        return True

    def settle(self, outcome: Outcome) -> list[Outcome]:
        """Take note of an outcome; give it and those of all dependants that it blocks."""
        result = [outcome]
        self.settled[outcome.key] = outcome.status
        if outcome.status == Status.DONE:
            for key in self.dependants.get(outcome.key, ()):
                if outcome.key in self.waiting[key]:
                    self.waiting[key].discard(outcome.key)
                    if not self.waiting[key] and key not in self.settled:
                        self._offer(key)
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
        """Wait no more for a score that is blocked: it may have been the last one that its suspect waited for."""
        if self.tasks[key].kind == TaskKind.SCORE:
            suspect = self.tasks[key].inputs["suspect"]
            self.unready.get(suspect, set()).discard(key)
            self._line_up(suspect)

    @property
    def left(self) -> int:
        """Count the tasks that are not settled."""
        return len(self.tasks) - len(self.settled)
