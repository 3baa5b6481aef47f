"""Write tables as Markdown, as text for a terminal, and as LaTeX, whatever they are about."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tabulate import TableFormat

WIDTH = 100
"""Characters of a line on a terminal: wider tables are cut into several, wider paragraphs are wrapped."""


class Line(NamedTuple):
    """A line of a cell. `faint` ones are less than a result; `short` stands instead where room is scarce."""

    text: str
    faint: bool = False
    short: str = ""


@dataclass(frozen=True)
class Table:
    """A table with what stands around it. A cell is a sequence of lines; the first column names the row.

    The rows from number `floors` on stand below a line. `label` is what LaTeX refers to it by,
    `level` that of its heading in Markdown.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Sequence[Line]]]
    caption: str = ""
    notes: Sequence[str] = field(default_factory=tuple)
    floors: int | None = None
    label: str = ""
    level: int = 2

    @property
    def line(self) -> int | None:
        """Give the row above which the line stands; None where all rows are of one kind."""
        return self.floors if self.floors is not None and 0 < self.floors < len(self.rows) else None


def cell(*texts: str) -> list[Line]:
    """Make a cell of plain lines."""
    return [Line(t) for t in texts]


# --- Markdown -----------------------------------------------------------------------------------------------------

MARKDOWN = re.compile(r"([\\`*<>\[\]|~$&])")
BELOW = "*floors*"


def markdown_escaped(text: str) -> str:
    """Escape what Markdown (GitHub's) would take for markup. An underscore within a word means nothing there."""
    text = MARKDOWN.sub(r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def markdown(table: Table) -> str:
    """Write a table as Markdown, under a heading."""
    from tabulate import tabulate

    def join(lines: Sequence[Line]) -> str:
        texts = [(markdown_escaped(x.text), x.faint) for x in lines if x.text]
        return "<br>".join(f"*{t}*" if faint else t for t, faint in texts)

    rows = [[join(c) for c in row] for row in table.rows]
    if table.line is not None:
        rows.insert(table.line, [BELOW, *[""] * (len(table.header) - 1)])
    header = [markdown_escaped(h).replace("\n", "<br>") for h in table.header]
    body = tabulate(rows, header, tablefmt="pipe", disable_numparse=True)
    parts = [f"{'#' * table.level} {markdown_escaped(table.title)}", body]
    parts += [markdown_escaped(table.caption)] if table.caption else []
    parts += ["\n".join(f"- {markdown_escaped(n)}" for n in table.notes)] if table.notes else []
    return "\n\n".join(parts) + "\n"


# --- text ---------------------------------------------------------------------------------------------------------


def text(table: Table) -> str:
    """Write a table for a terminal of WIDTH characters: cut into several where it is wider."""
    parts = [table.title, "=" * len(table.title)]
    parts += ["\n\n".join(_text_grid(table, columns) for columns in _cuts(table))]
    wrap = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
    if table.caption:
        parts += ["", wrap.fill(table.caption)]
    hanging = textwrap.TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    if table.notes:
        parts += ["", *(hanging.fill(f"- {n}") for n in table.notes)]
    return "\n".join(parts) + "\n"


def _flat(rows: Sequence[Sequence[Sequence[str]]], columns: Sequence[int]) -> list[list[str]]:
    """Give the physical rows of a row: one for each line of its highest cell."""
    result = []
    for row in rows:
        height = max(len(row[c]) for c in columns)
        result += [[row[c][n] if n < len(row[c]) else "" for c in columns] for n in range(max(1, height))]
    return result


def _shown(x: Line) -> str:
    return f"({x.short or x.text})" if x.faint and x.text else x.text


def _cuts(table: Table) -> list[list[int]]:
    """Divide the columns so that each part, led by the first column, fits into WIDTH."""

    def width(column: int) -> int:
        texts = [*table.header[column].split("\n"), *(_shown(x) for row in table.rows for x in row[column])]
        return 2 + max(map(len, texts), default=0)

    parts: list[list[int]] = [[0]]
    room = WIDTH - width(0)
    for column in range(1, len(table.header)):
        if width(column) > room and len(parts[-1]) > 1:
            parts.append([0])
            room = WIDTH - width(0)
        parts[-1].append(column)
        room -= width(column)
    return parts


def _text_grid(table: Table, columns: Sequence[int]) -> str:
    from tabulate import tabulate

    rows = [[[_shown(x) for x in c] for c in row] for row in table.rows]
    high = any(len(c) > 1 for row in rows for c in row)
    above, below = rows[: table.line], rows[table.line :] if table.line is not None else []
    physical: list[list[str]] = []
    for n, row in enumerate((*above, *below)):
        if high and n and n != table.line:
            physical.append([""] * len(columns))
        physical += _flat([row], columns)
        if n + 1 == table.line:
            at = len(physical)
    lines = tabulate(physical, [table.header[c] for c in columns], tablefmt="simple", disable_numparse=True).split("\n")
    if table.line is not None:
        rule = next(n for n, line in enumerate(lines) if set(line) <= {"-", " "} and "-" in line)
        lines.insert(rule + 1 + at, lines[rule])
    return "\n".join(line.rstrip() for line in lines)


# --- LaTeX --------------------------------------------------------------------------------------------------------

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "–": "--", "—": "---", "…": r"\dots{}", "×": r"$\times$", "±": r"$\pm$",
    "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "[": "{[}", "]": "{]}",
}  # fmt: skip
"""Brackets are grouped: one after a `\\\\` would be read as its argument."""


