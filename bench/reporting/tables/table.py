"""A table as plain data, before it is typeset."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    pass


class Line(NamedTuple):
    """A line of a cell. `faint` ones are less than a result; `short` stands instead where room is scarce."""

    text: str
    faint: bool = False
    short: str = ""


@dataclass(frozen=True)
class Table:
    """A table with what stands around it. A cell is a sequence of lines; the first column names the row.

    The rows from number `baselines` on stand below a line. `label` is what LaTeX refers to it by,
    `level` that of its heading in Markdown.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Sequence[Line]]]
    caption: str = ""
    notes: Sequence[str] = field(default_factory=tuple)
    baselines: int | None = None
    label: str = ""
    level: int = 2

    @property
    def line(self) -> int | None:
        """Give the row above which the line stands; None where all rows are of one kind."""
        return self.baselines if self.baselines is not None and 0 < self.baselines < len(self.rows) else None


def cell(*texts: str) -> list[Line]:
    """Make a cell of plain lines."""
    return [Line(t) for t in texts]


def flat_rows(
    rows: Sequence[Sequence[Sequence[str]]], columns: Sequence[int], line: int | None
) -> tuple[list[list[str]], dict[int, bool]]:
    """Give the physical rows, one for each line of a row's highest cell, and before which of them there is a gap.

    Rows of several lines are set apart, and baselines by a rule: then the gap is True. No physical row is blank, for
    tabulate would leave it out.
    """
    physical: list[list[str]] = []
    gaps = {}
    high = any(len(row[c]) > 1 for row in rows for c in columns)
    for n, row in enumerate(rows):
        if n and (high or n == line):
            gaps[len(physical)] = n == line
        height = max(1, *(len(row[c]) for c in columns))
        lines = [[row[c][k] if k < len(row[c]) else "" for c in columns] for k in range(height)]
        physical += [cells for cells in lines if any(cells)]
    return physical, gaps


def shown(x: Line) -> str:
    return f"({x.short or x.text})" if x.faint and x.text else x.text


def column_groups(table: Table, width: int) -> list[list[int]]:
    """Divide the columns into as few parts as fit into `width`, each led by the first column and none much wider."""
    widths = [column_width(table, column) for column in range(len(table.header))]
    parts = _packed(widths, width)
    return next(packed for limit in range(1, width + 1) if len(packed := _packed(widths, limit)) == len(parts))


def column_width(table: Table, column: int) -> int:
    title = max(map(len, table.header[column].split("\n"))) + 2  # tabulate gives headers more room
    return 2 + max(title, *(len(shown(x)) for row in table.rows for x in row[column]), 0)


def _packed(widths: Sequence[int], limit: int) -> list[list[int]]:
    parts: list[list[int]] = [[0]]
    room = limit - widths[0]
    for column in range(1, len(widths)):
        if widths[column] > room and len(parts[-1]) > 1:
            parts.append([0])
            room = limit - widths[0]
        parts[-1].append(column)
        room -= widths[column]
    return parts
