import math

import pytest

from bench.stats.differences import difference_interval, holm
from bench.stats.intervals import AucEstimate


def one_cell(value, low, high):
    return AucEstimate(value, low, high, 20, 20, (value,), True)


def test_the_interval_of_a_difference():
    a, b = one_cell(0.9, 0.8, 0.95), one_cell(0.7, 0.55, 0.82)
    low, high = difference_interval(a, b)
    assert low == pytest.approx(0.2 - math.hypot(0.1, 0.12)) and high == pytest.approx(0.2 + math.hypot(0.05, 0.15))
    back = difference_interval(b, a)
    assert back == pytest.approx((-high, -low))
    same = one_cell(1.0, 0.8, 1.0)
    assert difference_interval(same, same) == pytest.approx((-0.2, 0.2))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.9]) == pytest.approx([1, 1, 1])
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([]).size == 0
    for bad in ([math.nan], [1.2], [[0.1]]):
        with pytest.raises(ValueError, match="p-values"):
            holm(bad)
