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
PAGE = 110
"""Characters of the smallest letters that a printed line holds: a wider table is cut into several in LaTeX."""


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

MARKDOWN = re.compile(r"([\\`*<>|~$&]|(?<=\])[(\[])")
BELOW = "*floors*"


def markdown_escaped(text: str) -> str:
    """Escape what Markdown (GitHub's) would take for markup; neither `extract_l` nor `[0.9, 1.0]` is."""
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
    parts += ["\n\n".join(_text_grid(table, columns) for columns in _cuts(table, WIDTH))]
    wrap = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
    if table.caption:
        parts += ["", wrap.fill(table.caption)]
    hanging = textwrap.TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    if table.notes:
        parts += ["", *(hanging.fill(f"- {n}") for n in table.notes)]
    return "\n".join(parts) + "\n"


def _flat(
    rows: Sequence[Sequence[Sequence[str]]], columns: Sequence[int], line: int | None
) -> tuple[list[list[str]], dict[int, bool]]:
    """Give the physical rows, one for each line of a row's highest cell, and before which of them there is a gap.

    Rows of several lines are set apart, and floors by a rule: then the gap is True. No physical row is blank, for
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


def _shown(x: Line) -> str:
    return f"({x.short or x.text})" if x.faint and x.text else x.text


def _cuts(table: Table, width: int) -> list[list[int]]:
    """Divide the columns into as few parts as fit into `width`, each led by the first column and none much wider."""
    widths = [_width(table, column) for column in range(len(table.header))]
    parts = _packed(widths, width)
    return next(packed for limit in range(1, width + 1) if len(packed := _packed(widths, limit)) == len(parts))


def _width(table: Table, column: int) -> int:
    title = max(map(len, table.header[column].split("\n"))) + 2  # tabulate gives headers more room
    return 2 + max(title, *(len(_shown(x)) for row in table.rows for x in row[column]), 0)


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


def _text_grid(table: Table, columns: Sequence[int]) -> str:
    from tabulate import tabulate

    physical, gaps = _flat([[[_shown(x) for x in c] for c in row] for row in table.rows], columns, table.line)
    lines = tabulate(physical, [table.header[c] for c in columns], tablefmt="simple", disable_numparse=True).split("\n")
    first = 1 + next(n for n, line in enumerate(lines) if set(line) <= {"-", " "} and "-" in line)
    for at, ruled in reversed(gaps.items()):
        lines.insert(first + at, lines[first - 1] if ruled else "")
    return "\n".join(line.rstrip() for line in lines)


# --- LaTeX --------------------------------------------------------------------------------------------------------

LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "–": "--", "—": "---", "…": r"\dots{}", "×": r"$\times$", "±": r"$\pm$",
    "−": "$-$", "≥": r"$\geq$", "≤": r"$\leq$", "‘": "`", "’": "'", "“": "``",
    "”": "''", "†": r"$\dagger$",
}  # fmt: skip


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
        lineabove=rule(rf"\begin{{tabular}}{{l{'c' * (columns - 1)}}}" + "\n" + r"\toprule"),
        linebelowheader=rule(r"\midrule"), linebetweenrows=None, linebelow=rule("\\bottomrule\n\\end{tabular}"),
        headerrow=row, datarow=row, padding=0, with_header_hide=None,
    )  # fmt: skip


def _header(text: str) -> str:
    lines = r"\\".join(latex_escaped(line) for line in text.split("\n"))
    return rf"\shortstack{{{lines}}}" if "\n" in text else lines


def _size(table: Table) -> str:
    """Choose the size of the letters by the width of the table."""
    widest = sum(_width(table, column) for column in range(len(table.header)))
    return next((size for limit, size in ((75, "small"), (95, "footnotesize")) if widest <= limit), "scriptsize")


def latex(table: Table) -> str:
    """Write a table as LaTeX to be read by `\\input`: it needs the packages booktabs and graphicx.

    One that is too wide for a page is cut into several; one that is too wide for the document's lines is scaled down.
    """
    cuts = _cuts(table, PAGE)
    below = latex_escaped(" ".join((table.caption, *table.notes)).strip())
    notes = [r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize", below, r"\end{minipage}"]
    label = re.sub(r"[^a-z0-9]+", "-", table.label.lower())
    floats = []
    for number, columns in enumerate(cuts, start=1):
        part = f" ({number} of {len(cuts)})" if len(cuts) > 1 else ""
        again = f"-{number}" if number > 1 else ""
        floats += [
            r"\begin{table}", rf"\centering\{_size(table)}\setlength{{\tabcolsep}}{{3pt}}",
            rf"\caption{{{latex_escaped(table.title)}{part}}}\label{{tab:{label}{again}}}",
            r"\sbox0{%", *_latex_grid(table, columns), r"}%",
            r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
            *(notes if number == len(cuts) else []),
            r"\end{table}", "",
        ]  # fmt: skip
    return "\n".join(floats)


def _latex_grid(table: Table, columns: Sequence[int]) -> list[str]:
    from tabulate import tabulate

    def shown(x: Line) -> str:
        if x.faint and x.text:
            return rf"\textit{{({latex_escaped(x.short or x.text)})}}"
        return latex_escaped(re.sub(r"^-(?=\d)", "−", x.text))

    rows = [[[shown(x) for x in c] for c in row] for row in table.rows]
    physical, gaps = _flat(rows, columns, table.line)
    for row in physical:
        row[0] = "{}" + row[0] if row[0].startswith(("[", "*")) else row[0]  # no argument of the row's end above
    header = [_header(table.header[c]) for c in columns]
    lines = tabulate(physical, header, tablefmt=_booktabs(len(header)), disable_numparse=True).split("\n")
    first = lines.index(r"\midrule") + 1
    for at, ruled in reversed(gaps.items()):
        lines.insert(first + at, r"\midrule" if ruled else r"\addlinespace")
    return [line.rstrip() for line in lines]
