"""Intervals of AUCs, of one source and over sources."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from numbers import Integral
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.auc import Floats, placements, vector

LEVEL = 0.95
"""Of every interval that is not asked for at another level."""
UNSEEN = 0.088
"""Times A (1 - A) (A - 1/2)², the variance between sources that may be unseen: near AUC 1 the few poor sources are
often missing."""


def hanley_mcneil_variance(auc: float, m: float, n: float) -> float:
    """Estimate the variance of an AUC from m stolen and n irrelevant models; 0 at AUC 0 and 1.

    Hanley, McNeil, Radiology 143, 1982, the exponential approximation: Q1 = A / (2 - A), Q2 = 2 A² / (1 + A).
    """
    _check_auc(auc, m, n)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    return max(0.0, auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n)


def newcombe_variance(theta: ArrayLike, m: float, n: float) -> Floats:
    """Return Newcombe's variance of an AUC whose true value is theta: Hanley–McNeil's, made symmetric in m and n."""
    t = np.asarray(theta, dtype=np.float64)
    return np.asarray(t * (1 - t) * _relative_variance(t, m, n))


def _relative_variance(theta: Floats, m: float, n: float) -> Floats:
    half = (m + n) / 2 - 1
    return np.asarray((1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)) / (m * n))


def newcombe_interval(
    auc: float, m: float, n: float, level: float = LEVEL, inflation: float = 1.0
) -> tuple[float, float]:
    """Return the theta between which |theta - auc| <= z sqrt(inflation var(theta)): (low, high), inside [0, 1].

    m, n: numbers of stolen and irrelevant models (fractions allowed: effective numbers). Neither end collapses at
    AUC 0 or 1. Newcombe, Confidence intervals for an effect size measure based on the Mann–Whitney statistic, part 2,
    Statistics in Medicine 25, 2006, method 5 (which has `inflation` 1).
    """
    _check_auc(auc, m, n)
    low, high = _ends(np.asarray(auc, dtype=np.float64), m, n, inflation * normal_quantile(level) ** 2)
    return float(low), float(high)


def _ends(auc: Floats, m: float, n: float, factor: Floats | float) -> Floats:
    """Return both theta where (theta - auc)² = factor var(theta): [2, ...]."""
    inner = np.stack([auc, auc])
    # At 0 and 1 the variance is 0: outside, unless the AUC itself is there. At the AUC: inside.
    outer = np.zeros_like(inner)
    outer[1] = 1
    for _ in range(50):
        theta = (inner + outer) / 2
        outside = (theta - auc) ** 2 > factor * newcombe_variance(theta, m, n)
        inner, outer = np.where(outside, inner, theta), np.where(outside, theta, outer)
    return outer


def normal_quantile(level: float) -> float:
    """Return the z of a two-sided interval: 1.96 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def student_quantile(sources: int, level: float) -> float:
    """Return the t of a two-sided interval from so many sources: 2.78 for five at 0.95."""
    from scipy.special import stdtrit

    return float(stdtrit(sources - 1, (1 + level) / 2))


def _check_auc(auc: float, m: float, n: float) -> None:
    if not 0 <= auc <= 1:
        raise ValueError(f"an AUC lies in [0, 1], got {auc}")
    if m < 1 or n < 1:
        raise ValueError(f"an AUC needs a stolen and an irrelevant model, got {m} and {n}")


@dataclass(frozen=True)
class SourceAuc:
    """The AUC of one source, from so many different models, and its variance for this source (DeLong et al.)."""

    auc: float
    stolen: int
    irrelevant: int
    variance: float


def source_auc(stolen: ArrayLike, irrelevant: ArrayLike) -> SourceAuc:
    """Compute the AUC of one source: [m] and [n] scores, or [draws, m] and [draws, n] of several fingerprints.

    With several draws: the mean of the AUCs of each; a column is one model, which counts once. The variance is that of
    the models' placements: DeLong, DeLong, Clarke-Pearson, Biometrics 44, 1988. ValueError where the draws differ in
    number, a score is NaN or missing.
    """
    suspects, innocents = np.atleast_2d(np.asarray(stolen)), np.atleast_2d(np.asarray(irrelevant))
    if len(suspects) != len(innocents):
        raise ValueError(f"stolen suspects of {len(suspects)} draws, irrelevant models of {len(innocents)}")
    pairs = [
        (vector(s, "stolen suspects"), vector(i, "irrelevant models")) for s, i in zip(suspects, innocents, strict=True)
    ]
    if not pairs:
        raise ValueError("stolen suspects: expected a vector of at least one score, got no draw")
    placed = np.mean([placements(s, i) for s, i in pairs], axis=0)
    beaten = np.mean([placements(i, s) for s, i in pairs], axis=0)
    return SourceAuc(float(placed.mean()), len(placed), len(beaten), _spread(placed) + _spread(beaten))


def _spread(placed: Floats) -> float:
    return float(placed.var(ddof=1)) / len(placed) if len(placed) > 1 else 0.0


