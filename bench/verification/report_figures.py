"""The figures of a report: the limit of each method, what would have been found of known copies, and the histogram."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from bench.reporting.html.svg import Chart
from bench.stats.intervals import LEVEL
from bench.verification.p_values import at_least
from bench.verification.schema import CopyScore

WIDTH, LEFT, RIGHT = 460, 10, 450
"""Pixels of the histogram, and the ends of its axis."""
TOP, BASE, STRIP = 52, 170, 184
"""Heights: where bars may begin, the axis of the bars, the marks of the copies below it."""
BINS = 44
MOST_CIRCLES = 300
"""Known copies that are drawn; the words below a drawing count all."""
LARGEST = 1e300
"""Scores beyond it are drawn there: the width of the axis must be a number."""


class Power(NamedTuple):
    """Of the `of` known copies of one kind, `found` would have been accused; with the exact 95 % interval of the share.

    `scores` has the lowest, the median and the highest score of each method.
    """

    attack: str
    found: int
    of: int
    low: float
    high: float
    scores: dict[str, tuple[float, float, float]]


def limit(innocents: Sequence[float], alpha: float, methods: int) -> float:
    """Return the score above which one of `methods` methods is evidence at `alpha`; infinite if no score is.

    (1 + #{s >= score}) / (n + 1) <= alpha / methods, solved for the score: the factor of Holm's first step.
    """
    rank = math.floor(alpha / methods * (len(innocents) + 1) * (1 + 1e-12))
    if rank < 1:
        return math.inf
    return sorted(innocents, reverse=True)[rank - 1] if rank <= len(innocents) else -math.inf


def power(copies: Sequence[CopyScore], limits: dict[str, float]) -> list[Power]:
    """Return what a test by the methods of `limits` would have found of the known copies, by kind in their order."""
    kinds: dict[str, dict[str, dict[str, float]]] = {}
    for row in copies:
        if row.method in limits and math.isfinite(row.score):
            kinds.setdefault(row.attack, {}).setdefault(row.model, {})[row.method] = row.score
    found = []
    for attack, models in kinds.items():
        hits = sum(any(score > limits[name] for name, score in scores.items()) for scores in models.values())
        by_method = {n: _summary(s[n] for s in models.values() if n in s) for n in limits}
        found.append(
            Power(attack, hits, len(models), *interval(hits, len(models)), {k: v for k, v in by_method.items() if v})
        )
    return found


def interval(hits: int, of: int) -> tuple[float, float]:
    """Return the exact interval of a share (Clopper, Pearson, Biometrika 26, 1934) by bisection: (low, high).

    It is `bench.stats.rates.binomial_bound` without scipy, whose import takes longer than the whole report.
    """
    tail = (1 - LEVEL) / 2
    low = _solve(lambda p: at_least(hits, of, p), tail) if hits else 0.0
    return low, _solve(lambda p: at_least(hits + 1, of, p), 1 - tail) if hits < of else 1.0


def _solve(rising: Callable[[float], float], value: float) -> float:
    """Return where a rising function of [0, 1] reaches a value."""
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if rising(middle) > value else (middle, high)
    return (low + high) / 2


def _summary(scores: Iterable[float]) -> tuple[float, float, float] | tuple[()]:
    values = sorted(scores)
    return (values[0], float(np.median(values)), values[-1]) if values else ()


class Marks(NamedTuple):
    """The scores of one method: of the innocents and the copies, of suspect and source (None: unknown), the limit."""

    innocents: Sequence[float]
    copies: Sequence[float]
    suspect: float | None
    source: float | None
    limit: float


def histogram(method: str, marks: Marks) -> Chart | None:
    """Draw the scores of one method, with the same content in words; None without the score of any network."""
    innocents, copies = _finite(marks.innocents), _finite(marks.copies)
    suspect, source, edge = (_known(v) for v in (marks.suspect, marks.source, marks.limit))
    values = [*innocents, *copies, *(v for v in (suspect, source, edge) if v is not None)]
    if not values:
        return None
    low, high = min(values), max(values)
    margin = max(0.03 * (high - low), 1e-9 * max(abs(low), abs(high)), 1e-12)
    low, high = low - margin, high + margin

    def across(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (RIGHT - LEFT)

    parts = [*_bars(innocents, low, high), f'<path class="axis" d="M{LEFT} {BASE}H{RIGHT}"/>']
    parts += [f'<circle class="copy" cx="{across(v):.1f}" cy="{STRIP}" r="3.5"/>' for v in _some(copies)]
    lines = (
        ("limit", edge, "evidence begins", 46),
        ("source", source, "the source", 30),
        ("suspect", suspect, "THE SUSPECT", 14),
    )
    for name, value, label, height in lines:
        if value is not None:
            parts.append(_line(name, across(value), label, height))
    parts += [f'<text x="{across(v):.1f}" y="206" text-anchor="middle">{v:.6g}</text>' for v in _ticks(low, high)]
    drawing = "".join(parts)
    svg = f'<svg class="scores" viewBox="0 0 {WIDTH} 212" aria-hidden="true">{drawing}</svg>'
    return Chart(method, _words(innocents, copies, suspect, source, edge), svg)


def _some(values: Sequence[float]) -> list[float]:
    """Return at most MOST_CIRCLES of some values, the lowest and the highest among them."""
    ordered = sorted(values)
    if len(ordered) <= MOST_CIRCLES:
        return ordered
    return [ordered[round(n * (len(ordered) - 1) / (MOST_CIRCLES - 1))] for n in range(MOST_CIRCLES)]


def _finite(values: Sequence[float]) -> list[float]:
    return [v for v in map(_known, values) if v is not None]


def _known(value: float | None) -> float | None:
    return min(max(value, -LARGEST), LARGEST) if value is not None and math.isfinite(value) else None


def _ticks(low: float, high: float) -> list[float]:
    """Return some round numbers, far enough from the ends that their text is within the drawing."""
    raw = (high - low) / 6
    size = 10.0 ** math.floor(math.log10(raw))
    step = size * next(f for f in (1, 2, 5, 10) if f * size >= raw)
    edge = 0.05 * (high - low)
    steps = range(math.ceil((low + edge) / step), math.floor((high - edge) / step) + 1)
    return [n * step for n in steps]


def _bars(innocents: Sequence[float], low: float, high: float) -> list[str]:
    counts, _ = np.histogram(innocents, bins=BINS, range=(low, high))
    wide, tall = (RIGHT - LEFT) / BINS, (BASE - TOP) / max(1, counts.max())
    return [
        f'<rect class="innocent" x="{LEFT + n * wide:.1f}" y="{BASE - count * tall:.1f}" width="{wide - 1:.1f}" '
        f'height="{count * tall:.1f}"/>'
        for n, count in enumerate(counts)
        if count
    ]


def _line(name: str, x: float, label: str, height: float) -> str:
    """Draw an upright line with its label beside its upper end, on the side that has more space."""
    side, shift = ("start", 5) if x < (LEFT + RIGHT) / 2 else ("end", -5)
    return (
        f'<path class="{name}" d="M{x:.1f} {height - 9}V{BASE}"/>'
        f'<text class="{name}" x="{x + shift:.1f}" y="{height}" text-anchor="{side}">{label}</text>'
    )


def _words(
    innocents: Sequence[float],
    copies: Sequence[float],
    suspect: float | None,
    source: float | None,
    edge: float | None,
) -> str:
    said = [f"the suspect scores {suspect:.3g}"] if suspect is not None else ["the suspect has no score"]
    for name, values in (("innocents", innocents), ("known copies", copies)):
        if values:
            said.append(
                f"{len(values)} {name} score from {min(values):.3g} to {max(values):.3g}, half of them below "
                f"{float(np.median(values)):.3g}"
            )
    if edge is not None:
        said.append(f"evidence begins above {edge:.3g}")
    if source is not None:
        said.append(f"the source itself scores {source:.3g}")
    return "; ".join(said)
