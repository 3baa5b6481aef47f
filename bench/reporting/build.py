"""Write the files of a results folder: `trials.csv` and `run.json`, and the report made from these two alone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from bench.analysis.accuracies import Accuracy, accuracies
from bench.analysis.cells import VERDICTS, Cell, by_budget, cells, default_budget
from bench.analysis.costs import Cost, costs
from bench.core.canonical import JSON
from bench.reporting import cache, csv_files
from bench.reporting.html import page
from bench.reporting.tables.auc import auc_table, budgets_table
from bench.reporting.tables.comparisons import baselines_table, check_table, negatives_table
from bench.reporting.tables.costs import accuracy_table, cost_table
from bench.reporting.tables.latex import latex
from bench.reporting.tables.method_table import grouped
from bench.reporting.tables.rates import rates_tables
from bench.reporting.tables.table import Table
from bench.reporting.tables.text import markdown, text
from bench.results.reader import load
from bench.results.writer import put, save

Result = TypeVar("Result", Cell, Cost, Accuracy)


def write(folder: Path, rows: Iterable[Mapping[str, object]], run: Mapping[str, JSON]) -> str:
    """Write a results folder and return the text of its tables; raise BenchError if it cannot be written.

    A report is kept if its rows, its run and the code that makes it have not changed.
    """
    save(Path(folder), rows, run)
    return update(folder)


def update(folder: Path) -> str:
    """Return the text of a folder's tables; make its report again only if it is not current."""
    folder = Path(folder)
    return (folder / "table.txt").read_text(encoding="utf-8") if cache.is_current(folder) else render(folder)


def render(folder: Path) -> str:
    """Make every file of a report from its sources; return the tables of AUCs and costs as text for a terminal.

    Raise BenchError if the sources are damaged or do not belong to one run.
    """
    folder = Path(folder)
    files = _files(folder)
    for name, content in files.items():
        put(folder / name, content)
    for name in {"budgets.csv"} - set(files):
        (folder / name).unlink(missing_ok=True)
    cache.write_stamp(folder, files)
    return files["table.txt"]


def _files(folder: Path) -> dict[str, str]:
    frame, run = load(folder)
    judged, networks, budgets = cells(frame, run), accuracies(frame, run), by_budget(frame, run)
    cost_of, networks_of = _by_section(costs(default_budget(frame, run), run)), _by_section(networks)
    points_of = grouped(((p.cell.dataset, p.cell.source_architecture), p) for p in budgets)
    accuracy_tables = {section: accuracy_table(group, run) for section, group in networks_of.items()}
    short: list[Table] = []
    full: list[Table] = []
    sections: list[page.Section] = []
    for section, group in _by_section(judged).items():
        points = points_of.get(section, [])
        aucs, baselines = auc_table(group, run), baselines_table(group)
        cost = [cost_table(cost_of[section])] if section in cost_of else []
        short += [aucs, *cost]
        tables = [aucs, *([baselines] if baselines else []), *rates_tables(group), negatives_table(group)]
        tables += [*cost, *([budgets_table(points)] if points else [])]
        full += tables
        tables += [accuracy_tables[section]] if section in accuracy_tables else []
        sections.append(page.Section(group, tables, cost_of.get(section, []), points, networks_of.get(section, [])))

    files = {
        "table.csv": csv_files.table_csv(judged),
        "table.md": "\n".join(["# Results\n", *map(markdown, full)]),
        "table.tex": "\n".join(["% needs \\usepackage{booktabs,graphicx}\n", *map(latex, full)]),
        "table.txt": "\n\n".join(map(text, short)),
        "accuracy.csv": csv_files.csv_text(csv_files.ACCURACY_COLUMNS, networks),
        "accuracy.md": "\n".join(["# Test accuracies\n", *map(markdown, accuracy_tables.values())]),
        "index.html": page.html(frame, run, sections),
    }
    if budgets:
        files["budgets.csv"] = csv_files.csv_text(csv_files.BUDGET_COLUMNS, budgets)
    return files


def check(folder: Path) -> str:
    """Compare a folder's AUCs with those of the papers: a verdict per cell, and their counts."""
    judged = cells(*load(Path(folder)))
    counts = Counter(c.verdict for c in judged)
    total = ", ".join(f"{counts[v]} {v}" for v in VERDICTS)
    return "\n\n".join([*(text(check_table(group)) for group in _by_section(judged).values()), f"all cells: {total}\n"])


def _by_section(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Divide results by dataset and source architecture."""
    return grouped(((r.dataset, r.source_architecture), r) for r in results)
