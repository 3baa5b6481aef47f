"""Holm's correction of p-values. With numpy only."""

import numpy as np
from numpy.typing import ArrayLike

from bench.stats.auc import SLACK, Floats
from bench.stats.intervals import LEVEL


def holm(pvalues: ArrayLike, smallest: ArrayLike = (), level: float = 1 - LEVEL) -> Floats:
    """Adjust the p-values of one table so that all of them hold at once: [k], same order, at most 1.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    smallest: [k], the least p-value that each test could have had. Those that could not have reached the level, with
    so many tests, do not count among the tests, and their p-value becomes 1: Tarone, A modified Bonferroni method for
    discrete data, Biometrics 46, 1990.
    """
    p = np.asarray(pvalues, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values are a vector of numbers in [0, 1]")
    least = np.asarray(smallest, dtype=np.float64) if np.size(smallest) else np.zeros_like(p)
    if least.shape != p.shape or (least > p + SLACK).any():
        raise ValueError("every p-value needs the smallest that it could have been")
    reachable = (least * k <= level + SLACK for k in range(1, len(p) + 1))
    counted = next((r for k, r in enumerate(reachable, 1) if r.sum() <= k), least < 0)
    adjusted = np.ones_like(p)
    order = np.flatnonzero(counted)[np.argsort(p[counted], kind="stable")]
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
