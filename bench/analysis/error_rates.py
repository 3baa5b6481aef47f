"""Compute true positive rates at few false alarms, and the false accusations of a threshold that was set before."""

import math
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from itertools import chain
from operator import attrgetter
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
    scores = [(samples.score[s.stolen], samples.score[s.irrelevant]) for s in matched.samples]
    models = [s.stolen for s in matched.sources]
    # All draws of a source have the same models here: their share is the mean over the draws.
    found = {rate: [[tpr_at_fpr(*of_source, rate)] for of_source in scores] for rate in RATES}
    return {rate: _over_sources(of_rate, models, sum(models)) for rate, of_rate in found.items()}


def _over_sources(
    found: Sequence[Sequence[Rate | NotReported]], models: Sequence[int], different: int
) -> Rate | NotReported:
    """Average rates, by source and draw, over the draws of each source, then over sources by their numbers of models.

    The interval is that of all `different` models: each counts once, however many draws or sources judged it.
    """
    if few := [r for draws in found for r in draws if isinstance(r, NotReported)]:
        return min(few, key=attrgetter("has"))
    shares = [[Fraction(round(r.hits), r.of) for r in draws if isinstance(r, Rate)] for draws in found]
    total = sum((sum(s, Fraction()) / len(s) * m for s, m in zip(shares, models, strict=True)), Fraction())
    rate = float(total / sum(models))
    count = round(rate * different, 9)
    low, high = (binomial_bound(k, different)[end] for end, k in enumerate((math.floor(count), math.ceil(count))))
    return Rate(rate, low, high, count, different)


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
            scored = [draws for draws in self._scored(place, on) if draws]
            self.known[key] = {rate: self._rate(scored, on, rate) for rate in RATES} if scored else {}
        return self.known[key]

    def _scored(self, place: tuple[str, str, str], on: str) -> Iterator[list[Rows]]:
        """Yield the irrelevant models with a score of each source, by draw."""
        samples = self.samples
        for seed in map(float, samples.seeds):
            keys = [(*place, SuspectKind.IRRELEVANT, "", seed, draw) for draw in samples.draws.get(place, ())]
            planned = [samples.rows.get(key, NOBODY) for key in keys]
            scored = [rows[(samples.column["suspect_dataset"][rows] == on) & samples.done[rows]] for rows in planned]
            yield [rows for rows in scored if len(rows)]

    def _rate(self, sources: Sequence[Sequence[Rows]], on: str, rate: float) -> Rate | NotReported:
        found: list[list[Rate | NotReported]] = []
        judged: list[list[Rows]] = []
        for draws in sources:
            halves = [self.calibration[on][self.samples.place[rows]] for rows in draws]
            frozen = [frozen_threshold(self.samples.score[r], h, rate) for r, h in zip(draws, halves, strict=True)]
            found.append([f if isinstance(f, NotReported) else f.false_accusations for f in frozen])
            judged.append([rows[~half] for rows, half in zip(draws, halves, strict=True)])
        return _over_sources(found, [*map(self.samples.count, judged)], self.samples.count(chain(*judged)))
