"""Lay out results folders side by side: a table per dataset and source architecture, or lines of CSV."""

from __future__ import annotations

import string
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeAlias

from bench.analysis.cells import Cell
from bench.analysis.comparison import Change, Results, Where, changes, obstacles, read, remarks
from bench.core.errors import BenchError
from bench.reporting.csv_files import plain
from bench.reporting.tables.markdown import markdown, markdown_escaped
from bench.reporting.tables.table import Line, Table, cell
from bench.reporting.tables.text import WIDTH, text
from bench.results.writer import comma_separated

COLUMNS = (
    "dataset", "source_architecture", "method", "attack", "before", "after", "what", "before_auc", "after_auc",
    "difference", "low", "high", "differs", "same", "forced",
)  # fmt: skip
"""The columns of a comparison as CSV: a line per cell and results folder after the first."""
FORCED = "Forced: these results do not follow one protocol, so their differences need not be those of the methods"

Changes: TypeAlias = list[dict[Where, Change]]
"""Of each results folder after the first, against the first."""


def compare(folders: Sequence[Path], kind: str = "txt", forced: bool = False) -> str:
    """Hold results folders against the first of them: as text, `md` or `csv`.

    BenchError where there are fewer than two, or where their presets, dataset versions or protocols differ, unless
    `forced`, which then is said.
    """
    if not 2 <= len(folders) <= len(string.ascii_uppercase):
        raise BenchError("A comparison needs two results folders or more: bench compare A B")
    results = read(folders)
    first, others = results[0], results[1:]
    reasons = [f"{first.name} and {r.name}: {'; '.join(why)}" for r in others if (why := obstacles(first, r))]
    if reasons and not forced:
        raise BenchError(
            f"These results do not follow one protocol ({' | '.join(reasons)}): their differences would not be those "
            "of the methods. Hold them side by side all the same with --force"
        )
    found = [changes(first, r) for r in others]
    if kind == "csv":
        return comma_separated(COLUMNS, (plain(line) for line in _lines(results, found, bool(reasons))))
    tables = [_table(place, results, found, bool(reasons)) for place in _places(found)]
    said = [*([f"{FORCED}: {' | '.join(reasons)}."] if reasons else []), *_who(results), *_summary(found)]
    if kind == "md":
        return "\n".join(["# Comparison\n", *(f"- {markdown_escaped(s)}" for s in said), "", *map(markdown, tables)])
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False)
    return "\n\n".join(["\n".join(map(wrap.fill, said)), *map(text, tables)])


def _letter(number: int) -> str:
    return string.ascii_uppercase[number]


# --- in words -----------------------------------------------------------------------------------------------------


def _who(results: Sequence[Results]) -> Iterator[str]:
    """Say what stands under each letter, and in what it is unlike the first."""
    for n, r in enumerate(results):
        told = remarks(results[0], r)
        unlike = f"; unlike A: {'; '.join(told)}" if told else ""
        yield f"{_letter(n)}: {r.name}, preset {r.spec.preset}, {r.run.get('date') or 'undated'}{unlike}"


def _summary(found: Changes) -> Iterator[str]:
    """Count, for each results folder, the cells that differ from the first's, and name those added and lost."""
    for n, of in enumerate(found, start=1):
        both = [c for c in of.values() if c.what == "both"]
        differ = sum(c.differs for c in both)
        same = sum(c.same for c in both)
        others = len(both) - same
        told = f"; of the other {others}, {differ} differ (by chance alone about {others / 20:.1f} would, at 95 %)"
        yield (
            f"{_letter(n)} against A: {_number(len(both), 'cell')} in both, {same} of them the very same models and "
            f"scores{told if others else ''}"
        )
        for what in ("added", "lost"):
            cells = [where for where, c in of.items() if c.what == what]
            if cells:
                yield f"{what} in {_letter(n)}: {'; '.join(_named(cells))}"


def _named(cells: Sequence[Where]) -> list[str]:
    """Name cells by dataset and source architecture: methods, with the attacks they share in parentheses."""
    attacks: dict[tuple[str, str, str], list[str]] = {}
    for dataset, source, method, attack in cells:
        attacks.setdefault((dataset, source, method), []).append(attack)
    methods: dict[tuple[str, str, str], list[str]] = {}
    for (dataset, source, method), of in attacks.items():
        methods.setdefault((dataset, source, ", ".join(of)), []).append(method)
    return [f"{d}, {s}: {', '.join(names)} ({of})" for (d, s, of), names in methods.items()]


def _number(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


# --- as tables ----------------------------------------------------------------------------------------------------


def _places(found: Changes) -> list[tuple[str, str]]:
    return [*dict.fromkeys(where[:2] for of in found for where in of)]


def _table(place: tuple[str, str], results: Sequence[Results], found: Changes, forced: bool) -> Table:
    here = [{where: c for where, c in of.items() if where[:2] == place} for of in found]
    attacks = [*dict.fromkeys(where[3] for of in here for where in of)]
    baseline = {where[2]: any(c.baseline for c in (x.before, x.after) if c) for of in here for where, x in of.items()}
    methods = sorted(baseline, key=lambda m: baseline[m])
    rows = []
    for method in methods:
        inner = [[of.get((*place, method, a)) for of in here] for a in attacks]
        rows.append([cell(method), *map(_cell_lines, inner)])
    letters = ", ".join(_letter(n) for n in range(1, len(results)))
    return Table(
        title=f"{place[0]}, source {place[1]}: AUC of A to {_letter(len(results) - 1)}{' (forced)' * forced}",
        header=["method", *attacks],
        rows=rows,
        caption=f"The AUC of A; of {letters} with the difference to A and its 95 % interval (too wide, never too "
        "narrow, where some of the models are the same; =: all of them are, and their scores). ≠: 0 lies outside the "
        "interval. –: not applicable. *: incomplete.",
        baselines=next((n for n, m in enumerate(methods) if baseline[m]), None),
    )


def _cell_lines(of: Sequence[Change | None]) -> list[Line]:
    """Write a cell: the first's AUC, then each other's with the difference."""
    sides = [next((c.before for c in of if c), None), *(c.after if c else None for c in of)]
    if not any(sides):
        return []
    if all(side is None or side.reason for side in sides):
        return cell("–")
    lines = []
    for n, side in enumerate(sides):
        change = of[n - 1] if n else None
        lines.append(f"{_letter(n)} {_auc(side)}{' =' * bool(change and change.same and change.difference)}")
        if change and change.difference and not change.same:
            low, high = (_signed(end) for end in change.difference[1:])
            lines.append(f"{_signed(change.difference[0])} [{low}, {high}]{' ≠' * change.differs}")
    return cell(*lines)


def _auc(side: Cell | None) -> str:
    if side is None:
        return "none"
    if side.figure is None:
        return "–" if side.reason else "*"
    return f"{side.figure.auc:.2f}{'*' * (side.status == 'incomplete')}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _lines(results: Sequence[Results], found: Changes, forced: bool) -> Iterator[list[object]]:
    for r, of in zip(results[1:], found, strict=True):
        for where, c in of.items():
            before, after = c.figures
            yield [
                *where, results[0].name, r.name, c.what, before.auc if before else None, after.auc if after else None,
                *(c.difference or (None, None, None)), *((c.differs, c.same) if c.difference else (None, None)), forced,
            ]  # fmt: skip
