"""The table of AUCs by number of queries."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.budgets import AtBudget
from bench.analysis.cells import Cell, mean
from bench.reporting.tables.grouping import attacks, place
from bench.reporting.tables.table import Line, Table, cell


def budgets_table(points: Sequence[AtBudget]) -> Table:
    """Lay out the AUCs of one dataset and source architecture by the number of queries."""
    rows: dict[tuple[str, int, bool], list[Cell]] = {}
    for p in points:
        rows.setdefault((p.cell.method, p.budget, p.default), []).append(p.cell)
    several = [p.cell for p in points]
    home = sum(c.home for c in next(iter(rows.values())))

    def lines(c: Cell) -> list[Line]:
        if c.reason or c.figure is None:
            return cell("–" if c.reason else "*")
        mark = "*" if c.status == "incomplete" else ""
        return cell(f"{c.figure.auc:.2f}{mark}", f"[{c.figure.low:.2f}, {c.figure.high:.2f}]")

    def average(row: Sequence[Cell]) -> list[Line]:
        value = mean(row)
        return [] if value is None else cell(f"{value:.2f}")

    return Table(
        title=f"{place(several)}: AUC by query budget",
        header=["method", "queries", *attacks(several), f"mean of {home}"],
        rows=[
            [cell(method), cell(f"{budget}{' (default)' * default}"), *map(lines, row), average(row)]
            for (method, budget, default), row in rows.items()
        ],
        caption="The AUC, with its 95 % interval, of methods whose number of queries was set. All other tables are of "
        "the default.",
        baselines=next((n for n, row in enumerate(rows.values()) if row[0].baseline), None),
        level=3,
        label=f"{several[0].dataset}-{several[0].source_architecture}-budgets",
    )
