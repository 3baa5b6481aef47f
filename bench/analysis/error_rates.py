"""Compute true positive rates at few false alarms, and the false accusations of a threshold that was set before."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.analysis.groups import NOBODY, Matched, Rows, Samples
from bench.core.kinds import SuspectKind
from bench.stats.rates import NotReported, Rate, binomial_bound, tpr_at_fpr
from bench.stats.thresholds import calibration_half, frozen_threshold

RATES = (0.01, 0.05)
"""The rates of false alarms, and of false accusations, that tables show."""

ByRate: TypeAlias = Mapping[float, Rate | NotReported]
"""By rate of false alarms, the share of stolen suspects that are found; or, by the rate that was promised, the share of
irrelevant models that are accused."""


def hits(samples: Samples, matched: Matched) -> ByRate:
    """Return the share of stolen suspects found at each of RATES, with a threshold for each draw of each source."""
    stolen = [samples.score[rows] for s in matched.samples for rows in s.stolen]
    irrelevant = [samples.score[rows] for s in matched.samples for rows in s.irrelevant]
    found = {rate: tpr_at_fpr(stolen, irrelevant, rate) for rate in RATES}
    of = sum(s.stolen for s in matched.sources)
    return {rate: _of_models(r, of) if isinstance(r, Rate) else r for rate, r in found.items()}


def _of_models(found: Rate, of: int) -> Rate:
    """Return a rate of suspects with the interval of so many: each counts once, however many draws judged it."""
    count = round(found.rate * of, 9)
    low, high = (binomial_bound(k, of)[end] for end, k in enumerate((math.floor(count), math.ceil(count))))
    return Rate(found.rate, low, high, count, of)


class Division:
    """Which irrelevant models thresholds are set on: drawn once for each dataset, the same for all methods and sources.

    The models are known by architecture and replicate, of which every source has its own.
    """

    def __init__(self, samples: Samples, seed: int) -> None:
        self.samples = samples
        self.calibration: dict[str, NDArray[np.bool_]] = {}
        self.known: dict[tuple[str, str, str, str], ByRate] = {}
        for code, dataset in enumerate(samples.datasets):
            there = np.flatnonzero(samples.irrelevant & (samples.on == code))
            places, first = np.unique(samples.place[there], return_index=True)
            rows = there[first]
            architectures = [str(a) for a in samples.architectures[samples.architecture[rows]]]
            names = [f"{a} {r:06d}" for a, r in zip(architectures, samples.replicate[rows], strict=True)]
            chosen = np.zeros(samples.place.max(initial=0) + 1, dtype=np.bool_)
            chosen[places] = calibration_half(names, architectures, seed)
            self.calibration[dataset] = chosen

    def accused(self, place: tuple[str, str, str], on: str) -> ByRate:
        """Set thresholds at each of RATES on one half of the irrelevant models of each source, judge the other half.

        place: dataset, source architecture and method, on: the dataset of the irrelevant models. They are those of all
        sources that have a score, whether or not stolen ones have one.
        """
        key = (*place, on)
        if key not in self.known:
            scored = [rows for rows in self._scored(place, on) if len(rows)]
            self.known[key] = {rate: self._rate(scored, on, rate) for rate in RATES} if scored else {}
        return self.known[key]

    def _scored(self, place: tuple[str, str, str], on: str) -> Iterator[Rows]:
        """Yield the irrelevant models with a score, by source and draw."""
        samples = self.samples
        for seed, draw in product(map(float, samples.seeds), samples.draws.get(place, ())):
            rows = samples.rows.get((*place, SuspectKind.IRRELEVANT, "", seed, draw), NOBODY)
            yield rows[(samples.column["suspect_dataset"][rows] == on) & samples.done[rows]]

    def _rate(self, draws: Sequence[Rows], on: str, rate: float) -> Rate | NotReported:
        halves = [self.calibration[on][self.samples.place[rows]] for rows in draws]
        judged = self.samples.count(rows[~half] for rows, half in zip(draws, halves, strict=True))
        found = frozen_threshold([self.samples.score[rows] for rows in draws], halves, rate, judged=judged)
        return found if isinstance(found, NotReported) else found.false_accusations
