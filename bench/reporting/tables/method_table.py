"""The shape that most tables share: a row per method, a column per attack, the baselines below a line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from bench.analysis.cells import Cell
from bench.reporting.tables.table import Line, Table, cell

Column: TypeAlias = Callable[[Sequence[Cell]], list[Line]]
"""From the cells of a row, the lines that the row has in this column."""


class OfSource(Protocol):
    """A result that belongs to a dataset and a source architecture."""

    @property
    def dataset(self) -> str:
        """Name the dataset."""
        ...

    @property
    def source_architecture(self) -> str:
        """Name the architecture."""
        ...


def section_title(results: Sequence[OfSource]) -> str:
    """Name the dataset and the source architecture that all of the results share."""
    return f"{results[0].dataset}, source {results[0].source_architecture}"


def section_label(results: Sequence[OfSource], subject: str) -> str:
    """Return what LaTeX refers to a table by."""
    return f"{results[0].dataset}-{results[0].source_architecture}-{subject}"


def by_method(cells: Iterable[Cell]) -> dict[str, list[Cell]]:
    """Group cells by their method, in order."""
    rows: dict[str, list[Cell]] = {}
    for c in cells:
        rows.setdefault(c.method, []).append(c)
    return rows


def attack_columns(cells: Sequence[Cell], lines: Callable[[Cell], list[Line]]) -> dict[str, Column]:
    """Return a column per attack. Below an attack that moves to another dataset stands that dataset."""
    moved = {c.attack: c.suspect_dataset for c in cells if not c.home and c.suspect_dataset}

    def column(attack: str) -> Column:
        return lambda row: next((lines(c) for c in row if c.attack == attack), [])

    attacks = dict.fromkeys(c.attack for c in cells)
    return {f"{a}\n({moved[a]})" if a in moved else a: column(a) for a in attacks}


def no_figure(c: Cell) -> list[Line]:
    """Return the mark of a cell without an AUC."""
    return cell("–" if c.reason else "*")


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
    """Make a table of one dataset and source architecture. `rows`: the cells by what stands below `heads`."""
    rows = rows or {(method,): row for method, row in by_method(cells).items()}
    return Table(
        title=f"{section_title(cells)}: {subject}",
        header=[*heads, *columns],
        rows=[[*map(cell, names), *(lines(row) for lines in columns.values())] for names, row in rows.items()],
        caption=caption,
        notes=notes,
        baselines=next((n for n, row in enumerate(rows.values()) if row[0].baseline), None),
        label=section_label(cells, label),
        level=level,
    )
