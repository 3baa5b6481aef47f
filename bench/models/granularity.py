"""How finely answers are rounded: what servers do to them, read off the numbers themselves."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.models.kinds import Rounding

MOST_DIGITS = 6
"""Decimal digits that are looked for; float32 has seven."""
CLOSE = 4
"""Distance from a rounded value, in units of the last place of float32, of what counts as rounded."""
FEWEST = 8
"""Values that are neither 0 nor 1, from which rounding is concluded."""
SMALL = 0.05
"""Share of a grid's step that errors of float32 may have, so that a value by chance is on the grid once in ten."""
LEVELS = 255
"""Steps between the least and the greatest number of 8 bits."""
USUAL_STEPS = tuple(1 / n for n in (127, 127.5, 128, 255, 256))
"""Of probabilities in 8 bits whose greatest value is 1, with a sign and without, by what ONNX Runtime 1.32 makes."""
OFF_STEP = 0.02
"""Share of a step by which a whole number of steps may be missed: float32 in the numbers and in the step itself."""
TINY = 1e-30
"""Smallest probability of which a logarithm is looked at."""


@dataclass(frozen=True)
class Granularity:
    """How answers are rounded, to how many decimal digits, and the largest error of one number that follows."""

    kind: Rounding
    digits: int = 0
    error: float = 0.0

    def sum_error(self, classes: int) -> float:
        """Return the largest distance of a sum of `classes` rounded probabilities from 1."""
        return self.error * classes if self.kind == Rounding.DECIMALS else self.error


FINE = Granularity(Rounding.NONE)


def granularity(answers: NDArray[np.floating], fewest: int = FEWEST) -> Granularity:
    """Return how numbers of any shape are rounded; FINE if no rounding is seen, or too few numbers to see it.

    With `fewest` = 1 it is the coarsest rounding that is possible, which of few numbers may be chance. Zeros and ones
    fit every grid. If they are all there is, only labels are answered (`Rounding.LABELS`).
    """
    values = np.asarray(answers, dtype=np.float32).reshape(-1)
    values = values[np.isfinite(values)]
    telling = values[(values != 0) & (values != 1)]
    if len(values) and not len(telling):
        return Granularity(Rounding.LABELS)
    if len(telling) < fewest:
        return FINE
    exact = telling.astype(np.float64)
    for digits in range(1, MOST_DIGITS + 1):
        if _is_rounded(exact, np.abs(exact), digits, fewest):
            return Granularity(Rounding.DECIMALS, digits, 0.5 * 10.0**-digits)
    if not np.any(telling.view(np.uint32) & 0xFFFF):
        return Granularity(Rounding.BFLOAT16, error=2.0**-8)
    if np.all((telling > 0) & (telling < 1)):
        logarithms = np.log(exact[exact > TINY])
        for digits in range(1, MOST_DIGITS + 1):
            if _is_rounded(logarithms, 1 + np.abs(logarithms), digits, fewest):
                return Granularity(Rounding.LOGARITHMS, digits, 0.5 * 10.0**-digits)
    return FINE


def eight_bit_step(answers: NDArray[np.floating]) -> float:
    """Return the step of probabilities that a network in 8-bit integers answers with; 0 for finer ones.

    Of few numbers the usual steps are looked for only: others, from a calibration, might be chance.
    """
    values = np.unique(np.asarray(answers, dtype=np.float32)).astype(np.float64)
    values = values[values > 0]
    found = [float(np.diff(values, prepend=0.0).min())] if len(values) >= FEWEST else []
    for step in (*USUAL_STEPS, *found):
        steps = values / step
        if len(values) and steps[-1] <= LEVELS + OFF_STEP and np.all(np.abs(steps - np.round(steps)) <= OFF_STEP):
            return step
    return 0.0


def _is_rounded(values: NDArray[np.float64], scale: NDArray[np.float64], digits: int, fewest: int) -> bool:
    """Return True if values have so many digits, but for errors of float32 in numbers of a scale.

    A value tells something if such errors are small compared with the grid; so many have to.
    """
    allowed, grid = CLOSE * np.finfo(np.float32).eps * scale, 10.0**-digits
    values, allowed = values[allowed <= SMALL * grid], allowed[allowed <= SMALL * grid]
    return len(values) >= fewest and bool(np.all(np.abs(values - np.round(values, digits)) <= allowed))
