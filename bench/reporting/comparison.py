"""Compare results folders: a table per dataset and source architecture, or lines of CSV."""

import operator
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from string import ascii_uppercase as LETTERS
from typing import TypeAlias

from bench.analysis.cells import Cell
from bench.analysis.comparison import Change, Results, Where, changes, obstacles, read, remarks
from bench.core.errors import BenchError, capped
from bench.reporting.csv_files import csv_text
from bench.reporting.tables.method_table import grouped
from bench.reporting.tables.table import CONFIDENCE, Line, Table, cell, counted, signed
from bench.reporting.tables.text import WIDTH, markdown, markdown_escaped, text
from bench.results.columns import Column
from bench.stats.intervals import LEVEL

FORCED = "Forced: these results do not follow one protocol, so their differences need not be those of the methods"
WHERE = ("dataset", "source_architecture", "method", "attack")

Changes: TypeAlias = list[dict[Where, Change]]
"""Of each results folder after the first, compared with the first."""


def compare(folders: Sequence[Path], kind: str = "txt", forced: bool = False) -> str:
    """Compare results folders with the first, as `txt`, `md` or `csv`; raise BenchError if they are not comparable."""
    if not 2 <= len(folders) <= len(LETTERS):
        raise BenchError("A comparison needs two results folders or more: bench compare A B")
    results = read(folders)
    first, others = results[0], results[1:]
    reasons = [f"{first.name} and {r.name}: {'; '.join(capped(why))}" for r in others if (why := obstacles(first, r))]
    if reasons and not forced:
        raise BenchError(
            f"These results do not follow one protocol ({' | '.join(reasons)}): their differences would not be those "
            "of the methods. Compare them all the same with --force"
        )
    found = [changes(first, r) for r in others]
    if kind == "csv":
        return csv_text(COLUMNS, _lines(results, found, bool(reasons)))
    sections = dict.fromkeys(where[:2] for changed in found for where in changed)
    tables = [_table(section, results, found, bool(reasons)) for section in sections]
    summary = [*([f"{FORCED}: {' | '.join(reasons)}."] if reasons else []), *_legend(results), *_summary(found)]
    if kind == "md":
        return "\n".join(["# Comparison\n", *(f"- {markdown_escaped(s)}" for s in summary), "", *map(markdown, tables)])
    wrap = textwrap.TextWrapper(WIDTH, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False)
    return "\n\n".join(["\n".join(map(wrap.fill, summary)), *map(text, tables)])


def _legend(results: Sequence[Results]) -> Iterator[str]:
    """Describe the results of each letter, and how they differ from the first."""
    for n, r in enumerate(results):
        differences = remarks(results[0], r)
        unlike = f"; unlike A: {'; '.join(capped(differences))}" if differences else ""
        if r.run.get("edited"):
            yield f"{LETTERS[n]}: {r.name} is not what its run wrote: trials.csv was changed afterwards"
        yield f"{LETTERS[n]}: {r.name}, preset {r.spec.preset}, {r.run.get('date') or 'undated'}{unlike}"


def _summary(found: Changes) -> Iterator[str]:
    """Count the cells of each folder that differ from those of the first, and name the cells added and lost."""
    for n, changed in enumerate(found, start=1):
        both = [c for c in changed.values() if c.what == "both"]
        differ = sum(c.differs for c in both)
        same = sum(c.same for c in both)
        judged = [c for c in both if c.several and not c.same]
        varied = sum(not c.constant for c in judged)
        most = f"by chance alone at most about {varied / round(1 / (1 - LEVEL)):.1f} would, at {CONFIDENCE}"
        chance = f" ({most})" if varied else ""
        single = len(both) - same - len(judged)
        which = " with several sources in both" if single else ""
        differing = f"; of the other {len(judged)}{which}, {differ} differ{chance}" if judged else ""
        differing += f"; {single} not judged, since that needs several sources in both" if single else ""
        networks = sum(c.same_networks for c in both)
        seeds = sum(c.same_seeds for c in both) - networks
        redrawn = f", {seeds} with the same seeds, made with other hardware, libraries or code" if seeds else ""
        redrawn += f", {networks} with other scores of the same networks" if networks else ""
        found_in_both = f"{counted(len(both), 'cell')} in both, {same} of them with all scores equal{redrawn}"
        yield f"{LETTERS[n]} against A: {found_in_both}{differing}"
        for what in ("added", "lost"):
            cells = [where for where, c in changed.items() if c.what == what]
            if cells:
                yield f"{what} in {LETTERS[n]}: {'; '.join(capped(_named(cells)))}"


