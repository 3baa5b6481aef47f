"""The area under the ROC curve, exactly as a count of pairs."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
BySource: TypeAlias = Sequence[ArrayLike] | NDArray[Any]

SLACK = 1e-9
"""Keeps `0.05 * 20` one whole model in spite of binary fractions."""


def vector(values: ArrayLike, what: str) -> Floats:
    """Check one list of scores: one axis, at least one score, no NaN; ValueError otherwise."""
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise ValueError(f"{what}: expected a vector of at least one score, got shape {array.shape}")
    if np.isnan(array).any():
        raise ValueError(f"{what}: NaN is no score")
    return array


def by_source(stolen: BySource, irrelevant: BySource) -> tuple[list[Floats], list[Floats]]:
    """Return scores by source, lists of vectors [m_s] and [n_s]; two vectors are one source.

    ValueError where the numbers of sources differ.
    """
    suspects: list[Any] = list(stolen)
    innocents: list[Any] = list(irrelevant)
    if not innocents or np.ndim(innocents[0]) == 0:
        suspects, innocents = [suspects], [innocents]
    if len(suspects) != len(innocents):
        raise ValueError(f"stolen suspects of {len(suspects)} sources, irrelevant models for {len(innocents)}")
    columns = [vector(scores, "stolen suspects") for scores in suspects]
    return columns, [vector(scores, "irrelevant models") for scores in innocents]


def placements(values: Floats, among: Floats) -> Floats:
    """Return for each value the share of `among` that is below it, ties counting half: [len(values)], in [0, 1]."""
    ordered = np.sort(among)
    below = np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")
    shares: Floats = below / (2 * len(among))
    return shares


def auc(stolen: ArrayLike, irrelevant: ArrayLike) -> float:
    """Compute P(stolen > irrelevant) + 0.5 P(equal) by ranks, in [0, 1].

    stolen: [m], irrelevant: [n], both of one source. O((m + n) log n). The Mann–Whitney statistic, hence the area
    under the trapezoid ROC curve: Bamber, J. Math. Psychology 12, 1975.
    """
    return float(placements(vector(stolen, "stolen suspects"), vector(irrelevant, "irrelevant models")).mean())
