"""Write the files of a results folder: `trials.csv` and `run.json`, and the report made from these two alone."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from bench.analysis.accuracies import Accuracy, accuracies
from bench.analysis.cells import AtVariant, Cell, by_budget, cells, default_budget
from bench.analysis.costs import Cost, costs
from bench.analysis.suspects import standings
from bench.core.canonical import JSON
from bench.core.errors import BenchError, first_line
from bench.core.kinds import Verdict
from bench.reporting import cache, csv_files
from bench.reporting.html import page
from bench.reporting.tables.auc import auc_table, budgets_table, variants_table
from bench.reporting.tables.comparisons import baselines_table, check_table, negatives_table
from bench.reporting.tables.costs import accuracy_table, cost_table
from bench.reporting.tables.latex import latex
from bench.reporting.tables.method_table import grouped
from bench.reporting.tables.notes import drawn
from bench.reporting.tables.rates import rates_tables
from bench.reporting.tables.suspects import suspects_tables
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

    Raise BenchError if the sources are damaged or do not belong to one run, NotWritable if the folder is read-only.
    """
    files = contents(Path(folder))
    write_report(Path(folder), files)
    return files["table.txt"]


def write_report(folder: Path, files: Mapping[str, str]) -> None:
    """Write the files of a report; raise NotWritable if that is impossible."""
    for name, content in files.items():
        put(folder / name, content)
    for name in {"budgets.csv", "variants.csv"} - set(files):
        if (folder / name).exists():
            (folder / name).unlink()
    cache.write_stamp(folder, files)


def contents(folder: Path) -> dict[str, str]:
    """Return the text of every file of a report, by name; raise BenchError as `render` does."""
    frame, run = load(folder)
    judged, networks, budgets = cells(frame, run), accuracies(frame, run), by_budget(frame, run)
    variants = [AtVariant(c, v, f) for c in judged for v, f in c.by_variant.items()]
    cost_of, networks_of = _by_section(costs(default_budget(frame, run), run)), _by_section(networks)
    points_of = grouped(((p.cell.dataset, p.cell.source_architecture), p) for p in budgets)
    short: list[Table] = []
    full: list[Table] = []
    accuracy_tables: list[Table] = []
    sections: list[page.Section] = []
    for section, group in _by_section(judged).items():
        points, costly, trained = points_of.get(section, []), cost_of.get(section, []), networks_of.get(section, [])
        of_methods = [baselines_table(group), *rates_tables(group), negatives_table(group), variants_table(group)]
        aucs, others, cost, budget, accuracy = (
            _captioned(tables, drawn(group))
            for tables in (
                [auc_table(group, run)],
                of_methods,
                [cost_table(costly)] if costly else [],
                [budgets_table(points)] if points else [],
                [accuracy_table(trained, run)] if trained else [],
            )
        )
        short += [*aucs, *cost]
        full += [*aucs, *others, *cost, *budget]
        accuracy_tables += accuracy
        sections.append(page.Section(group, [*aucs, *others, *cost, *budget, *accuracy], costly, points, trained))
    suspects = suspects_tables(standings(default_budget(frame, run)))
    short, full = short + suspects, full + suspects
    try:
        html = page.html(frame, run, sections)
    except OSError as error:  # matplotlib has to write somewhere
        raise BenchError(f"The page cannot be drawn: {first_line(error)}") from error
    files = {
        "table.csv": csv_files.table_csv(judged),
        "table.md": "\n".join(["# Results\n", *map(markdown, full)]),
        "table.tex": "\n".join(["% needs \\usepackage{booktabs,graphicx}\n", *map(latex, full)]),
        "table.txt": "\n\n".join(map(text, short)),
        "accuracy.csv": csv_files.csv_text(csv_files.ACCURACY_COLUMNS, networks),
        "accuracy.md": "\n".join(["# Test accuracies\n", *map(markdown, accuracy_tables)]),
        "index.html": html,
    }
    if budgets:
        files["budgets.csv"] = csv_files.csv_text(csv_files.BUDGET_COLUMNS, budgets)
    if variants:
        files["variants.csv"] = csv_files.csv_text(csv_files.VARIANT_COLUMNS, variants)
    return files


def _captioned(tables: Iterable[Table | None], drawn: str) -> list[Table]:
    """Add to the captions of tables what was drawn how often."""
    return [replace(t, caption=f"{t.caption} {drawn}") for t in tables if t]


def check(folder: Path) -> str:
    """Compare a folder's AUCs with those of the papers: a verdict per cell, and their counts."""
    judged = cells(*load(Path(folder)))
    counts = Counter(c.verdict for c in judged)
    total = ", ".join(f"{counts[v]} {v}" for v in Verdict)
    return "\n\n".join([*(text(check_table(group)) for group in _by_section(judged).values()), f"all cells: {total}\n"])


def _by_section(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Divide results by dataset and source architecture."""
    return grouped(((r.dataset, r.source_architecture), r) for r in results)
