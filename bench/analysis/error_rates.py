"""Compute true positive rates at few false alarms, and the false accusations of a threshold that was set before."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.analysis.groups import Rows, Sample, Samples
from bench.stats.permutation import Scores
from bench.stats.rates import NotReported, Rate, tpr_at_fpr
from bench.stats.thresholds import Frozen, calibration_half, frozen_threshold

RATES = (0.01, 0.05)
"""Rates of false alarms, and of false accusations, that tables tell of."""

Hits: TypeAlias = Mapping[float, Rate | NotReported]
"""By rate of false alarms: the share of stolen suspects that are found."""
Accused: TypeAlias = Mapping[float, Frozen | NotReported]
"""By rate that was promised: the threshold of each source, and the share of irrelevant models that it accuses."""


def hits(scores: Scores) -> Hits:
    """Return the share of stolen suspects found at each of RATES."""
    return {rate: tpr_at_fpr(scores.stolen, scores.irrelevant, rate) for rate in RATES}


class Division:
    """Which irrelevant models thresholds are set on: drawn once for each dataset, the same for all methods."""

    def __init__(self, samples: Samples, seed: int) -> None:
        self.samples = samples
        self.calibration: dict[str, NDArray[np.bool_]] = {}
        self.known: dict[tuple[str, str, str, str], Accused] = {}
        for code, dataset in enumerate(samples.datasets):
            there = np.flatnonzero(samples.irrelevant & (samples.on == code))
            models, first = np.unique(samples.model[there], return_index=True)
            architectures = [str(a) for a in samples.architectures[samples.architecture[there[first]]]]
            replicates = samples.replicate[there[first]]
            names = [f"{a} {r:06d}" for a, r in zip(architectures, replicates, strict=True)]
            chosen = np.zeros(samples.model.max(initial=0) + 1, dtype=np.bool_)
            chosen[models] = calibration_half(names, architectures, seed)
            self.calibration[dataset] = chosen

    def accused(self, place: tuple[str, str, str], on: str, sample: Sample) -> Accused:
        """Set thresholds at each of RATES on one half of the irrelevant models of a dataset, and judge the other half.

        place: dataset, source architecture and method, on: the dataset of the irrelevant models of the sample.
        """
        if (*place, on) not in self.known:
            self.known[*place, on] = self._accused(on, self.samples.innocents(sample))
        return self.known[*place, on]

    def _accused(self, on: str, irrelevant: Rows | None) -> Accused:
        if irrelevant is None or not irrelevant.size:
            return {}
        calibration = self.calibration[on][self.samples.model[irrelevant[0]]]
        scores = self.samples.score[irrelevant]
        return {rate: frozen_threshold(scores, calibration, rate) for rate in RATES}
