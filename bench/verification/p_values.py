"""How unusual a score is among innocents: two p-values, and Holm's correction over methods. With numpy only."""

from collections.abc import Mapping, Sequence

import numpy as np


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


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number by Holm's method (Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def enough(innocents: int, alpha: float, methods: int = 1) -> bool:
    """Return True if `innocents` can give a p-value of at most `alpha`, after Holm's correction over `methods`."""
    return methods / (innocents + 1) <= alpha * (1 + 1e-12)
