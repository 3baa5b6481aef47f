"""Write the files of a results folder: `trials.csv` and `run.json`, and the report made from these two alone."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from bench.analysis.accuracies import Accuracy, accuracies
from bench.analysis.cells import AtBudget, AtVariant, Cell, by_budget, cells, default_budget
from bench.analysis.costs import Cost, costs
from bench.analysis.suspects import standings
from bench.core.canonical import JSON
from bench.core.errors import BenchError, did_you_mean, first_line
from bench.reporting import cache, csv_files
from bench.reporting.bibliography import bibtex
from bench.reporting.formats import FILES, FORMATS, TEX
from bench.reporting.html import page
from bench.reporting.tables.auc import auc_table, budgets_table, variants_table
from bench.reporting.tables.comparisons import baselines_table, check_table, negatives_table
from bench.reporting.tables.costs import accuracy_table, cost_table
from bench.reporting.tables.evasion import evasion_table
from bench.reporting.tables.latex import file_name, latex
from bench.reporting.tables.legend import with_legend
from bench.reporting.tables.method_table import grouped
from bench.reporting.tables.notes import drawn, meaningless, verdicts
from bench.reporting.tables.rates import rates_tables
from bench.reporting.tables.suspects import suspects_tables
from bench.reporting.tables.table import Table
from bench.reporting.tables.text import markdown, text
from bench.results.reader import accusations, load
from bench.results.writer import put, remove, save

Result = TypeVar("Result", Cell, Cost, Accuracy)


OPTIONAL = ("budgets.csv", "variants.csv", "table.tex")
"""Files that not every report has, or none any more."""


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
    return write_report(Report(Path(folder))).text("txt")


def write_report(report: "Report") -> "Report":
    """Write every file of a report, and return it; raise NotWritable if that is impossible.

    Of LaTeX, only what the last report wrote is removed: a user may keep own files there.
    """
    folder, files = report.folder, report.files()
    for name, content in files.items():
        put(folder / name, content)
    tables = (f"{TEX}/{path.name}" for path in (folder / TEX).glob("*.tex"))
    for name in (*OPTIONAL, *(n for n in tables if n not in files and cache.is_as_written(folder, n))):
        if name not in files and (folder / name).exists():
            remove(folder / name)
    cache.write_stamp(folder, files)
    return report


class Report:
    """Everything that is made from the two source files of a results folder, which is only read.

    BenchError if the sources are damaged or do not belong to one run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.resolve().name
        self.frame, self.run = frame, run = load(folder)
        usual = default_budget(frame, run)
        self.cells, self.budgets = cells(frame, run), by_budget(frame, run)
        self.accuracies = list(accuracies(usual, run))
        self.variants = [AtVariant(c, v, f) for c in self.cells for v, f in c.by_variant.items()]
        self.accused = accusations(folder)
        self.costs = list(costs(usual, run))
        self.short: list[Table] = []
        """The tables of a terminal: AUCs, the price of evasion, costs, and described suspects."""
        self.full: list[Table] = []
        """These, and all others but those of accuracies."""
        self.accuracy_tables: list[Table] = []
        self.sections: list[page.Section] = []
        self.further: list[Table] = []
        """The tables of no section: of described suspects and, where nothing was stolen, of costs and accuracies."""
        cost_of, networks_of = _by_section(self.costs), _by_section(self.accuracies)
        points_of = grouped(((p.cell.dataset, p.cell.source_architecture), p) for p in self.budgets)
        cells_of = _by_section(self.cells)
        for section, group in cells_of.items():
            self._add(group, points_of.get(section, []), cost_of.get(section, []), networks_of.get(section, []))
        self._add_further(
            suspects_tables(standings(usual)),
            [cost_table(costly, self.accused) for section, costly in cost_of.items() if section not in cells_of],
            [accuracy_table(of, run) for section, of in networks_of.items() if section not in cells_of],
        )

    def _add_further(self, suspects: list[Table], price: list[Table], accuracy: list[Table]) -> None:
        """Add the tables of no section."""
        price, accuracy = (list(map(with_legend, tables)) for tables in (price, accuracy))
        suspects, price, accuracy = (
            [replace(t, caption=" ".join([t.caption, *meaningless(self.run)])) for t in tables]
            for tables in (suspects, price, accuracy)
        )
        self.short += [*suspects, *price]
        self.full += [*suspects, *price]
        self.accuracy_tables += accuracy
        self.further = [*suspects, *price, *accuracy]

    def _add(self, group: list[Cell], points: list[AtBudget], costly: list[Cost], trained: list[Accuracy]) -> None:
        """Add the tables of one dataset and source architecture."""
        of_methods = [baselines_table(group), *rates_tables(group), negatives_table(group), variants_table(group)]
        below = " ".join([drawn(group), *meaningless(self.run)])
        aucs, price, others, cost, budget, accuracy = (
            [with_legend(replace(t, caption=f"{t.caption} {below}")) for t in tables if t]
            for tables in (
                [auc_table(group, self.run)],
                [evasion_table(group)],
                of_methods,
                [cost_table(costly, self.accused)] if costly else [],
                [budgets_table(points)] if points else [],
                [accuracy_table(trained, self.run)] if trained else [],
            )
        )
        self.short += [*aucs, *price, *cost]
        self.full += [*aucs, *price, *others, *cost, *budget]
        self.accuracy_tables += accuracy
        tables = [*aucs, *price, *others, *cost, *budget, *accuracy]
        self.sections.append(page.Section(group, tables, costly, points, trained))

    def text(self, kind: str) -> str:
        """Return the tables in one of FORMATS; BenchError for another one."""
        if kind not in FORMATS:
            hint = did_you_mean(str(kind), FORMATS)
            raise BenchError(f"There is no format {kind!r:.80}. {hint}There are {', '.join(FORMATS)}")
        if kind == "txt":
            return "\n\n".join(map(text, self.short))
        if kind == "md":
            return "\n".join(["# Results\n", *map(markdown, self.full)])
        if kind == "csv":
            return csv_files.table_csv(self.cells)
        return "\n".join(self.latex().values()) if kind == "tex" else bibtex(self.frame, self.run)

    def latex(self) -> dict[str, str]:
        """Return the tables as LaTeX, each by the name of its file."""
        return {f"{TEX}/{file_name(t)}.tex": latex(t, self.name) for t in (*self.full, *self.accuracy_tables)}

    def _page(self) -> str:
        try:
            return page.html(self.frame, self.run, self.sections, self.further)
        except OSError as error:  # matplotlib has to write somewhere
            raise BenchError(f"The page cannot be drawn: {first_line(error)}") from error

    def files(self) -> dict[str, str]:
        """Return every file of the report by its name."""
        files = {
            **{name: self.text(kind) for kind, name in FILES.items()},
            **self.latex(),
            "accuracy.csv": csv_files.csv_text(csv_files.ACCURACY_COLUMNS, self.accuracies),
            "accuracy.md": "\n".join(["# Test accuracies\n", *map(markdown, self.accuracy_tables)]),
            "index.html": self._page(),
        }
        if self.budgets:
            files["budgets.csv"] = csv_files.csv_text(csv_files.BUDGET_COLUMNS, self.budgets)
        if self.variants:
            files["variants.csv"] = csv_files.csv_text(csv_files.VARIANT_COLUMNS, self.variants)
        return files


def check(folder: Path) -> str:
    """Compare a folder's AUCs with those of the papers: a verdict per cell, and their counts."""
    frame, run = load(Path(folder))
    judged = cells(frame, run)
    tables = [text(with_legend(check_table(group, run))) for group in _by_section(judged).values()]
    return "\n\n".join([*tables, f"all cells: {verdicts(judged)}\n"])


def _by_section(results: Iterable[Result]) -> dict[tuple[str, str], list[Result]]:
    """Divide results by dataset and source architecture."""
    return grouped(((r.dataset, r.source_architecture), r) for r in results)
