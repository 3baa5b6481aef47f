"""Thresholds frozen on one half of the irrelevant models, and their false accusations on the other."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.stats.auc import SLACK, BySource, by_source
from bench.stats.intervals import LEVEL
from bench.stats.rates import NotReported, Rate, binomial_bound


def calibration_half(models: Sequence[str], architectures: Sequence[str], seed: int) -> NDArray[np.bool_]:
    """Choose the irrelevant models that thresholds are set on: bool [N]; the others are judged.

    models: the names of all irrelevant models of a dataset, in any order; architectures: [N]; seed: the split seed.
    Half of every architecture, odd ones in turn on each side. Draw it once per dataset, and use it for every method.
    """
    if len(set(models)) != len(models) or len(architectures) != len(models):
        raise ValueError("every irrelevant model needs its own name and an architecture")
    generator = np.random.default_rng(seed)
    families: dict[str, list[int]] = {}
    for index in sorted(range(len(models)), key=lambda i: models[i]):
        families.setdefault(architectures[index], []).append(index)
    names = sorted(families)
    queue = [i for f in generator.permutation(len(names)) for i in generator.permutation(families[names[f]])]
    chosen = np.zeros(len(models), dtype=np.bool_)
    chosen[queue[::2]] = True
    return chosen


@dataclass(frozen=True)
class Frozen:
    """A threshold for each source, set once, and the share of the other irrelevant models that it accuses."""

    thresholds: tuple[float, ...]
    false_accusations: Rate


def frozen_threshold(
    irrelevant: BySource, calibration: BySource, alpha: float, level: float = LEVEL, judged: int | None = None
) -> Frozen | NotReported:
    """Set a threshold that accuses an irrelevant model with probability at most alpha, and count whom it accuses.

    irrelevant: [n], or by source; calibration: bool in the same form, from `calibration_half`. The threshold is the
    ceil((c + 1)(1 - alpha))-th lowest of c calibration scores (split conformal: Vovk, Gammerman, Shafer, Algorithmic
    Learning in a Random World, 2005; Lei et al., JASA 113, 2018); a model is accused when it scores above. With fewer
    than 1 / alpha - 1 models of a source to calibrate on, or to judge: `NotReported`. Several sources: a threshold
    each, and all who were accused among all who were judged. judged: the number of different models among these, where
    sources share some; the exact bound is that of so many.
    """
    if not 0 < alpha < 1:
        raise ValueError(f"a rate of false accusations lies between 0 and 1, got {alpha}")
    pairs = [(scores, chosen > 0) for scores, chosen in zip(*by_source(irrelevant, calibration), strict=True)]
    if any(scores.shape != chosen.shape for scores, chosen in pairs):
        raise ValueError("calibration marks for every irrelevant model whether the threshold is set on it")
    least = max(1, math.ceil(1 / alpha - 1 - SLACK))
    for scores, chosen in sorted(pairs, key=lambda p: len(p[0])):
        known = int(chosen.sum())
        if missing := max(0, least - known) + max(0, least - len(scores) + known):
            return NotReported(len(scores) + missing, len(scores))
    ranks = [math.ceil((int(chosen.sum()) + 1) * (1 - alpha) - SLACK) for _, chosen in pairs]
    thresholds = [float(np.sort(s[c])[rank - 1]) for (s, c), rank in zip(pairs, ranks, strict=True)]
    accused = np.concatenate([s[~c] > t for (s, c), t in zip(pairs, thresholds, strict=True)])
    rate, of = float(accused.mean()), judged or len(accused)
    hits = round(rate * of, 9)
    low, high = (binomial_bound(k, of, level)[i] for i, k in enumerate((math.floor(hits), math.ceil(hits))))
    return Frozen(tuple(thresholds), Rate(rate, low, high, hits, of))
