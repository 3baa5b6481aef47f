"""Tables as LaTeX. A table that is too wide or too high for a page is divided."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.reporting.tables.table import Line, Table, column_groups, column_width, flat_rows, row_groups, row_heights

if TYPE_CHECKING:
    from tabulate import TableFormat

LONGEST_PART = 60
"""Characters of a part of a label."""
PAGE = 110
"""Characters of a printed line in the smallest letters: a wider table is divided."""
POINTS = {"small": 11.0, "footnotesize": 9.5, "scriptsize": 8.0}
"""The height of a line in each size of letters, in an ordinary article of 10 points."""
ROWS, ROWS_AND_NOTES = 418, 450
"""Points of a page, 550 high, for rows, and for rows and notes: a higher table is divided, and its notes follow it."""
NOTE = 80
"""Characters of a line of notes."""
WAITING = 15
"""Parts of a table after which its pages are set: LaTeX before 2015 has room for 18 that wait, later ones for 52."""

TEXT = {"\\": "backslash", "~": "asciitilde", "^": "asciicircum", "<": "less", ">": "greater", "|": "bar"}
MATHS = {"×": r"\times", "±": r"\pm", "−": "-", "≥": r"\geq", "≤": r"\leq", "†": r"\dagger", "‡": r"\ddagger"}
ESCAPED = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    **{c: rf"\text{name}{{}}" for c, name in TEXT.items()},
    **{c: f"${name}$" for c, name in MATHS.items()},
    **dict(zip('"–—…‘’“”', ("''", "--", "---", r"\dots{}", "`", "'", "``", "''"), strict=True)),
}
"""What LaTeX needs for a character that it would take for a command, or that its fonts lack."""


def latex_escaped(text: str) -> str:
    """Escape text for LaTeX; characters beyond Latin that an ordinary document cannot print become `?`."""
    return "".join(ESCAPED.get(c, c if c.isascii() or 0xA0 < ord(c) < 0x180 else "?") for c in text)


def _booktabs(columns: int) -> TableFormat:
    from tabulate import DataRow, TableFormat
    from tabulate import Line as Rule

    def rule(text: str) -> Rule:
        return Rule(text, "", "", "")

    row = DataRow("", " & ", r" \\")
    above = rule(rf"\begin{{tabular}}{{l{'c' * (columns - 1)}}}" + "\n" + r"\toprule")
    return TableFormat(above, rule(r"\midrule"), None, rule("\\bottomrule\n\\end{tabular}"), row, row, 0, None)


def _header(text: str) -> str:
    lines = r"\\".join(latex_escaped(line) for line in text.split("\n"))
    return rf"\shortstack{{{lines}}}" if "\n" in text else lines


def _size(table: Table) -> str:
    """Choose the size of the letters by the width of the table."""
    widest = sum(column_width(table, column) for column in range(len(table.header)))
    return next((size for limit, size in ((75, "small"), (95, "footnotesize")) if widest <= limit), "scriptsize")


def identifier(text: str) -> str:
    """Return a name of unknown origin as a part of a label or a file name; different ones stay different."""
    kept = re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:LONGEST_PART]
    return kept if kept == text else "-".join(filter(None, (kept, hashlib.sha256(text.encode()).hexdigest()[:8])))


def file_name(table: Table) -> str:
    """Return the name of a table's file, without the suffix: dataset, source architecture, subject."""
    return "-".join(map(identifier, table.label))


def latex(table: Table, folder: str) -> str:
    """Write a table as LaTeX for `\\input`, with booktabs and graphicx; the document's lines scale it down.

    Its label, `tab:FOLDER-DATASET-SOURCE-SUBJECT`, begins with the name of the results folder, as those of other
    folders do with theirs.
    """
    size, label = _size(table), f"{identifier(folder)}-{file_name(table)}"
    groups = [(r, c) for r in row_groups(table, int(ROWS / POINTS[size])) for c in column_groups(table, PAGE)]
    below = latex_escaped(" ".join((table.caption, *table.notes)).strip())
    notes = [r"\par\smallskip\begin{minipage}{\linewidth}\footnotesize", below, r"\end{minipage}"]
    heights = row_heights(table)
    height = POINTS[size] * sum(heights[n] for n in groups[-1][0]) + POINTS["footnotesize"] * len(below) / NOTE
    apart = height > ROWS_AND_NOTES  # on a page of its own no float is divided, and text is
    floats = [rf"% needs \usepackage{{booktabs,graphicx}}; see \ref{{tab:{label}}}"]
    for number, (rows, columns) in enumerate(groups, start=1):
        part = f" ({number} of {len(groups)})" if len(groups) > 1 else ""
        suffix = f"-{number}" if number > 1 else ""
        floats += [r"\begin{table}", rf"\centering\{size}\setlength{{\tabcolsep}}{{3pt}}"]
        floats += [rf"\caption{{{latex_escaped(table.title)}{part}}}\label{{tab:{label}{suffix}}}"]
        floats += [r"\sbox0{%", *_latex_grid(table, rows, columns), r"}%"]
        floats += [r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi"]
        floats += [*(notes if number == len(groups) and not apart else []), r"\end{table}", ""]
        floats += [r"\clearpage"] if number % WAITING == 0 and number < len(groups) else []
    if apart:
        floats += [rf"\par\noindent{{\footnotesize\sloppy Table~\ref{{tab:{label}}}: {below}\par}}", ""]
    return "\n".join(floats)


def _latex_grid(table: Table, rows: Sequence[int], columns: Sequence[int]) -> list[str]:
    from tabulate import tabulate

    def shown(x: Line) -> str:
        if x.faint and x.text:
            return rf"\textit{{({latex_escaped(x.short or x.text)})}}"
        return latex_escaped(re.sub(r"^-(?=\d)", "−", x.text))

    cells = [[[shown(x) for x in c] for c in table.rows[n]] for n in rows]
    physical, gaps = flat_rows(cells, columns, {rows.index(n) for n in table.rules if n in rows})
    for row in physical:
        row[0] = "{}" + row[0] if row[0].startswith(("[", "*")) else row[0]  # no argument of the row's end above
    header = [_header(table.header[c]) for c in columns]
    lines = tabulate(physical, header, tablefmt=_booktabs(len(header)), disable_numparse=True).split("\n")
    first = lines.index(r"\midrule") + 1
    for at, ruled in reversed(gaps.items()):
        lines.insert(first + at, r"\midrule" if ruled else r"\addlinespace")
    return [line.rstrip() for line in lines]
