"""From the outcomes of trials to rows, from rows to tables: everything that stands in a results folder.

`trials.csv` and `run.json` are the truth; what `render` writes is made from these two alone.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from bench.analysis.accuracies import Accuracy, accuracies
from bench.analysis.budgets import by_budget
from bench.analysis.cells import VERDICTS, Cell, cells, default_budget
from bench.analysis.costs import Cost, costs
from bench.core.canonical import JSON
from bench.reporting import cache, csv_files
from bench.reporting.html import page
from bench.reporting.tables.accuracies import accuracy_table
from bench.reporting.tables.auc import auc_table
from bench.reporting.tables.budgets import budgets_table
from bench.reporting.tables.comparisons import baselines_table, check_table, negatives_table
from bench.reporting.tables.costs import cost_table
from bench.reporting.tables.latex import latex
from bench.reporting.tables.markdown import markdown
from bench.reporting.tables.rates import rates_tables
from bench.reporting.tables.table import Table
from bench.reporting.tables.text import text
from bench.results.columns import COLUMNS
from bench.results.reader import load
from bench.results.rows import row
from bench.results.writer import comma_separated, put, save

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["COLUMNS", "check", "load", "render", "row", "write"]

Part = TypeVar("Part", Cell, Cost, Accuracy)


def write(folder: Path, rows: Iterable[Mapping[str, object]], run: Mapping[str, JSON]) -> str:
    """Write a results folder whole; give the text of its tables. BenchError where it cannot be written.

    Where the rows, the run and the code that reports them are those of the last time, its files are kept.
    """
    folder = Path(folder)
    save(folder, rows, run)
    if cache.is_current(folder):
        return (folder / "table.txt").read_text(encoding="utf-8")
    return render(folder)


def render(folder: Path) -> str:
    """Make every file of a report from its folder's `trials.csv` and `run.json`; give the text for a terminal.

    That is the tables of AUCs and costs; the others stand in the files. The same two files give the same bytes.
    BenchError where they are damaged or not of one run.
    """
    folder = Path(folder)
    files = _files(*load(folder))
    for name, content in files.items():
        put(folder / name, content)
    for name in {"budgets.csv"} - set(files):
        (folder / name).unlink(missing_ok=True)
    cache.write_stamp(folder, files)
    return files["table.txt"]


def _files(frame: pd.DataFrame, run: Mapping[str, JSON]) -> dict[str, str]:
    judged, networks, budgets = cells(frame, run), accuracies(frame, run), by_budget(frame, run)
    prices = dict(_parts(list(costs(default_budget(frame, run), run))))
    points = {place: [p for p in budgets if _place(p.cell) == place] for place in dict.fromkeys(map(_place, judged))}
    short: list[Table] = []
    results: list[Table] = []
    sections: list[page.Section] = []
    known = dict(_parts(networks))
    worth = {place: accuracy_table(part, run) for place, part in known.items()}
    for place, part in _parts(judged):
        aucs, baselines = auc_table(part, run), baselines_table(part)
        cost = [cost_table(prices[place])] if place in prices else []
        short += [aucs, *cost]
        tables = [aucs, *([baselines] if baselines else []), *rates_tables(part), negatives_table(part)]
        tables += [*cost, *([budgets_table(points[place])] if points[place] else [])]
        results += tables
        tables += [worth[place]] if place in worth else []
        sections.append(page.Section(part, tables, prices.get(place, []), points[place], known.get(place, [])))

    def csv(columns: Sequence[str], values: Iterable[Sequence[object]]) -> str:
        return comma_separated(columns, map(csv_files.plain, values))

    files = {
        "table.csv": csv(csv_files.CELL_COLUMNS, csv_files.cell_lines(judged)),
        "table.md": "\n".join(["# Results\n", *map(markdown, results)]),
        "table.tex": "\n".join(["% needs \\usepackage{booktabs,graphicx}\n", *map(latex, results)]),
        "table.txt": "\n\n".join(map(text, short)),
        "accuracy.csv": csv(csv_files.ACCURACY_COLUMNS, csv_files.accuracy_lines(networks)),
        "accuracy.md": "\n".join(["# Test accuracies\n", *map(markdown, worth.values())]),
        "index.html": page.html(frame, run, sections),
    }
    if budgets:
        files["budgets.csv"] = csv(csv_files.BUDGET_COLUMNS, csv_files.budget_lines(budgets))
    return files


def check(folder: Path) -> str:
    """Hold a folder's AUCs against those of the papers: a verdict per cell, and how often each was given."""
    judged = cells(*load(Path(folder)))
    counts = Counter(c.verdict for c in judged)
    total = ", ".join(f"{counts[v]} {v}" for v in VERDICTS)
    return "\n\n".join([*(text(check_table(part)) for _, part in _parts(judged)), f"all cells: {total}\n"])


def _parts(things: Sequence[Part]) -> Iterator[tuple[tuple[str, str], list[Part]]]:
    """Divide what is known, which stand in order, by dataset and source architecture."""
    for place, part in itertools.groupby(things, key=_place):
        yield place, list(part)


def _place(thing: Cell | Cost | Accuracy) -> tuple[str, str]:
    return thing.dataset, thing.source_architecture
