"""Differences of AUCs over sources: of two methods, of two runs, and from a paper's figure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.auc import SLACK, Floats
from bench.stats.intervals import (
    LEVEL,
    AucEstimate,
    newcombe_variance,
    normal_quantile,
    student_quantile,
)

TESTED_FROM = 5
"""Sources from which on signs are flipped: with four, no p-value is below 0.05."""
EXACT = 13
"""Sources up to which all choices of signs are counted; with more, FLIPS of them, always the same."""
FLIPS = 10_000
AT_ONCE = 1000
"""Choices of signs; with all of them, a table of 3,000 rows would take a gigabyte."""


@dataclass(frozen=True)
class SourceDifference:
    """The mean AUC of A minus that of B, over sources, with its interval and the p-values of a test.

    `greater` is the p-value of "A is better", `two_sided` of "A and B differ": None with fewer than five sources.
    `smallest`: the least `greater` that these sources allow, for `holm`; 1 where all their differences are 0.
    """

    difference: float
    low: float
    high: float
    two_sided: float | None
    greater: float | None
    smallest: float


def difference_over_sources(a: Sequence[float], b: Sequence[float], level: float = LEVEL) -> SourceDifference:
    """Compare two methods by their AUCs at the same sources, in the same order.

    The interval is Student's for the mean of the differences; [-1, 1] from one source. The test flips their signs: were
    the methods alike, each source could as well have favoured the other (Fisher, The Design of Experiments, 1935, §21;
    all 2^S choices of signs, from 14 sources on a fixed sample of them). ValueError for unequal numbers.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError(f"AUCs of {len(a)} and of {len(b)} sources: they are compared by source")
    differences = np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64)
    sources, mean = len(differences), float(differences.mean())
    half = 2.0
    if sources > 1:
        half = student_quantile(sources, level) * float(differences.std(ddof=1)) / math.sqrt(sources)
    smallest = 0.5 ** int((np.abs(differences) > SLACK).sum())
    two_sided = greater = None
    if sources >= TESTED_FROM:
        sums = _signs(sources) @ differences
        greater = float((sums >= sums[0] - SLACK).mean())
        two_sided = float((np.abs(sums) >= abs(sums[0]) - SLACK).mean())
        smallest = min(smallest, greater)
    return SourceDifference(mean, max(-1.0, mean - half), min(1.0, mean + half), two_sided, greater, smallest)


@lru_cache(maxsize=8)
def _signs(sources: int) -> Floats:
    """Return choices of signs, first the one at hand: [choices, sources] of 1 and -1."""
    if sources > EXACT:
        flipped = np.random.default_rng(sources).integers(0, 2, (FLIPS, sources))
        flipped[0] = 0
    else:
        flipped = np.arange(2**sources)[:, None] >> np.arange(sources) & 1
    return np.asarray(1 - 2 * flipped, dtype=np.float64)


def better_jointly(differences: ArrayLike) -> Floats:
    """Return p-values of "A is better" that hold for all cells of one table at once: [cells], in (0, 1].

    differences: [cells, sources], the AUC of A minus that of B at each source, NaN where a cell lacks the source. The
    signs of a source are flipped in all cells together, which keeps the dependence of cells that share networks: Holm
    takes them as if they were apart and marks too little. Each cell's sum, over the root of its sum of squares, is
    compared with the largest of all cells that are not more significant: Westfall, Young, Resampling-Based Multiple
    Testing, 1993, step-down maxT (algorithm 4.1). A cell whose differences are all 0 gets 1 and costs the others
    nothing. Below five sources no p-value is under 0.05. Where A must beat several B, each of them has a row; the
    largest of their p-values is that of "better than all".
    """
    found = np.nan_to_num(np.asarray(differences, dtype=np.float64))
    if found.ndim != 2:
        raise ValueError(f"differences are a matrix of cells and sources, got shape {found.shape}")
    size = np.sqrt((found**2).sum(axis=1))
    scaled = np.divide(found, size[:, None], out=np.zeros_like(found), where=size[:, None] > SLACK)
    order = np.argsort(scaled.sum(axis=1), kind="stable")
    scaled, signs = scaled[order], _signs(found.shape[1])
    least, reached = scaled.sum(axis=1) - SLACK, np.zeros(len(found))
    for some in np.array_split(signs, range(AT_ONCE, len(signs), AT_ONCE)):
        reached += (np.maximum.accumulate(some @ scaled.T, axis=1) >= least).sum(axis=0)
    adjusted = np.ones(len(found))
    adjusted[order[::-1]] = np.maximum.accumulate(reached[::-1] / len(signs))
    adjusted[size <= SLACK] = 1.0
    return adjusted


@dataclass(frozen=True)
class RunDifference:
    """The mean AUC of one set of sources minus that of another, with its interval and two-sided p-value.

    `p` is None, and the interval holds for these sources alone, where one of the sets has a single source.
    """

    difference: float
    low: float
    high: float
    p: float | None


