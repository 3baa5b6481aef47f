"""The table of costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.costs import Cost
from bench.reporting.tables.method_table import section_table
from bench.reporting.tables.numbers import percent, three_digits
from bench.reporting.tables.table import Table, cell


def cost_table(costs: Sequence[Cost]) -> Table:
    """Return what each method costs, on one dataset and source architecture."""
    return section_table(
        costs,
        "cost",
        ["method", "accuracy", "lost", "access", "queries", "verify s", "make s", "nets"],
        [list(map(cell, _cost_texts(c))) for c in costs],
        "Test accuracy of the source in percent, and the points lost by a watermark; the strongest access "
        "asked of a suspect, queries per suspect, median seconds to verify one; seconds to make a fingerprint (a "
        "watermark: its source too) with the networks (nets) trained for it.",
        notes=[note for c in costs for note in _cost_notes(c)],
        baselines=next((n for n, c in enumerate(costs) if c.baseline), None),
        label="cost",
    )


def _cost_texts(c: Cost) -> list[str]:
    return [
        c.method,
        percent(c.accuracy),
        "" if c.lost is None else f"{100 * c.lost:.1f}",
        c.access,
        " to ".join(map(str, dict.fromkeys(c.queries or ()))),
        three_digits(c.seconds_to_verify),
        three_digits(c.seconds_to_make),
        "" if c.networks is None else str(c.networks),
    ]


def _cost_notes(c: Cost) -> Iterator[str]:
    if c.networks:
        yield f"networks of {c.method}: {', '.join(c.helper_architectures) or 'the suspects’ architectures'} in turn."
    if c.notes:
        yield f"notes of {c.method}: {', '.join(f'{name} {value}' for name, value in c.notes.items())}."
