"""Rates of hits and of false alarms, with exact binomial bounds; summaries of accuracies."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.auc import SLACK, BySource, by_source, vector
from bench.stats.intervals import LEVEL


@dataclass(frozen=True)
class Rate:
    """A share of models with its exact interval: `hits` (a mean over sources may be no whole number) among `of`."""

    rate: float
    low: float
    high: float
    hits: float
    of: int


@dataclass(frozen=True)
class NotReported:
    """Too few irrelevant models for a figure: how many every source needs, how many the poorest one has."""

    needs: int
    has: int

    def __str__(self) -> str:
        return f"n/r (needs ≥ {self.needs} irrelevant models)"


@lru_cache(maxsize=1024)
def binomial_bound(hits: int, of: int, level: float = LEVEL) -> tuple[float, float]:
    """Return the exact two-sided interval of a share (Clopper, Pearson, Biometrika 26, 1934): (low, high) in [0, 1]."""
    from scipy.special import betaincinv

    if not 0 <= hits <= of or of < 1:
        raise ValueError(f"expected 0 to {of} hits among at least one, got {hits}")
    tail = (1 - level) / 2
    low = float(betaincinv(hits, of - hits + 1, tail)) if hits else 0.0
    high = float(betaincinv(hits + 1, of - hits, 1 - tail)) if hits < of else 1.0
    return low, high


def threshold_at(irrelevant: ArrayLike, fpr: float) -> float:
    """Return the score that a suspect has to exceed so that at most a share `fpr` of irrelevant models is accused."""
    scores = np.sort(np.asarray(irrelevant, dtype=np.float64))
    return float(scores[len(scores) - 1 - math.floor(fpr * len(scores) + SLACK)])


def tpr_at_fpr(stolen: BySource, irrelevant: BySource, fpr: float, level: float = LEVEL) -> Rate | NotReported:
    """Return the largest share of stolen suspects found at a share of false alarms of at most `fpr`. By source.

    That is the highest ROC point with FPR <= fpr, never an interpolated one: within each source a suspect is found
    when it scores above all irrelevant models but the floor(fpr n) highest. With several sources: all that were found
    among all suspects. The Clopper–Pearson interval holds for these irrelevant models (and sources). Fewer than
    1 / fpr irrelevant models at a source: `NotReported`.
    """
    if not 0 < fpr < 1:
        raise ValueError(f"a rate of false alarms lies between 0 and 1, got {fpr}")
    suspects, innocents = by_source(stolen, irrelevant)
    n, needs = min(map(len, innocents)), math.ceil(1 / fpr - SLACK)
    if n < needs:
        return NotReported(needs, n)
    hits = sum(int((s > threshold_at(i, fpr)).sum()) for s, i in zip(suspects, innocents, strict=True))
    of = sum(map(len, suspects))
    return Rate(hits / of, *binomial_bound(hits, of, level), hits, of)


class Summary(NamedTuple):
    """Mean, standard deviation (n - 1; NaN for a single value) and number of values."""

    mean: float
    sd: float
    n: int


def accuracy_summary(values: ArrayLike) -> Summary:
    """Summarise test accuracies (or other shares) of some models; ValueError for none or NaN."""
    array = vector(values, "values")
    return Summary(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else math.nan, len(array))