class Effective(NamedTuple):
    """The numbers of models that, of equal weight in the mean over sources, would leave it as uncertain as it is.

    `own`: the irrelevant models, if no two sources shared any.
    """

    stolen: float
    irrelevant: float
    own: float


@dataclass(frozen=True)
class AucEstimate:
    """A mean AUC over sources with its interval, from so many different stolen and irrelevant models.

    `conditional`: there is one source, and the interval holds for it alone; otherwise it is for the mean over sources
    of this kind, and single ones may lie outside. `weighed`: the effective numbers of models, if they are others.
    """

    auc: float
    low: float
    high: float
    stolen: int
    irrelevant: int
    by_source: tuple[float, ...]
    conditional: bool
    weighed: Effective | None = None

    @property
    def effective(self) -> Effective:
        """Return the effective numbers of models."""
        return self.weighed or Effective(self.stolen, self.irrelevant, self.irrelevant)

    @property
    def range(self) -> tuple[float, float]:
        """Return the lowest and the highest AUC of a source."""
        return min(self.by_source), max(self.by_source)


def estimate_auc(sources: Sequence[SourceAuc], irrelevant: int | None = None, level: float = LEVEL) -> AucEstimate:
    """Average the AUCs of sources, with an interval for the mean of sources in general: see `interval_over_sources`.

    irrelevant: the number of different irrelevant models where sources share some; default: each has its own. One
    source: Newcombe's interval for this source, its variance raised to the one that its models show if that is larger.
    ValueError without sources, for numbers of models below 1, and for an impossible number of different ones.
    """
    if not sources:
        raise ValueError("an AUC needs a source")
    aucs = np.array([s.auc for s in sources])
    stolen, models = [s.stolen for s in sources], [s.irrelevant for s in sources]
    if not all(isinstance(n, Integral) and n >= 1 for n in (*stolen, *models)):
        raise ValueError(
            f"numbers of models are whole numbers from 1, not {stolen} stolen and {models} irrelevant ones"
        )
    m, n = sum(stolen), sum(models) if irrelevant is None else irrelevant
    if not max(models) <= n <= sum(models):
        raise ValueError(f"sources with {models} irrelevant models cannot have {n} different ones")
    mean = float(aucs.mean())
    if len(sources) == 1:
        expected = float(newcombe_variance(mean, m, n))
        inflation = max(1.0, sources[0].variance / expected) if expected > 0 else 1.0
        low, high = newcombe_interval(mean, m, n, level, inflation)
        return AucEstimate(mean, low, high, m, n, (mean,), True)
    weighed = Effective(effective(stolen, m), effective(models, n), effective(models, sum(models)))
    low, high = map(float, interval_over_sources(aucs, *weighed[:2], level, weighed.own))
    return AucEstimate(mean, low, high, m, n, tuple(aucs.tolist()), False, weighed)


def effective(models: Sequence[int], different: int) -> float:
    """Return how many models of equal weight leave a mean over sources as uncertain as these: 1 / sum of weights².

    models: the number of each source, two sources or more; one of n weighs 1 / n in the AUC of its source. Where fewer
    are different, all sources share the same ones. Of equal numbers, all shared or none: the number of different ones.
    """
    weights = [Fraction(1, len(models) * n) for n in models]
    shared = Fraction(sum(models) - different, len(models) - 1)
    total, squares = sum(weights), sum(w**2 for w in weights)
    return float(1 / min(total, total / len(models) + shared * (total**2 - squares)))


def interval_over_sources(aucs: Floats, m: float, n: float, level: float = LEVEL, own: float | None = None) -> Floats:
    """Return the interval of the mean AUC of sources in general: [2, ...] for AUCs [..., sources], two or more.

    m, n: effective numbers of stolen and irrelevant models of all sources together (see `effective`); own: n, if no two
    sources shared an irrelevant model. Newcombe's method 5 (see `newcombe_interval`), its variance var(A) inflated to
    that of the S sources where it is larger, with Student's t (Biometrika 6, 1908): by max(1, (t² s² + z² UNSEEN
    (1 - 4/S²) A (1 - A) (A - 1/2)²) / (z² S var(A)) + what sharing adds, 1 - var(A) with `own` / var(A)). With two
    sources the 1 is 1.1. `docs/statistics.md` has the coverage.
    """
    sources = aucs.shape[-1]
    mean, z = aucs.mean(axis=-1), normal_quantile(level)
    expected, between = newcombe_variance(mean, m, n), aucs.var(axis=-1, ddof=1)
    relative = _relative_variance(mean, m, n)
    seen = np.divide(between, expected, out=np.zeros_like(between), where=expected > 0)
    unseen = UNSEEN * (1 - 4 / sources**2) * (mean - 0.5) ** 2 / relative
    inflated = (student_quantile(sources, level) ** 2 * seen + z**2 * unseen) / sources
    inflated += z**2 * (1 - _relative_variance(mean, m, own or n) / relative)
    return _ends(mean, m, n, np.maximum((1.1 if sources == 2 else 1.0) * z**2, inflated))