def latex_escaped(text: str) -> str:
    """Escape text for LaTeX; characters beyond Latin that an ordinary document cannot print become `?`."""
    return "".join(LATEX.get(c, c if c.isascii() or 0xA0 < ord(c) < 0x180 else "?") for c in text)


def _booktabs(columns: int) -> TableFormat:
    from tabulate import DataRow, TableFormat
    from tabulate import Line as Rule

    def rule(text: str) -> Rule:
        return Rule(text, "", "", "")

    row = DataRow("", " & ", r" \\")
    return TableFormat(
        lineabove=rule(rf"\begin{{tabular}}{{l{'r' * (columns - 1)}}}" + "\n" + r"\toprule"),
        linebelowheader=rule(r"\midrule"), linebetweenrows=None, linebelow=rule("\\bottomrule\n\\end{tabular}"),
        headerrow=row, datarow=row, padding=0, with_header_hide=None,
    )  # fmt: skip


def latex(table: Table) -> str:
    """Write a table as LaTeX to be read by `\\input`: it needs the package booktabs and no other."""
    from tabulate import tabulate

    def shown(x: Line) -> str:
        return rf"\textit{{({latex_escaped(x.short or x.text)})}}" if x.faint and x.text else latex_escaped(x.text)

    physical: list[list[str]] = []
    gaps = {}
    high = any(len(c) > 1 for row in table.rows for c in row)
    for n, row in enumerate(table.rows):
        if n and (high or n == table.line):
            gaps[len(physical)] = r"\midrule" if n == table.line else r"\addlinespace"
        physical += _flat([[[shown(x) for x in c] for c in row]], range(len(table.header)))
    header = [latex_escaped(h.replace("\n", " ")) for h in table.header]
    lines = tabulate(physical, header, tablefmt=_booktabs(len(header)), disable_numparse=True).split("\n")
    first = lines.index(r"\midrule") + 1
    for at in sorted(gaps, reverse=True):
        lines.insert(first + at, gaps[at])
    body = [latex_escaped(" ".join((table.caption, *table.notes)).strip())]
    return "\n".join([
        r"\begin{table}", r"\centering\small\setlength{\tabcolsep}{3pt}",
        *[line.rstrip() for line in lines],
        rf"\caption{{{latex_escaped(table.title)}. {body[0]}}}",
        *([rf"\label{{tab:{re.sub(r'[^a-z0-9]+', '-', table.label.lower())}}}"] if table.label else []),
        r"\end{table}", "",
    ])  # fmt: skip
