"""AUC, intervals, rates and tests of scores: the public names of `bench.stats`.

The unit of every statistic is a model, never a pair of models. Scores are floats, higher = more probably stolen;
infinite scores are allowed, NaN is a ValueError. `stolen` and `irrelevant` are the scores of one source, shape [n].
Where a function says "by source", `stolen` and `irrelevant` are lists of vectors, [m_s] and [n_s]; scores of different
sources are never pooled. An AUC with its interval: `estimate_auc([source_auc(stolen, irrelevant), ...])`.
`docs/statistics.md` explains the choice of the intervals and their coverage.
"""

from bench.stats.auc import BySource, Floats, auc
from bench.stats.differences import (
    RunDifference,
    SourceDifference,
    agrees,
    better_jointly,
    difference_interval,
    difference_of_two_runs,
    difference_over_sources,
)
from bench.stats.holm import holm
from bench.stats.intervals import (
    AucEstimate,
    SourceAuc,
    estimate_auc,
    interval_over_sources,
    newcombe_interval,
    newcombe_variance,
    source_auc,
)
from bench.stats.rates import NotReported, Rate, Summary, accuracy_summary, binomial_bound, tpr_at_fpr
from bench.stats.thresholds import Frozen, calibration_half, frozen_threshold

__all__ = [
    "AucEstimate",
    "BySource",
    "Floats",
    "Frozen",
    "NotReported",
    "Rate",
    "RunDifference",
    "SourceAuc",
    "SourceDifference",
    "Summary",
    "accuracy_summary",
    "agrees",
    "auc",
    "better_jointly",
    "binomial_bound",
    "calibration_half",
    "difference_interval",
    "difference_of_two_runs",
    "difference_over_sources",
    "estimate_auc",
    "frozen_threshold",
    "holm",
    "interval_over_sources",
    "newcombe_interval",
    "newcombe_variance",
    "source_auc",
    "tpr_at_fpr",
]
