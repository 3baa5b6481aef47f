"""The share of the most frequent class, which a network is right about that names the same class for every image."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAJORITY = "majority"
"""The note of a network that is tested on classes of unequal size: the share of the most frequent one."""

DEVIATIONS = 2.0
"""Standard deviations by which the share has to be larger than that of equal classes before it is noted."""


def majority_note(labels: NDArray[np.integer], classes: int) -> dict[str, float]:
    """Return the note of a network that is tested on these labels; empty if their classes are about equally frequent.

    They are if the largest share is at most DEVIATIONS of an accuracy by chance above one over their number.
    """
    import numpy as np

    count = len(labels)
    share = float(np.bincount(labels).max(initial=0)) / max(1, count)
    equal = 1 / classes
    deviation = (equal * (1 - equal) / max(1, count)) ** 0.5
    return {MAJORITY: round(share, 4)} if share > equal + DEVIATIONS * deviation else {}