def _named(cells: Sequence[Where]) -> list[str]:
    """Name cells by dataset and source architecture: methods, with the attacks they share in parentheses."""
    attacks = grouped((where[:3], where[3]) for where in cells)
    methods = grouped(((d, s, ", ".join(names)), method) for (d, s, method), names in attacks.items())
    return [f"{d}, {s}: {', '.join(names)} ({shared})" for (d, s, shared), names in methods.items()]


def _table(section: tuple[str, str], results: Sequence[Results], found: Changes, forced: bool) -> Table:
    known = [(where, c) for changed in found for where, c in changed.items() if where[:2] == section]
    attacks = [*dict.fromkeys(where[3] for where, _ in known)]
    baseline = {where[2]: any(c.baseline for c in (x.before, x.after) if c) for where, x in known}
    methods = sorted(baseline, key=lambda m: baseline[m])
    rows = []
    for method in methods:
        by_attack = [[changed.get((*section, method, a)) for changed in found] for a in attacks]
        rows.append([cell(method), *map(_cell_lines, by_attack)])
    letters = ", ".join(LETTERS[n] for n in range(1, len(results)))
    return Table(
        title=f"{section[0]}, source {section[1]}: AUC of A to {LETTERS[len(results) - 1]}{' (forced)' * forced}",
        header=["method", *attacks],
        rows=rows,
        caption=f"The AUC of A; of {letters} with the difference to A and its {CONFIDENCE} interval (for the "
        "mean over sources of this kind; too wide, never too narrow, where some of the models are the same). =: all "
        "scores are equal. ~: the same seeds, made with other hardware, libraries or code: other networks, or their "
        "digests are unknown. !: the same networks, other scores: the method changed, or the libraries or the hardware "
        "that it ran with. ≠: 0 lies outside the interval, and both have several sources. –: not applicable. *: "
        "incomplete. not trained: no stolen suspect is better than chance. none: not in that folder.",
        baselines=next((n for n, m in enumerate(methods) if baseline[m]), None),
    )


def _cell_lines(changed: Sequence[Change | None]) -> list[Line]:
    """Write the AUC of the first results, then those of the others with the difference."""
    sides = [next((c.before for c in changed if c), None), *(c.after if c else None for c in changed)]
    if not any(sides):
        return []
    if all(side is None or side.reason for side in sides):
        return cell("–")
    lines = []
    for n, side in enumerate(sides):
        change = changed[n - 1] if n else None
        mark = _mark(change) if change and change.difference else ""
        lines.append(f"{LETTERS[n]} {_auc(side)} {mark}".rstrip())
        if change and change.difference and not change.same:
            difference, low, high = map(signed, change.difference)
            lines.append(f"{difference} [{low}, {high}]{' ≠' * change.differs}")
    return cell(*lines)


def _mark(change: Change) -> str:
    return "=" if change.same else "!" if change.same_networks else "~" * change.same_seeds


def _auc(side: Cell | None) -> str:
    if side is None:
        return "none"
    if side.figure is None:
        return "–" if side.reason else "not trained" if side.untrained else "*"
    return f"{side.figure.auc:.2f}{'*' * (side.status == 'incomplete')}"


COLUMNS: list[Column[Mapping[str, object]]] = [
    Column(name, kind, operator.itemgetter(name))
    for kind, names in (
        (str, (*WHERE, "before", "after", "what")),
        (float, ("before_auc", "after_auc", "difference", "low", "high")),
        (bool, ("differs", "same", "same_seeds", "same_networks", "forced")),
    )
    for name in names
]
"""The columns of a comparison as CSV: a line per cell and results folder after the first."""


def _lines(results: Sequence[Results], found: Changes, forced: bool) -> Iterator[Mapping[str, object]]:
    for r, changed in zip(results[1:], found, strict=True):
        for where, change in changed.items():
            before, after = (figure and figure.auc for figure in change.figures)
            line: dict[str, object] = dict.fromkeys(c.name for c in COLUMNS)
            line |= zip(WHERE, where, strict=True)
            line |= {"before": results[0].name, "after": r.name, "what": change.what, "forced": forced}
            line |= {"before_auc": before, "after_auc": after}
            if change.difference:
                line |= zip(("difference", "low", "high"), change.difference, strict=True)
                line |= {name: getattr(change, name) for name in ("differs", "same", "same_seeds", "same_networks")}
            yield line
