"""The shape that most tables share: a row per method, a column per attack, the baselines below a line."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from bench.analysis.accuracies import Accuracy
from bench.analysis.cells import Cell
from bench.analysis.costs import Cost
from bench.reporting.tables.table import Line, Table, cell

Key = TypeVar("Key")
Value = TypeVar("Value")
Results: TypeAlias = Sequence[Cell] | Sequence[Cost] | Sequence[Accuracy]
Column: TypeAlias = Callable[[Sequence[Cell]], list[Line]]
"""From the cells of a row, the lines that the row has in this column."""


def section_title(results: Results) -> str:
    """Name the dataset and the source architecture that all of the results share."""
    return f"{results[0].dataset}, source {results[0].source_architecture}"


def section_table(
    results: Results,
    subject: str,
    header: Sequence[str],
    rows: Sequence[Sequence[Sequence[Line]]],
    caption: str,
    *,
    notes: Sequence[str] = (),
    baselines: int | None = None,
    label: str = "",
    level: int = 3,
    white_box: int | None = None,
    leading: int = 1,
) -> Table:
    """Make a table of one dataset and source architecture."""
    where, title = (results[0].dataset, results[0].source_architecture, label), f"{section_title(results)}: {subject}"
    return Table(title, header, rows, caption, notes, baselines, where, level, white_box, leading)


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """Collect the values of each key, in order."""
    groups: dict[Key, list[Value]] = {}
    for key, value in pairs:
        groups.setdefault(key, []).append(value)
    return groups


def by_method(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Group cells by their method, in order."""
    return grouped((c.method, c) for c in cells)


def attack_columns(cells: Sequence[Cell], lines: Callable[[Cell], list[Line]]) -> dict[str, Column]:
    """Return a column per attack. Below an attack that moves to another dataset stands that dataset."""
    moved = {c.attack: c.suspect_dataset for c in cells if not c.home and c.suspect_dataset}

    def column(attack: str) -> Column:
        return lambda row: next((lines(c) for c in row if c.attack == attack), [])

    attacks = dict.fromkeys(c.attack for c in cells)
    return {f"{a}\n({moved[a]})" if a in moved else a: column(a) for a in attacks}


def no_figure(c: Cell) -> list[Line]:
    """Return the mark of a cell without an AUC."""
    return cell("–" if c.reason else "not trained" if c.untrained else "*")


def method_table(
    cells: Sequence[Cell],
    subject: str,
    columns: Mapping[str, Column],
    caption: str,
    *,
    label: str = "",
    heads: Sequence[str] = ("method",),
    rows: Mapping[tuple[str, ...], Sequence[Cell]] | None = None,
    notes: Sequence[str] = (),
    level: int = 3,
) -> Table:
    """Make a table of methods. `rows`: the cells by what stands below `heads`; by default, by method."""
    rows = rows or {(method,): row for method, row in by_method(cells).items()}
    lines = [[*map(cell, names), *(column(row) for column in columns.values())] for names, row in rows.items()]
    first = next((n for n, row in enumerate(rows.values()) if row[0].baseline), None)
    white = next((n for n, row in enumerate(rows.values()) if row[0].white_box and not row[0].baseline), None)
    return section_table(
        cells,
        subject,
        [*heads, *columns],
        lines,
        caption,
        notes=notes,
        baselines=first,
        label=label,
        level=level,
        white_box=white,
        leading=len(heads),
    )
