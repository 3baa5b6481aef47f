"""Compare the order of the classes in two parts of a dataset by the mean images of the classes."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from bench.api.data import Split

SIDE = 8
"""Pixels of a mean image in each direction, at most."""
CHUNK = 4096
FOLDS = 8
SIGNIFICANT = 5.0
"""Standard errors, over the folds, by which the classes have to fit better in another order."""
NEARER = 1.5
"""How many times as far from its own class as from another one a renumbered class has to be."""


def renumbered_classes(train: Split, test: Split, classes: int) -> dict[int, int]:
    """Return the classes of a test part that are others of its train part, with these; empty: none is.

    The order that fits best is found with one half of the test images. On the other half, in `FOLDS` parts, the classes
    that it moves have to be far nearer to their mean images of the train part. Classes with too few images, and those
    that have the same mean images, show no difference.
    """
    from scipy.optimize import linear_sum_assignment

    order = np.argsort(test.labels.numpy(), kind="stable")
    halves = [order[::2], *(order[1::2][n::FOLDS] for n in range(FOLDS))]
    known = _means(train.images, train.labels, classes)
    found, *folds = (_means(test.images[half], test.labels[half], classes) for half in halves)
    if any(np.isnan(means).any() for means in (known, found, *folds)):
        return {}
    rows, columns = linear_sum_assignment(_distances(found, known))
    moved = rows[rows != columns]
    if not len(moved):
        return {}
    distances = np.stack([_distances(fold, known)[moved] for fold in folds])
    own, other = distances[:, range(len(moved)), moved].sum(1), distances[:, range(len(moved)), columns[moved]].sum(1)
    gain, error = (own - other).mean(), (own - other).std(ddof=1) / FOLDS**0.5
    if gain <= SIGNIFICANT * error or own.mean() < NEARER * other.mean():
        return {}
    return {int(row): int(columns[row]) for row in moved}


def _means(images: Tensor, labels: Tensor, classes: int) -> NDArray[np.float64]:
    """Return the mean image of each class, reduced to SIDE pixels, as a row; NaN for a class without images."""
    totals = torch.zeros(classes, *images.shape[1:], dtype=torch.float64)
    for part, of in zip(images.split(CHUNK), labels.split(CHUNK), strict=True):
        totals.index_add_(0, of, part.double())
    means = totals / torch.bincount(labels, minlength=classes).reshape(-1, 1, 1, 1)
    height, width = means.shape[2:]
    pooled = functional.adaptive_avg_pool2d(means, (min(SIDE, height), min(SIDE, width)))
    found: NDArray[np.float64] = pooled.flatten(1).numpy()
    return found


def _distances(means: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distance of each mean image to each other one."""
    found: NDArray[np.float64] = ((means[:, None] - others[None]) ** 2).sum(2)
    return found
