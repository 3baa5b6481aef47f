"""Tables as HTML without a page around them, for a notebook."""

from collections.abc import Sequence
from html import escape

from bench.reporting.tables.table import Line, Table


def html(table: Table) -> str:
    """Write a table as HTML that needs neither styles nor scripts of its own."""
    head = "".join(f"<th>{'<br>'.join(map(escape, title.split(chr(10))))}</th>" for title in table.header)
    rows = []
    for number, row in enumerate(table.rows):
        style = ' style="border-top: 2px solid"' if number in table.rules else ""
        first, *others = row
        cells = f"<th>{_lines(first)}</th>" + "".join(f"<td>{_lines(cell)}</td>" for cell in others)
        rows.append(f"<tr{style}>{cells}</tr>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in table.notes)
    return "\n".join(
        [
            f"<h4>{escape(table.title)}</h4>",
            f"<table><thead><tr>{head}</tr></thead>",
            f"<tbody>{''.join(rows)}</tbody></table>",
            *([f"<p>{escape(table.caption)}</p>"] if table.caption else []),
            *([f"<ul>{notes}</ul>"] if notes else []),
        ]
    )


def _lines(cell: Sequence[Line]) -> str:
    shown = [f"<i>{escape(line.text)}</i>" if line.faint else escape(line.text) for line in cell if line.text]
    return "<br>".join(shown)
