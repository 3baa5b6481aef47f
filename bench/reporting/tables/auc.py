"""The tables of AUCs, and of AUCs by number of queries."""

from collections.abc import Mapping, Sequence

from bench.analysis.cell_statistics import of_table
from bench.analysis.cells import AtBudget, Cell
from bench.analysis.means import mean, paper_mean
from bench.analysis.reported import ReportedAuc
from bench.core.canonical import JSON
from bench.reporting.tables.method_table import Column, attack_columns, grouped, method_table, no_figure
from bench.reporting.tables.notes import caption, notes, origin
from bench.reporting.tables.table import CONFIDENCE, Line, Table, cell, interval


def auc_table(cells: Sequence[Cell], run: Mapping[str, JSON]) -> Table:
    """Return the AUCs of one dataset and source architecture: methods × attacks, and the mean as last column."""
    home = [c.attack for c in cells if c.home and c.method == cells[0].method]
    return method_table(
        cells,
        "AUC",
        attack_columns(cells, auc_lines) | {f"mean of {len(home)}": mean_lines},
        caption(run, f"each AUC with its {CONFIDENCE} interval, then the numbers of stolen / irrelevant models"),
        notes=[*origin(run), *notes(cells, home, bool(run["spec"].get("models")))],
        level=2,
        label="auc",
    )


def marks(c: Cell) -> str:
    """Return the marks behind an AUC, which the notes explain."""
    beaten = bool(c.baselines and c.baselines.beaten)
    return "†" * beaten + "*" * c.incomplete + "‡" * bool(c.unlearned) + "§" * c.tied


def auc_lines(c: Cell) -> list[Line]:
    """Write a cell: its AUC with marks, interval, numbers of models, other statistics, and the paper's AUC."""
    if c.reason:
        return cell("–")
    paper = [paper_line(c.paper)] if c.paper else []
    if c.figure is None:
        return [*no_figure(c), *paper]
    f = c.figure
    lines = [Line(f"{f.auc:.2f}{marks(c)}"), *interval(f), Line(f"{f.stolen} / {f.irrelevant}")]
    lines += [Line(f"{s.text(v)} {s.label}") for s in of_table("auc") if (v := s.value(c)) and s.in_table(v)]
    if len(f.by_source) > 1:
        lines += cell("{:.2f} to {:.2f}".format(*f.range))
    return lines + paper


def paper_line(paper: ReportedAuc) -> Line:
    """Write a paper's AUC; it is faint if the paper's networks are others."""
    if paper.same:
        return Line(f"paper {paper.auc:.2f}")
    return Line(f"paper, other networks: {paper.auc:.2f}", faint=True, short=f"paper {paper.auc:.2f}")


def mean_lines(cells: Sequence[Cell]) -> list[Line]:
    """Write the mean of a row, and that of the paper."""
    value, paper = mean(cells), paper_mean(cells)
    if value is None:
        return []
    mark = "*" if any(c.incomplete for c in cells if c.home) else ""
    return [Line(f"{value:.2f}{mark}"), *([paper_line(paper)] if paper else [])]


def budgets_table(points: Sequence[AtBudget]) -> Table:
    """Return the AUCs of one dataset and source architecture by the number of queries."""
    rows: dict[tuple[str, ...], list[Cell]] = grouped(
        ((p.cell.method, f"{p.budget}{' (default)' * p.default}"), p.cell) for p in points
    )
    cells = [p.cell for p in points]
    home = sum(c.home for c in next(iter(rows.values())))
    return method_table(
        cells,
        "AUC by query budget",
        attack_columns(cells, _budget_lines) | {f"mean of {home}": _budget_mean},
        f"The AUC, with its {CONFIDENCE} interval, of methods whose number of queries was set. All other tables are of "
        "the default.",
        heads=("method", "queries"),
        rows=rows,
        label="budgets",
    )


def variants_table(cells: Sequence[Cell]) -> Table | None:
    """Return the AUCs of each variant of an attack; None where no attack has several."""
    variants = grouped((c.attack, v) for c in cells for v in c.by_variant)

    def column(attack: str, variant: str) -> Column:
        def lines(row: Sequence[Cell]) -> list[Line]:
            c = next((c for c in row if c.attack == attack), None)
            if c is None or variant not in c.by_variant:
                return no_figure(c) if c and c.figure is None else []
            f = c.by_variant[variant]
            return [Line(f"{f.auc:.2f}{'*' * c.incomplete}"), *interval(f), Line(f"{f.stolen} / {f.irrelevant}")]

        return lines

    columns = {f"{a}\n{v}": column(a, v) for a, found in variants.items() for v in dict.fromkeys(found)}
    return (
        method_table(
            cells,
            "AUC by variant",
            columns,
            f"The AUC of the suspects stolen with one variant of an attack, with its {CONFIDENCE} interval, then the "
            "numbers of stolen / irrelevant models.",
            label="variants",
        )
        if columns
        else None
    )


def _budget_lines(c: Cell) -> list[Line]:
    if c.reason or c.figure is None:
        return no_figure(c)
    return [Line(f"{c.figure.auc:.2f}{'*' * c.incomplete}"), *interval(c.figure)]


def _budget_mean(row: Sequence[Cell]) -> list[Line]:
    value = mean(row)
    return [] if value is None else cell(f"{value:.2f}")
