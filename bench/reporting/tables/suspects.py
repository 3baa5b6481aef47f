"""The tables of described suspects: their scores beside those of the irrelevant models."""

from collections.abc import Sequence
from itertools import groupby

from bench.analysis.suspects import Standing
from bench.core.errors import capped
from bench.reporting.tables.method_table import grouped
from bench.reporting.tables.table import Line, Table, cell

CAPTION = (
    "Score, higher = more probably stolen; below it, how many of the irrelevant models score at least as high. This is "
    "no verdict: with few irrelevant models, a high score says little."
)

LEAST, MOST = 0.01, 1e6
"""The sizes of scores between which four digits after the point show them."""
MOST_NAMED = 10
"""Suspects without a score that a note names; the others are counted."""


def suspects_tables(standings: Sequence[Standing]) -> list[Table]:
    """Return a table for each source: a row for each suspect, a column for each method."""

    def place(s: Standing) -> tuple[str, str, int]:
        return s.dataset, s.source_architecture, s.source_seed

    tables = []
    for (dataset, architecture, seed), group in groupby(sorted(standings, key=place), key=place):
        found = list(group)
        methods = list(dict.fromkeys(s.method for s in found))
        rows = []
        for suspect, own in grouped((s.suspect, s) for s in found).items():
            by_method = {s.method: s for s in own}
            rows.append([cell(suspect), *(_lines(by_method.get(m)) for m in methods)])
        source = found[0].source or f"{architecture}, seed {seed}"
        label = (dataset, architecture, str(seed), "suspects")
        title = f"{dataset}, {source}: suspects"
        tables.append(Table(title, ["suspect", *methods], rows, CAPTION, _notes(found), label=label, level=3))
    return tables


def _notes(found: Sequence[Standing]) -> list[str]:
    """Return each reason for a missing score once for a method, with its suspects."""
    reasons = grouped(((s.method, s.reason), s.suspect) for s in found if s.score is None)
    named = {key: ", ".join(capped(suspects, MOST_NAMED)) for key, suspects in reasons.items()}
    return capped([f"{method} ({names}): {reason}" for (method, reason), names in named.items()])


def _lines(s: Standing | None) -> list[Line]:
    if s is None or s.score is None:
        return cell("none")
    digits = ".4f" if s.score == 0 or LEAST <= abs(s.score) < MOST else ".4g"
    return cell(f"{s.score:{digits}}", f"{s.at_least} of {s.irrelevant}")
