"""Tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from bench.reporting.tables.table import Line, Table

MARKDOWN = re.compile(r"([\\`*<>|~$&]|(?<=\])[(\[])")

BELOW = "*baselines*"


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
    if table.rule is not None:
        rows.insert(table.rule, [BELOW, *[""] * (len(table.header) - 1)])
    header = [markdown_escaped(h).replace("\n", "<br>") for h in table.header]
    body = tabulate(rows, header, tablefmt="pipe", disable_numparse=True)
    parts = [f"{'#' * table.level} {markdown_escaped(table.title)}", body]
    parts += [markdown_escaped(table.caption)] if table.caption else []
    parts += ["\n".join(f"- {markdown_escaped(n)}" for n in table.notes)] if table.notes else []
    return "\n\n".join(parts) + "\n"
