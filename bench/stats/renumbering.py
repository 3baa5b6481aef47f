"""Find out whether answers fit labels after the classes are renumbered: two parties may number them differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RENUMBERED = "renumbered"
"""The note of a network whose answers fit the test labels once its classes are renumbered: its accuracy then."""
LEAST_GAIN = 0.15
"""Accuracy that a renumbering has to add before it is reported."""
DEVIATIONS = 4.0
"""Standard deviations of an accuracy that it has to add at least."""


def renumbered_accuracy(answers: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> float | None:
    """Return the accuracy of answers whose classes are renumbered; None if that is not far above what they have.

    answers and labels: whole numbers [N] from 0 to `classes` - 1. The renumbering is the best one for half of the
    images; its accuracy is that on the other half, so it is 1 / `classes` for answers by chance.
    """
    import numpy as np

    order = np.argsort(labels, kind="stable")
    first, second = order[::2], order[1::2]
    least = max(LEAST_GAIN, DEVIATIONS * 0.5 / max(1, len(second)) ** 0.5)
    highest = _counts(answers, labels, classes).max(1).sum() / max(1, len(labels))
    if not len(second) or highest < _accuracy(answers, labels) + least:
        return None
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(_counts(answers[first], labels[first], classes), maximize=True)
    new = np.empty(classes, dtype=np.int64)
    new[rows] = columns
    found = _accuracy(new[answers[second]], labels[second])
    return found if found >= _accuracy(answers[second], labels[second]) + least else None


def renumbering_note(answers: NDArray[np.integer], labels: NDArray[np.integer]) -> dict[str, float]:
    """Return the note of a network whose answers fit labels only once classes are renumbered; empty for all others."""
    classes = int(max(answers.max(initial=0), labels.max(initial=0))) + 1
    found = renumbered_accuracy(answers, labels, classes)
    return {} if found is None else {RENUMBERED: round(found, 4)}


def _counts(answers: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Return the number of images by answer and label, [classes, classes]."""
    import numpy as np

    pairs = answers.astype(np.int64) * classes + labels
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def _accuracy(answers: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    return float((answers == labels).mean())
