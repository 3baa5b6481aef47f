"""The share of the most frequent class is noted where classes are unequal."""

import numpy as np
import pytest

from bench.stats.majority import majority_note


@pytest.mark.parametrize(
    ("counts", "note"),
    [
        ((100, 100, 100), {}),
        ((101, 99, 100), {}),  # an odd image
        ((32, 28, 30), {}),  # as draws are
        ((180, 60, 60), {"majority": 0.6}),
        ((100, 3, 2), {"majority": 0.9524}),
        ((0, 60, 60), {"majority": 0.5}),  # a class has no image
        ((0, 0, 7), {"majority": 1.0}),
        ((0, 0, 0), {}),
    ],
)
def test_the_largest_share_is_noted_unless_classes_are_about_equally_frequent(counts, note):
    labels = np.repeat(np.arange(3), counts)
    assert majority_note(labels, 3) == note
    assert majority_note(np.random.default_rng(0).permutation(labels), 3) == note
