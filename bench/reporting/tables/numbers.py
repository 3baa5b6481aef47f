"""Numbers as text."""

from __future__ import annotations

from bench.stats.intervals import LEVEL, AucEstimate
from bench.stats.rates import Summary

CONFIDENCE = f"{100 * LEVEL:g} %"
"""The level of every interval."""


def interval(figure: AucEstimate) -> str:
    """Write the ends of an interval."""
    return f"[{figure.low:.2f}, {figure.high:.2f}]"


def signed(value: float) -> str:
    """Write a difference."""
    return f"{value:+.2f}".replace("-", "−")


def percent(accuracy: Summary | None) -> str:
    """Write a mean accuracy in percent, with its standard deviation if there are several."""
    if accuracy is None:
        return ""
    spread = f" ± {100 * accuracy.sd:.1f}" if accuracy.n > 1 else ""
    return f"{100 * accuracy.mean:.1f}{spread}"


def three_digits(value: float | None) -> str:
    """Write a number with three digits; None as nothing."""
    return "" if value is None else f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def counted(count: int, noun: str) -> str:
    """Write a count with its noun in the singular or the plural."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
