"""Compare the order of the classes in two parts of a dataset by the mean images of the classes."""

import numpy as np
from numpy.typing import NDArray

from bench.api.data import Split
from bench.datasets.sampling import Indices

SIDE = 8
"""Pixels of a mean image in each direction, at least if the images have as many."""
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
    known = _means(train, np.arange(len(train)), classes)
    found, *folds = (_means(test, half, classes) for half in halves)
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


def _means(split: Split, chosen: Indices, classes: int) -> NDArray[np.float64]:
    """Return the mean image of each class, reduced to about SIDE pixels, as a row; NaN for a class without images."""
    images, labels = split.images.numpy(), split.labels.numpy()[chosen]
    steps = [max(1, side // SIDE) for side in images.shape[2:]]
    height, width = (side // step * step for side, step in zip(images.shape[2:], steps, strict=True))
    means = np.full((classes, *images.shape[1:]), np.nan)
    for label in np.unique(labels):
        means[label] = images[chosen[labels == label]].mean(0)
    blocks = means[:, :, :height, :width].reshape(
        classes, -1, height // steps[0], steps[0], width // steps[1], steps[1]
    )
    found: NDArray[np.float64] = blocks.mean((3, 5)).reshape(classes, -1)
    return found


def _distances(means: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the squared distance of each mean image to each other one."""
    found: NDArray[np.float64] = (means**2).sum(1)[:, None] + (others**2).sum(1) - 2 * means @ others.T
    return found
