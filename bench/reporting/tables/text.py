"""Tables as text for a terminal, and as Markdown."""

import re
import textwrap
from collections.abc import Sequence

from bench.reporting.tables.table import Line, Table, column_groups, flat_rows, shown

WIDTH = 100
"""Characters of a line on a terminal."""
MARKUP = re.compile(r"([\\`*<>|~$&]|(?<=\])[(\[])")


def text(table: Table) -> str:
    """Write a table for a terminal of WIDTH characters; a wider one is divided by columns."""
    parts = [table.title, "=" * len(table.title)]
    parts += ["\n\n".join(_text_grid(table, columns) for columns in column_groups(table, WIDTH))]
    wrap = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
    parts += ["", wrap.fill(table.caption)] if table.caption else []
    wrap.subsequent_indent = "  "
    parts += ["", *(wrap.fill(f"- {n}") for n in table.notes)] if table.notes else []
    return "\n".join(parts) + "\n"


def _text_grid(table: Table, columns: Sequence[int]) -> str:
    from tabulate import tabulate

    physical, gaps = flat_rows([[[shown(x) for x in c] for c in row] for row in table.rows], columns, table.rules)
    lines = tabulate(physical, [table.header[c] for c in columns], tablefmt="simple", disable_numparse=True).split("\n")
    first = 1 + next(n for n, line in enumerate(lines) if set(line) <= {"-", " "} and "-" in line)
    for at, ruled in reversed(gaps.items()):
        lines.insert(first + at, lines[first - 1] if ruled else "")
    return "\n".join(line.rstrip() for line in lines)


def markdown_escaped(text: str) -> str:
    """Escape what Markdown (GitHub's) would take for markup; neither `extract_l` nor `[0.9, 1.0]` is."""
    text = MARKUP.sub(r"\\\1", text)
    return re.sub(r"(?<!\w)_|_(?!\w)", r"\\_", text)


def markdown(table: Table) -> str:
    """Write a table as Markdown, under a heading."""
    from tabulate import tabulate

    def join(lines: Sequence[Line]) -> str:
        texts = [(markdown_escaped(x.text), x.faint) for x in lines if x.text]
        return "<br>".join(f"*{t}*" if faint else t for t, faint in texts)

    rows = [[join(c) for c in row] for row in table.rows]
    for at, name in reversed(table.rules.items()):
        rows.insert(at, [f"*{name}*", *[""] * (len(table.header) - 1)])
    header = [markdown_escaped(h).replace("\n", "<br>") for h in table.header]
    body = tabulate(rows, header, tablefmt="pipe", disable_numparse=True)
    parts = [f"{'#' * table.level} {markdown_escaped(table.title)}", body]
    parts += [markdown_escaped(table.caption)] if table.caption else []
    parts += ["\n".join(f"- {markdown_escaped(n)}" for n in table.notes)] if table.notes else []
    return "\n\n".join(parts) + "\n"
