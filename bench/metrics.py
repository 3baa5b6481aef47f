"""AUC, intervals, rates and tests of scores, for plugins: the public face of `bench.stats`.

Models are the units, never pairs of models. Scores are floats, higher = more probably stolen; infinities rank as what
they are, NaN is a ValueError. Functions that take `stolen` and `irrelevant` take one source's scores (two vectors) or,
where they say "by source", a list of vectors [m_s] and a matrix [sources, n] whose columns are the same irrelevant
models for every source; scores of different sources are never pooled. Why these intervals, and how often they cover:
`docs/statistics.md`.
"""

from bench.stats.auc import BySource, Floats, auc
from bench.stats.intervals import (
    AucEstimate,
    agrees,
    difference_interval,
    estimate_auc,
    newcombe_interval,
    newcombe_variance,
)
from bench.stats.permutation import Comparison, Scores, beats_baselines, holm, paired_permutation, unpaired_permutation
from bench.stats.rates import NotReported, Rate, Summary, accuracy_summary, binomial_bound, tpr_at_fpr
from bench.stats.thresholds import Frozen, calibration_half, frozen_threshold

__all__ = [
    "AucEstimate",
    "BySource",
    "Comparison",
    "Floats",
    "Frozen",
    "NotReported",
    "Rate",
    "Scores",
    "Summary",
    "accuracy_summary",
    "agrees",
    "auc",
    "beats_baselines",
    "binomial_bound",
    "calibration_half",
    "difference_interval",
    "estimate_auc",
    "frozen_threshold",
    "holm",
    "newcombe_interval",
    "newcombe_variance",
    "paired_permutation",
    "tpr_at_fpr",
    "unpaired_permutation",
]
