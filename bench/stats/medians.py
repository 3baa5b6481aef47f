"""The median of a few values, of which some may only be known to be too large to be seen, with its exact interval."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from bench.stats.intervals import LEVEL


class Median(NamedTuple):
    """A median with the ends of its interval, which contains it with probability `coverage`.

    Infinity: larger than whatever could be measured.
    """

    value: float
    low: float
    high: float
    coverage: float


def median(values: Sequence[float], level: float = LEVEL) -> Median:
    """Return the median of independent values with its interval from order statistics, which assumes no distribution.

    The k-th value from either end contains the median with probability 1 - 2 P(Bin(n, 1/2) < k) or more (H. A. David,
    H. N. Nagaraja: Order Statistics, 3rd edition, Wiley 2003, section 7.1); k is the largest number that reaches
    `level`. Up to five values do not reach 95 %: their interval is their range, with its own `coverage`. Infinite
    values are allowed (values that were censored). ValueError for none or NaN.
    """
    ordered = sorted(map(float, values))
    n = len(ordered)
    if not n or any(math.isnan(v) for v in ordered):
        raise ValueError(f"expected one number or more, got {list(values)}")
    one, other = ordered[(n - 1) // 2], ordered[n // 2]
    middle = one if one == other else (one + other) / 2
    k, outside = 1, _below(n, 1)
    while k < (n + 1) // 2 and 1 - 2 * _below(n, k + 1) >= level:
        k, outside = k + 1, _below(n, k + 1)
    return Median(middle, ordered[k - 1], ordered[n - k], 1 - 2 * outside)


def _below(n: int, k: int) -> float:
    """Return P(Bin(n, 1/2) < k)."""
    return float(sum(math.comb(n, i) for i in range(k)) / 2**n)