def difference_of_two_runs(a: AucEstimate, b: AucEstimate, level: float = LEVEL) -> RunDifference:
    """Compare two independent sets of sources: another seed, machine or commit.

    Welch's t over the per-source AUCs (Biometrika 34, 1947), and a normal test with Newcombe's variances from the
    numbers of models, which are not 0 where all AUCs are 1.00; the interval is the wider one, the p-value the larger.
    What sharing irrelevant models adds, and the spread of sources does not show, is added to Welch's variance.
    A set of one source has no variance between sources: then the interval is that of `difference_interval`.
    """
    from scipy.special import stdtr, stdtrit

    difference = a.auc - b.auc
    if a.conditional or b.conditional:
        return RunDifference(difference, *difference_interval(a, b), None)
    runs = a, b
    models = math.sqrt(sum(map(_floor, runs)))
    between = [float(np.var(e.by_source, ddof=1)) / len(e.by_source) for e in runs]
    half = normal_quantile(level) * models
    p = math.erfc(abs(difference) / models / math.sqrt(2))
    if spread := sum(between):
        freedom = spread**2 / sum(v**2 / (len(e.by_source) - 1) for v, e in zip(between, runs, strict=True))
        error = math.sqrt(spread + sum(map(_shared, runs)))
        half = max(half, float(stdtrit(freedom, (1 + level) / 2)) * error)
        p = max(p, 2 * float(stdtr(freedom, -abs(difference) / error)))
    return RunDifference(difference, max(-1.0, difference - half), min(1.0, difference + half), p)


def difference_interval(a: AucEstimate, b: AucEstimate) -> tuple[float, float]:
    """Return an interval for a.auc - b.auc from the two cells' own (of one level); too wide where a and b share models.

    Square-and-add: Newcombe, Statistics in Medicine 17, 1998, method 10; Zou, Donner, Statistics in Medicine 27, 2008.
    """
    difference = a.auc - b.auc
    down, up = math.hypot(a.auc - a.low, b.high - b.auc), math.hypot(a.high - a.auc, b.auc - b.low)
    return max(-1.0, difference - down), min(1.0, difference + up)


def _floor(estimate: AucEstimate) -> float:
    """Return Newcombe's variance of a mean AUC, moved from 0 and 1 by a pseudo-model each (Agresti, Caffo, 2000)."""
    m, n, _ = estimate.effective
    fewest = min(m, n)
    moved = (estimate.auc * fewest + 1) / (fewest + 2)
    return float(newcombe_variance(moved, m, n))


def _shared(estimate: AucEstimate) -> float:
    """Return what sharing irrelevant models adds to Newcombe's variance of a mean AUC; 0 where no sources share any."""
    m, n, own = estimate.effective
    return float(newcombe_variance(estimate.auc, m, n) - newcombe_variance(estimate.auc, m, own))


WIDEST = 0.10
"""Half-width of our own interval up to which a paper's figure can agree with it."""
ROUNDING = 0.005
"""Of a paper's figure."""


def agrees(cell: AucEstimate, paper: float, stolen: int = 0, irrelevant: int = 0) -> str:
    """Compare a cell (with a 95 % interval) with a paper's AUC, which is that of one source.

    Return `differs` where abs(difference) > sqrt(ours² + theirs²) + 0.005: ours is the half of our interval that points
    towards the paper's figure; theirs is that of one more source, from the variance s² between our sources. Where the
    paper's numbers of models are known, Newcombe's variance for these replaces the models' share of s², two thirds of
    Newcombe's for ours (all of it would be too much: s² is often below it by chance), less the covariance of sources
    that share irrelevant models: s² does not show it. Otherwise `agrees`, or `too few
    models to tell` where our half-width is above 0.10. One source: `one source: no verdict`.
    """
    sources = len(cell.by_source)
    if sources < 2:
        return "one source: no verdict"
    t, theirs = student_quantile(sources, LEVEL), float(np.var(cell.by_source, ddof=1))
    theirs *= t**2
    if stolen > 0 and irrelevant > 0:
        models = float(newcombe_variance(cell.auc, cell.effective.stolen / sources, cell.effective.own / sources))
        models = max(0.0, models - sources / (sources - 1) * _shared(cell))
        own = float(newcombe_variance((paper + cell.auc) / 2, stolen, irrelevant))
        theirs = max(0.0, theirs - t**2 * models * 2 / 3) + normal_quantile(LEVEL) ** 2 * own
    ours = cell.high - cell.auc if paper > cell.auc else cell.auc - cell.low
    if abs(paper - cell.auc) > math.sqrt(ours**2 + theirs) + ROUNDING + SLACK:
        return "differs"
    return "agrees" if (cell.high - cell.low) / 2 <= WIDEST + SLACK else "too few models to tell"
