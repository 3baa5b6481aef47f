"""Intervals of AUCs and of their differences."""

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np

from bench.stats.auc import SLACK, BySource, Floats, by_source, placements

LEVEL = 0.95
"""Of every interval that is not asked for at another level."""
ENOUGH_SOURCES = 5
"""With so many sources, an interval holds for sources in general; with fewer, only for those at hand."""


def hanley_mcneil_variance(auc: float, m: float, n: float) -> float:
    """Estimate the variance of an AUC from m stolen and n irrelevant models; 0 at AUC 0 and 1.

    Hanley, McNeil, Radiology 143, 1982, the exponential approximation: Q1 = A / (2 - A), Q2 = 2 A² / (1 + A).
    """
    _check_auc(auc, m, n)
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    return max(0.0, auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (m * n)


def newcombe_variance(theta: float, m: float, n: float) -> float:
    """Return Newcombe's variance of an AUC whose true value is theta: Hanley–McNeil's, made symmetric in m and n."""
    half = (m + n) / 2 - 1
    return theta * (1 - theta) * (1 + half * (1 - theta) / (2 - theta) + half * theta / (1 + theta)) / (m * n)


def newcombe_interval(
    auc: float, m: float, n: float, level: float = LEVEL, inflation: float = 1.0
) -> tuple[float, float]:
    """Return the theta between which |theta - auc| <= z sqrt(inflation var(theta)): (low, high), inside [0, 1].

    m, n: numbers of stolen and irrelevant models (fractions allowed: effective numbers). Neither end collapses at
    AUC 0 or 1. Newcombe, Confidence intervals for an effect size measure based on the Mann–Whitney statistic, part 2,
    Statistics in Medicine 25, 2006, method 5 (which has `inflation` 1).
    """
    _check_auc(auc, m, n)
    factor = inflation * normal_quantile(level) ** 2

    def end(outer: float) -> float:
        # At `outer` (0 or 1) the variance is 0: outside, unless the AUC itself is there. At the AUC: inside.
        inner = auc
        for _ in range(60):
            theta = (inner + outer) / 2
            if (theta - auc) ** 2 > factor * newcombe_variance(theta, m, n):
                outer = theta
            else:
                inner = theta
        return outer

    return end(0.0), end(1.0)


def normal_quantile(level: float) -> float:
    """Return the z of a two-sided interval: 1.96 for 0.95."""
    if not 0 < level < 1:
        raise ValueError(f"a level lies between 0 and 1, got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)


def _check_auc(auc: float, m: float, n: float) -> None:
    if not 0 <= auc <= 1:
        raise ValueError(f"an AUC lies in [0, 1], got {auc}")
    if m < 1 or n < 1:
        raise ValueError(f"an AUC needs a stolen and an irrelevant model, got {m} and {n}")


@dataclass(frozen=True)
class AucEstimate:
    """An AUC with its interval; `stolen` counts over all sources, `irrelevant` the models that they share.

    `conditional`: the interval holds for these sources only, which are fewer than five.
    """

    auc: float
    low: float
    high: float
    stolen: int
    irrelevant: int
    by_source: tuple[float, ...]
    conditional: bool

    @property
    def range(self) -> tuple[float, float]:
        """Return the lowest and the highest AUC of a source."""
        return min(self.by_source), max(self.by_source)


def estimate_auc(
    stolen: BySource, irrelevant: BySource, level: float = LEVEL, seed: int = 0, draws: int = 10_000
) -> AucEstimate:
    """Compute the AUC within each source, their mean, and an interval for it. By source; needs no equal m_s.

    The interval is Newcombe's for the mean AUC, with all stolen suspects against the n shared irrelevant models (as if
    these answered alike for every source: the worst case), its variance raised where the placements of these very
    models vary more than the formula expects (DeLong et al., Biometrics 44, 1988). From five sources on it is united
    with a bootstrap over sources and irrelevant models, so that it also covers what another choice of sources would
    give: see `bootstrap_interval`. Deterministic for a seed.
    """
    suspects, innocents = by_source(stolen, irrelevant)
    placed = [placements(s, i) for s, i in zip(suspects, innocents, strict=True)]
    aucs = tuple(float(p.mean()) for p in placed)
    mean = float(np.mean(aucs))
    beaten = np.stack([1 - placements(i, s) for s, i in zip(suspects, innocents, strict=True)])
    n, sources = innocents.shape[1], len(suspects)
    # The mean weighs sources alike: its variance is that of a sample of so many suspects.
    m = sources**2 / sum(1 / len(s) for s in suspects)
    expected = newcombe_variance(mean, m, n)
    observed = sum(map(_spread, placed)) / sources**2 + _spread(beaten.mean(axis=0))
    inflation = max(1.0, observed / expected) if expected > 0 else 1.0
    low, high = newcombe_interval(mean, m, n, level, inflation)
    if sources >= ENOUGH_SOURCES:
        lowest, highest = bootstrap_interval(beaten, level, seed, draws)
        low, high = min(low, lowest), max(high, highest)
    return AucEstimate(mean, low, high, sum(map(len, suspects)), n, aucs, sources < ENOUGH_SOURCES)


def _spread(placed: Floats) -> float:
    return float(placed.var(ddof=1)) / len(placed) if len(placed) > 1 else 0.0


def bootstrap_interval(beaten: Floats, level: float, seed: int, draws: int) -> tuple[float, float]:
    """Bootstrap a mean AUC over sources and, jointly for all of them, over irrelevant models.

    beaten: [sources, n], the share of a source's stolen suspects that score above an irrelevant model; its mean is the
    mean AUC. Both margins are resampled on their own (the pigeonhole bootstrap: Owen, Annals of Applied Statistics 1,
    2007), the suspects of a source stay with it. A percentile interval from few clusters is too narrow; its levels are
    moved outward to those of Student's t (Hesterberg, The American Statistician 69, 2015).
    """
    from scipy.special import stdtrit

    sources, n = beaten.shape
    tail = NormalDist().cdf(math.sqrt(sources / (sources - 1)) * float(stdtrit(sources - 1, (1 - level) / 2)))
    by_sources, by_models = _resamples(sources, n, seed, draws)
    means = np.einsum("bn,bn->b", by_sources @ beaten, by_models)
    low, high = np.quantile(means, [tail, 1 - tail])
    return max(0.0, float(low)), min(1.0, float(high))


@lru_cache(maxsize=16)
def _resamples(sources: int, n: int, seed: int, draws: int) -> tuple[Floats, Floats]:
    generator = np.random.default_rng([seed, sources, n])
    both = [generator.multinomial(k, np.full(k, 1 / k), size=draws) / k for k in (sources, n)]
    return both[0], both[1]


def difference_interval(a: AucEstimate, b: AucEstimate) -> tuple[float, float]:
    """Return an interval for a.auc - b.auc from the two cells' own (of one level); too wide where a and b share models.

    Square-and-add: Newcombe, Statistics in Medicine 17, 1998, method 10; Zou, Donner, Statistics in Medicine 27, 2008.
    """
    difference = a.auc - b.auc
    down, up = math.hypot(a.auc - a.low, b.high - b.auc), math.hypot(a.high - a.auc, b.auc - b.low)
    return max(-1.0, difference - down), min(1.0, difference + up)


def agrees(cell: AucEstimate, paper: float, stolen: int = 0, irrelevant: int = 0) -> str:
    """Compare a cell (with a 95 % interval) with a paper's AUC: `agrees`, `differs`, `too few models to tell`.

    They agree when |difference| <= 1.96 sqrt(ours + theirs) + 0.005 (for rounding). Our standard deviation is the
    half of the interval that points towards the paper's figure, over 1.96: Hanley–McNeil's would be 0 at AUC 1.00.
    Theirs is Hanley–McNeil's with the paper's numbers of models, 0 where these are unknown (0). No verdict follows
    from an interval of a half-width above 0.10.
    """
    if (cell.high - cell.low) / 2 > 0.10 + SLACK:
        return "too few models to tell"
    ours = cell.high - cell.auc if paper > cell.auc else cell.auc - cell.low
    known = stolen > 0 and irrelevant > 0
    theirs = normal_quantile(LEVEL) * math.sqrt(hanley_mcneil_variance(paper, stolen, irrelevant)) if known else 0.0
    return "agrees" if abs(paper - cell.auc) <= math.hypot(ours, theirs) + 0.005 + SLACK else "differs"
