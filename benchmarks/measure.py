"""Compare two ways of doing one thing: interleaved, several rounds, the median of the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One line of the table: seconds of both sides over the rounds, and what was hoped for.

    `plain` is empty where a target is in seconds; then the ratio is left out and `target` bounds the seconds.
    """

    what: str
    ours: Sequence[float]
    plain: Sequence[float] = ()
    target: float | None = None
    note: str = ""

    @property
    def ratios(self) -> list[float]:
        """Give plain over ours, round by round."""
        return [p / o for o, p in zip(self.ours, self.plain, strict=True)] if self.plain else []

    @property
    def met(self) -> str:
        """Say whether the median is as good as the target: `yes`, `no`, or nothing where there is none."""
        if self.target is None:
            return ""
        good = statistics.median(self.ratios) >= self.target if self.plain else self.middle(self.ours) <= self.target
        return "yes" if good else "no"

    @staticmethod
    def middle(seconds: Sequence[float]) -> float:
        """Give the median."""
        return statistics.median(seconds)

    def cells(self) -> list[str]:
        """Give the row as text: what, ours, plain, ratio, target, met, rounds, note."""
        goal = "" if self.target is None else f"≥ {self.target:g}×" if self.plain else f"≤ {self.target:g} s"
        return [self.what, _span(self.ours, " s"), _span(self.plain, " s"), _span(self.ratios, "×"), goal, self.met,
                str(len(self.ours)), self.note]  # fmt: skip


HEADERS = ("what", "ours", "plain", "plain / ours", "target", "met", "rounds", "note")


def _span(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:.3g}{unit} [{low:.3g}, {high:.3g}]" if len(values) > 1 else f"{middle:.3g}{unit}"


def seconds(what: Callable[[], object]) -> float:
    """Time one call."""
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def interleaved(
    ours: Callable[[], object], plain: Callable[[], object], rounds: int
) -> tuple[list[float], list[float]]:
    """Time both sides in turn, after one round that does not count; who goes first changes from round to round."""
    ours(), plain()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        sides = [(times[0], ours), (times[1], plain)]
        for kept, side in sides[:: 1 if number % 2 else -1]:
            kept.append(seconds(side))
    return times
