"""How unusual a score is among innocents: two p-values, and a binomial test of accuracies. With numpy only."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

SLACK = 1e-12
"""Relative difference by which rounding may put a p-value above a level that it equals."""


def exchangeable(score: float, innocents: Sequence[float]) -> float:
    """Return the p-value of a score if the suspect was made like one of the innocents: (1 + #{s >= score}) / (n + 1).

    It is valid in finite samples, whatever the distribution, if suspect and innocents are exchangeable (Vovk,
    Gammerman, Shafer, Algorithmic Learning in a Random World, 2005, chapter 2). 1 without innocents.
    """
    values = np.asarray(innocents, dtype=float)
    return float((1 + np.count_nonzero(values >= score)) / (len(values) + 1))


def unseen_family(score: float, families: Mapping[str, Sequence[float]]) -> float:
    """Return the p-value of a score if the suspect is an innocent of a family that is not among the K `families`.

    It is (1 + sum of the shares of each family that score at least as high) / (K + 1), where families, and the
    innocents of one family, are exchangeable: hierarchical conformal prediction (Lee, Barber, Willett, Distribution-
    free inference with hierarchical data, arXiv 2306.06342, section 3.1). So it is never below 1 / (K + 1).
    """
    shares = [np.mean(np.asarray(values, dtype=float) >= score) for values in families.values() if len(values)]
    return float((1 + sum(shares)) / (len(shares) + 1))


def enough(innocents: int, alpha: float, methods: int = 1) -> bool:
    """Return True if `innocents` can give a p-value of at most `alpha`, after Holm's correction over `methods`."""
    return methods / (innocents + 1) <= alpha * (1 + SLACK)


def needed(alpha: float, methods: int = 1) -> int:
    """Compute the least number of innocents that is `enough`."""
    return math.ceil(methods / alpha * (1 - SLACK)) - 1


def at_least(right: int, asked: int, chance: float) -> float:
    """Return the probability that at least `right` of `asked` independent answers are right, each with `chance`.

    It is the p-value of the exact binomial test (Clopper, Pearson, Biometrika 26, 1934). `chance` is within 0 and 1.
    """
    if right <= 0 or right > asked:
        return float(right <= 0)
    if not 0 < chance < 1:
        return float(chance >= 1)
    logs = [
        math.lgamma(asked + 1) - math.lgamma(k + 1) - math.lgamma(asked - k + 1)
        + k * math.log(chance) + (asked - k) * math.log1p(-chance)
        for k in range(right, asked + 1)
    ]  # fmt: skip
    return min(1.0, math.fsum(map(math.exp, logs)))
