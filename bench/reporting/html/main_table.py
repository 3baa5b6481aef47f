"""The table of AUCs as a page shows it first: what each of its cells says, and how strongly it is coloured."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bench.analysis.cells import Cell, mean
from bench.core.kinds import Status
from bench.reporting.tables.auc import auc_lines, mean_lines
from bench.reporting.tables.method_table import by_method
from bench.reporting.tables.table import shown


class ShownCell(NamedTuple):
    """A cell as it is shown. `number`: its index in the details of the page; `kind`, `style`: class and style."""

    number: int
    kind: str
    value: str
    lines: Sequence[str] = ()
    style: str = ""


class ShownRow(NamedTuple):
    """A method with its cells and their mean."""

    method: str
    baseline: bool
    cells: Sequence[ShownCell]
    mean: ShownCell


def shown_rows(cells: Sequence[Cell], first: int) -> Iterator[ShownRow]:
    """Return the rows of a table whose cells are numbered from `first` on."""
    numbers = itertools.count(first)
    for method, row in by_method(cells).items():
        yield ShownRow(method, row[0].baseline, [_cell(c, next(numbers)) for c in row], _mean(row))


def _cell(c: Cell, number: int) -> ShownCell:
    if c.reason:
        return ShownCell(number, "na", "–")
    value, *lines = map(shown, auc_lines(c))
    f = c.figure
    if f is None:
        failed = c.lost.keys() & {Status.FAILED, Status.BLOCKED}
        value = Status.FAILED.value if failed else "not run" if c.lost else "no rows"
        return ShownCell(number, "lost", value, lines)
    style = f"{shade(f.auc)};--l:{100 * f.low:.0f};--h:{100 * f.high:.0f};--v:{100 * f.auc:.0f}"
    return ShownCell(number, "low" if f.auc < 0.5 else "", value, lines, style)


def _mean(row: Sequence[Cell]) -> ShownCell:
    auc = mean(row)
    if auc is None:
        return ShownCell(-1, "none", "")
    value, *lines = map(shown, mean_lines(row))
    return ShownCell(-1, "low" if auc < 0.5 else "", value, lines, shade(auc))


def shade(auc: float) -> str:
    """Return how strongly an AUC is coloured, in percent: 0 at 0.5, more with the distance from it."""
    return f"--k:{100 * abs(2 * auc - 1) ** 1.6:.0f}"
