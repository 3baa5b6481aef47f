"""Tables as text for a terminal. A table that is too wide is divided."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from bench.reporting.tables.table import Table, column_groups, flat_rows, shown

WIDTH = 100
"""Characters of a line on a terminal."""


def text(table: Table) -> str:
    """Write a table for a terminal of WIDTH characters; a wider one is divided by columns."""
    parts = [table.title, "=" * len(table.title)]
    parts += ["\n\n".join(_text_grid(table, columns) for columns in column_groups(table, WIDTH))]
    wrap = textwrap.TextWrapper(WIDTH, break_long_words=False, break_on_hyphens=False)
    if table.caption:
        parts += ["", wrap.fill(table.caption)]
    hanging = textwrap.TextWrapper(WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    if table.notes:
        parts += ["", *(hanging.fill(f"- {n}") for n in table.notes)]
    return "\n".join(parts) + "\n"


def _text_grid(table: Table, columns: Sequence[int]) -> str:
    from tabulate import tabulate

    physical, gaps = flat_rows([[[shown(x) for x in c] for c in row] for row in table.rows], columns, table.rule)
    lines = tabulate(physical, [table.header[c] for c in columns], tablefmt="simple", disable_numparse=True).split("\n")
    first = 1 + next(n for n, line in enumerate(lines) if set(line) <= {"-", " "} and "-" in line)
    for at, ruled in reversed(gaps.items()):
        lines.insert(first + at, lines[first - 1] if ruled else "")
    return "\n".join(line.rstrip() for line in lines)
