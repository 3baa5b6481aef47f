"""A table as plain data, before it is typeset, and the numbers in it as text."""

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench.core.canonical import JSON
from bench.stats.intervals import LEVEL, AucEstimate
from bench.stats.rates import Summary

CONFIDENCE = f"{100 * LEVEL:g} %"
"""The level of every interval."""


class Line(NamedTuple):
    """A line of a cell. A `faint` line is less than a result; `short` replaces its text in narrow columns."""

    text: str
    faint: bool = False
    short: str = ""


@dataclass(frozen=True)
class Table:
    """A table whose cells are sequences of lines.

    Rules separate the rows of methods that look at weights, from number `white_box` on, and of the baselines, from
    number `baselines` on. `label` identifies the table among those of a results folder: dataset, source architecture,
    subject. `level` is that of its heading in Markdown. Where a table is divided, each part has the first `leading`
    columns.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Sequence[Line]]]
    caption: str = ""
    notes: Sequence[str] = ()
    baselines: int | None = None
    label: tuple[str, ...] = ()
    level: int = 2
    white_box: int | None = None
    leading: int = 1

    @property
    def rules(self) -> dict[int, str]:
        """Return what the rows below each rule are, by the number of the first of them."""
        starts = ((self.white_box, "white box"), (self.baselines, "baselines"))
        return {n: name for n, name in starts if n is not None and 0 < n < len(self.rows)}


def cell(*texts: str) -> list[Line]:
    """Make a cell of plain lines."""
    return [Line(t) for t in texts]


def flat_rows(
    rows: Sequence[Sequence[Sequence[str]]], columns: Sequence[int], rules: Container[int]
) -> tuple[list[list[str]], dict[int, bool]]:
    """Return the physical rows, one for each line of a row's highest cell, and the gaps before them by number.

    A gap separates rows of several lines; it is True for a rule. No physical row is blank: tabulate would omit it.
    """
    physical: list[list[str]] = []
    gaps = {}
    high = any(len(row[c]) > 1 for row in rows for c in columns)
    for n, row in enumerate(rows):
        if n and (high or n in rules):
            gaps[len(physical)] = n in rules
        height = max(1, *(len(row[c]) for c in columns))
        lines = [[row[c][k] if k < len(row[c]) else "" for c in columns] for k in range(height)]
        physical += [cells for cells in lines if any(cells)]
    return physical, gaps


def shown(x: Line) -> str:
    """Write a line as plain text."""
    return f"({x.short or x.text})" if x.faint and x.text else x.text


def column_groups(table: Table, width: int) -> list[list[int]]:
    """Divide the columns into as few parts as fit into `width`; the leading columns are in each of them."""
    return _divided([column_width(table, column) for column in range(len(table.header))], width, table.leading)


def row_heights(table: Table) -> list[float]:
    """Return the lines of each row; a gap between rows counts as half a line."""
    heights = [max(1, *map(len, row)) for row in table.rows]
    gap = 0.5 if max(heights, default=1) > 1 else 0
    return [lines + gap for lines in heights]


def row_groups(table: Table, height: int) -> list[list[int]]:
    """Divide the rows into as few parts as have at most `height` lines."""
    return _divided(row_heights(table), height)


def _divided(sizes: Sequence[float], room: int, leading: int = 0) -> list[list[int]]:
    """Divide into as few parts as fit into `room`, of sizes as equal as may be."""
    count = len(_packed(sizes, leading, room))
    return next(parts for limit in range(1, room + 1) if len(parts := _packed(sizes, leading, limit)) == count)


def column_width(table: Table, column: int) -> int:
    """Return the number of characters that a column takes."""
    title = max(map(len, table.header[column].split("\n"))) + 2  # tabulate gives headers more room
    return 2 + max(title, *(len(shown(x)) for row in table.rows for x in row[column]), 0)


def _packed(sizes: Sequence[float], leading: int, limit: int) -> list[list[int]]:
    parts = [[*range(leading)]]
    free = room = limit - sum(sizes[:leading])
    for number in range(leading, len(sizes)):
        if sizes[number] > free and len(parts[-1]) > leading:
            parts.append([*range(leading)])
            free = room
        parts[-1].append(number)
        free -= sizes[number]
    return parts


def interval(figure: AucEstimate) -> list[Line]:
    """Write the ends of an interval; that of one source says so."""
    ends = f"[{figure.low:.2f}, {figure.high:.2f}"
    return cell(f"{ends};", "this source only]") if len(figure.by_source) == 1 else cell(f"{ends}]")


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
    return "" if value is None else f"{value:.3g}" if value < 999.5 else f"{value:.0f}"


def listed(values: Mapping[str, JSON]) -> str:
    """Write values with their names."""
    return ", ".join(f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in values.items())


def counted(count: int, noun: str) -> str:
    """Write a count with its noun in the singular or the plural."""
    return f"{count:,} {noun}{'s' * (count != 1)}"
