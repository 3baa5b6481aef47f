"""Keep the books of a run: which tasks wait for inputs, which are ready, which are settled."""

from __future__ import annotations

import heapq
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from bench.types import Outcome, Task

HANDFUL = 32
"""Score tasks of one suspect that are handed out at once: each takes a few milliseconds."""


@dataclass
class Ledger:
    """Which tasks wait, are ready, or are settled."""

    tasks: Mapping[str, Task]
    waiting: dict[str, int] = field(default_factory=dict)
    dependants: dict[str, list[str]] = field(default_factory=dict)
    ready: list[tuple[int, int, str]] = field(default_factory=list)
    scores: dict[str, list[str]] = field(default_factory=dict)
    later: list[tuple[float, str]] = field(default_factory=list)
    settled: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.order = {key: n for n, key in enumerate(self.tasks)}
        for key, task in self.tasks.items():
            inputs = {k for k in task.inputs.values() if k in self.tasks}
            self.waiting[key] = len(inputs)
            for before in inputs:
                self.dependants.setdefault(before, []).append(key)
        self.height: dict[str, int] = {}
        for key in reversed(list(self.tasks)):  # inputs stand before what needs them
            self.height[key] = 1 + max((self.height[d] for d in self.dependants.get(key, ())), default=0)
        for key, count in self.waiting.items():
            if not count:
                self._offer(key)

    def _offer(self, key: str) -> None:
        task = self.tasks[key]
        if task.kind == "score":
            self.scores.setdefault(task.inputs["suspect"], []).append(key)
        else:
            heapq.heappush(self.ready, (-self.height[key], self.order[key], key))

    def take(self) -> list[Task]:
        """Hand out what comes next: the task with the longest chain behind it, else a handful of scores."""
        now = time.monotonic()
        while self.later and self.later[0][0] <= now:
            self._offer(heapq.heappop(self.later)[1])
        if self.ready:
            return [self.tasks[heapq.heappop(self.ready)[2]]]
        if not self.scores:
            return []
        suspect = max(self.scores, key=lambda s: len(self.scores[s]))
        keys = self.scores.pop(suspect)
        if keys[HANDFUL:]:
            self.scores[suspect] = keys[HANDFUL:]
        return [self.tasks[k] for k in keys[:HANDFUL]]

    def again(self, key: str, after: float = 0.0) -> None:
        """Put a task back that was handed out."""
        heapq.heappush(self.later, (time.monotonic() + after, key))

    def settle(self, outcome: Outcome) -> list[Outcome]:
        """Take note of an outcome; give it and those of all dependants that it blocks."""
        result = [outcome]
        self.settled.add(outcome.key)
        if outcome.status == "done":
            for key in self.dependants.get(outcome.key, ()):
                self.waiting[key] -= 1
                if not self.waiting[key] and key not in self.settled:
                    self._offer(key)
            return result
        stack = list(self.dependants.get(outcome.key, ()))
        while stack:
            key = stack.pop()
            if key not in self.settled:
                self.settled.add(key)
                result.append(replace(outcome, key=key, status="blocked", seconds=0.0))
                stack += self.dependants.get(key, ())
        return result

    @property
    def left(self) -> int:
        """Count the tasks that are not settled."""
        return len(self.tasks) - len(self.settled)
