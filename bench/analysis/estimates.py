"""Make the figures of a cell from its scores: within each source and draw, then means over draws and over sources."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.analysis.groups import Matched, Rows, Sample, Samples
from bench.stats.auc import Floats
from bench.stats.intervals import AucEstimate, estimate_auc

MOST = 0.5
"""A share above this is most."""
KNOWN = 10
"""Irrelevant models, besides one for each source, from which a correlation is stated."""
ROUNDING = 1e-12
"""Relative to the values."""


@dataclass(frozen=True)
class Strata:
    """A mean of AUCs within architectures, and how many stolen and (different) irrelevant models it has."""

    auc: float
    stolen: int
    irrelevant: int


class Extremes(NamedTuple):
    """The shares of a cell's scores that equal the lowest and the highest one of their source and draw.

    `tied`: more than half of them do, of stolen and irrelevant models alike in most draws.
    """

    lowest: float
    highest: float
    tied: bool


def estimate(matched: Matched) -> AucEstimate:
    """Estimate the AUC of a cell."""
    return estimate_auc(matched.sources, matched.irrelevant)


def within_architectures(samples: Samples, matched: Matched) -> Strata | None:
    """Compare suspects with irrelevant models of their own architecture: mean over these, then over sources."""
    means: list[float] = []
    used: list[Sample] = []
    for sample in matched.samples:
        strata = list(_strata(samples, sample))
        if strata:
            means.append(sum(samples.auc(s).auc for s in strata) / len(strata))
            used += strata
    if not means:
        return None
    stolen = sum(s.stolen.shape[1] for s in used)
    return Strata(sum(means) / len(means), stolen, samples.count(s.irrelevant for s in used))


def _strata(samples: Samples, sample: Sample) -> Iterator[Sample]:
    mine, others = (samples.architecture[rows[0]] for rows in (sample.stolen, sample.irrelevant))
    for architecture in np.intersect1d(mine, others):
        yield Sample(sample.seed, sample.stolen[:, mine == architecture], sample.irrelevant[:, others == architecture])


def without(samples: Samples, matched: Matched, architecture: str) -> AucEstimate | None:
    """Estimate the AUC without the negatives in an architecture; None where no others are left."""
    kept = samples.architectures != architecture
    others = [s._replace(irrelevant=_columns(s.irrelevant, kept, samples.architecture)) for s in matched.samples]
    found = samples.compared(others)
    return estimate(found) if found else None


def _columns(rows: Rows, kept: NDArray[np.bool_], codes: Rows) -> Rows:
    return rows[:, kept[codes[rows[0]]]]


def by_variant(samples: Samples, matched: Matched) -> dict[str, AucEstimate]:
    """Estimate the AUC of each variant of an attack; nothing where it has one only."""
    codes = np.unique(np.concatenate([samples.variant[s.stolen[0]] for s in matched.samples]))
    if len(codes) < 2:
        return {}
    found = {}
    for name, code in sorted((samples.variants[code], code) for code in codes):
        kept = np.arange(len(samples.variants)) == code
        own = samples.compared(s._replace(stolen=_columns(s.stolen, kept, samples.variant)) for s in matched.samples)
        if own:
            found[name] = estimate(own)
    return found


def follows_accuracy(samples: Samples, matched: Matched) -> float | None:
    """Return the correlation of score and test accuracy of the irrelevant models, within their source and draw.

    None if they are fewer than KNOWN besides one for each source, if an accuracy is not known, or if all are equal.
    """
    rows = [s.irrelevant for s in matched.samples]
    if samples.count(rows) - len(rows) < KNOWN:
        return None
    with np.errstate(all="ignore"):
        accuracy, score = (np.concatenate([_centred(v[r]) for r in rows]) for v in (-samples.lost, samples.score))
        r = np.corrcoef(accuracy, score / np.abs(score).max())[0, 1]  # a plugin may score 1e300
    return float(r) if np.isfinite(r) else None


def _centred(values: Floats) -> Floats:
    """Return values [draws, models] less the mean of their draw, in one row; 0 where only rounding is left."""
    gaps = values - values.mean(axis=1, keepdims=True)
    return np.where(np.abs(gaps) > ROUNDING * np.abs(values).max(axis=1, keepdims=True), gaps, 0).ravel()


def extremes(samples: Samples, matched: Matched) -> Extremes:
    """Return how many of the scores lie at their floor and at their ceiling."""
    shares, mixed = [], []
    for end in (np.min, np.max):
        at = [_at_end(samples.score[s.stolen], samples.score[s.irrelevant], end) for s in matched.samples]
        shares.append(sum(int(kind.sum()) for pair in at for kind in pair) / sum(k.size for pair in at for k in pair))
        both = np.concatenate([stolen.any(axis=1) & irrelevant.any(axis=1) for stolen, irrelevant in at])
        mixed.append(bool(both.mean() > MOST))
    tied = any(share > MOST and both for share, both in zip(shares, mixed, strict=True))
    return Extremes(shares[0], shares[1], tied)


def _at_end(stolen: Floats, irrelevant: Floats, end: Callable[..., Floats]) -> tuple[NDArray[np.bool_], ...]:
    """Mark the scores that equal the lowest or the highest of their draw: [draws, models] of both kinds."""
    value = end(np.concatenate([stolen, irrelevant], axis=1), axis=1, keepdims=True)
    return stolen == value, irrelevant == value
