"""Compare two ways of doing one thing: interleaved, several rounds, the median of the ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """How a row is read: its unit, whether its ratio is ours over the other's, whether the target is an upper bound.

    `sign` follows ratios and their targets.
    """

    unit: str = " s"
    upside_down: bool = False
    most: bool = False
    sign: str = "×"


FASTER = Aim()
"""Seconds, and how many times as long the other side took; at least the target."""
LIMIT = Aim(most=True, sign=" s")
"""Seconds, at most the target; there is no other side."""
GROWTH = Aim(upside_down=True, most=True)
"""Seconds for the larger problem over seconds for the smaller one, at most the target."""
MEMORY = Aim(" MiB", upside_down=True, most=True)
"""Memory of ours over that of the other, at most the target."""
SHARE = Aim(" TFLOP/s", upside_down=True, sign="")
"""A rate of arithmetic, as a share of another one; at least the target."""


@dataclass(frozen=True)
class Row:
    """One line of the table: what was measured on both sides over the rounds, and what was hoped for.

    `goal` and `reached` are a target that is no figure of the row, such as a count. Where there is a `target` too, both
    must be met.
    """

    what: str
    ours: Sequence[float] = ()
    plain: Sequence[float] = ()
    target: float | None = None
    note: str = ""
    aim: Aim = FASTER
    goal: str = ""
    reached: bool | None = None

    @property
    def ratios(self) -> list[float]:
        """Return plain over ours, or ours over plain, round by round; empty where there is one side only."""
        pairs = zip(self.ours, self.plain, strict=True) if self.plain else ()
        return [o / p if self.aim.upside_down else p / o for o, p in pairs]

    @property
    def met(self) -> str:
        """Return `yes` if the median meets the target, `no` if it does not, empty where there is no target."""
        verdicts = [] if self.reached is None else [self.reached]
        if self.target is not None:
            middle = statistics.median(self.ratios or self.ours)
            verdicts.append(middle <= self.target if self.aim.most else middle >= self.target)
        return ("yes" if all(verdicts) else "no") if verdicts else ""

    def cells(self) -> list[str]:
        """Return the row as text, in the order of HEADERS."""
        sign, unit = "≤" if self.aim.most else "≥", self.aim.unit
        target = "" if self.target is None else f"{sign} {self.target:g}{self.aim.sign}"
        goal = "; ".join(filter(None, (target, self.goal)))
        return [
            self.what,
            _span(self.ours, unit),
            _span(self.plain, unit),
            _span(self.ratios, self.aim.sign),
            goal,
            self.met,
            str(len(self.ours) or ""),
            self.note,
        ]


HEADERS = ("what", "ours", "other", "ratio", "target", "met", "rounds", "note")


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
