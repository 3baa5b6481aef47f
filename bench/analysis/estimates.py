"""Make the figures of a cell from its scores: within each source and draw, then means over draws and over sources."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.analysis.groups import Matched, Rows, Sample, Samples
from bench.stats.intervals import AucEstimate, estimate_auc


@dataclass(frozen=True)
class Strata:
    """A mean of AUCs within architectures, and how many stolen and (different) irrelevant models it has."""

    auc: float
    stolen: int
    irrelevant: int


class Extremes(NamedTuple):
    """The shares of a cell's scores that equal the lowest and the highest one of their source and draw."""

    lowest: float
    highest: float


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


def extremes(samples: Samples, matched: Matched) -> Extremes:
    """Return how many of the scores lie at their floor and at their ceiling."""
    scores = [samples.score[np.concatenate([s.stolen, s.irrelevant], axis=1)] for s in matched.samples]
    total = sum(s.size for s in scores)
    ends = (sum(int((s == end(s, axis=1, keepdims=True)).sum()) for s in scores) for end in (np.min, np.max))
    return Extremes(*(count / total for count in ends))
