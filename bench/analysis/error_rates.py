"""Compute true positive rates at few false alarms, and the false accusations of a threshold that was set before."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bench.analysis.groups import Sample, Samples
from bench.stats.permutation import Scores
from bench.stats.rates import NotReported, Rate, tpr_at_fpr
from bench.stats.thresholds import Frozen, calibration_half, frozen_threshold

RATES = (0.01, 0.05)
"""The rates of false alarms, and of false accusations, that tables show."""

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
            rows = there[first]
            architectures = [str(a) for a in samples.architectures[samples.architecture[rows]]]
            names = [f"{a} {r:06d}" for a, r in zip(architectures, samples.replicate[rows], strict=True)]
            chosen = np.zeros(samples.model.max(initial=0) + 1, dtype=np.bool_)
            chosen[models] = calibration_half(names, architectures, seed)
            self.calibration[dataset] = chosen

    def accused(self, place: tuple[str, str, str], on: str, by_source: Sequence[Sample]) -> Accused:
        """Set thresholds at each of RATES on one half of the irrelevant models of a dataset, and judge the other half.

        place: dataset, source architecture and method, on: the dataset of the irrelevant models of the samples. The
        models are those that all sources have a score for, whether or not the stolen ones have one.
        """
        key = (*place, on)
        if key not in self.known:
            self.known[key] = {}
            samples = self.samples
            scored = [s.irrelevant[samples.done[s.irrelevant]] for s in by_source]
            shared = samples.shared([rows for rows in scored if len(rows)])
            if shared.size:
                scores, calibration = samples.score[shared], self.calibration[on][samples.model[shared[0]]]
                halves, judged = [calibration] * len(scores), int((~calibration).sum())
                self.known[key] = {r: frozen_threshold(scores, halves, r, judged=judged) for r in RATES}
        return self.known[key]
