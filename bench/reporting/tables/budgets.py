"""The table of AUCs by number of queries."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.budgets import AtBudget
from bench.analysis.cells import Cell, mean
from bench.reporting.tables.method_table import attack_columns, method_table, no_figure
from bench.reporting.tables.numbers import CONFIDENCE, interval
from bench.reporting.tables.table import Line, Table, cell


def budgets_table(points: Sequence[AtBudget]) -> Table:
    """Return the AUCs of one dataset and source architecture by the number of queries."""
    rows: dict[tuple[str, ...], list[Cell]] = {}
    for p in points:
        rows.setdefault((p.cell.method, f"{p.budget}{' (default)' * p.default}"), []).append(p.cell)
    cells = [p.cell for p in points]
    home = sum(c.home for c in next(iter(rows.values())))
    return method_table(
        cells,
        "AUC by query budget",
        attack_columns(cells, _auc_lines) | {f"mean of {home}": _mean_lines},
        f"The AUC, with its {CONFIDENCE} interval, of methods whose number of queries was set. All other tables are of "
        "the default.",
        heads=("method", "queries"),
        rows=rows,
        label="budgets",
    )


def _auc_lines(c: Cell) -> list[Line]:
    if c.reason or c.figure is None:
        return no_figure(c)
    return cell(f"{c.figure.auc:.2f}{'*' * (c.status == 'incomplete')}", interval(c.figure))


def _mean_lines(row: Sequence[Cell]) -> list[Line]:
    value = mean(row)
    return [] if value is None else cell(f"{value:.2f}")
