"""The median with its exact interval: against simulated samples, and with values that nobody could measure."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from bench.stats.medians import median

VALUES = st.lists(st.floats(-10, 10) | st.just(math.inf), min_size=1, max_size=40)


@given(VALUES)
def test_the_median_is_numpys_and_lies_in_its_interval(values):
    found = median(values)
    finite = [v if v < math.inf else 1e300 for v in values]
    expected = float(np.median(finite))
    assert found.value == (math.inf if expected > 1e299 else pytest.approx(expected))
    assert found.low <= found.value <= found.high
    assert {found.low, found.high} <= set(values)


@pytest.mark.parametrize("n", range(1, 60))
def test_the_interval_is_the_narrowest_that_reaches_the_level(n):
    found = median(range(n))
    k = int(found.low) + 1
    assert found.high == n - k
    assert found.coverage == pytest.approx(1 - 2 * binom.cdf(k - 1, n, 0.5), abs=1e-12)
    assert found.coverage >= 0.95 or k == 1
    narrower = 1 - 2 * binom.cdf(k, n, 0.5)
    assert narrower < 0.95 or 2 * (k + 1) > n + 1


def test_five_values_are_covered_with_less_than_95_percent():
    assert [round(median(range(n)).coverage, 4) for n in (1, 2, 3, 4, 5, 6)] == [0, 0.5, 0.75, 0.875, 0.9375, 0.9688]


def test_as_many_intervals_as_promised_contain_the_median():
    random = np.random.default_rng(0)
    for n in (5, 6, 11):
        drawn = random.exponential(size=(4000, n))
        held = [found.low <= math.log(2) <= found.high for found in map(median, drawn)]
        assert np.mean(held) == pytest.approx(median(range(n)).coverage, abs=0.015)


def test_unknown_values_are_larger_than_all_others():
    assert median([0.1, 0.2, math.inf])[:3] == (0.2, 0.1, math.inf)
    assert median([0.1, math.inf, math.inf]).value == math.inf
    assert median([0.1, math.inf]).value == math.inf
    assert median([math.inf] * 3)[:3] == (math.inf,) * 3


@pytest.mark.parametrize("values", [[], [math.nan], [0.1, math.nan]])
def test_nothing_has_no_median(values):
    with pytest.raises(ValueError, match="expected one number or more"):
        median(values)
