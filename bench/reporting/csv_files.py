"""The CSV files of a report: a list of columns each, from which the file and its documentation follow."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from bench.analysis.accuracies import Accuracy
from bench.analysis.cell_statistics import STATISTICS, CellStatistic
from bench.analysis.cells import LOST, AtBudget, AtVariant, Cell
from bench.analysis.evasion import Evasion
from bench.analysis.means import mean, paper_mean
from bench.core.kinds import Status
from bench.reporting.tables.method_table import grouped
from bench.results.columns import Column, Kind
from bench.results.writer import comma_separated, written

Record = TypeVar("Record")


def csv_text(columns: Sequence[Column[Record]], records: Iterable[Record]) -> str:
    """Write a CSV file, a line per record."""
    return comma_separated([c.name for c in columns], ([written(c.type, c.value(r)) for c in columns] for r in records))


def attribute(path: str) -> Callable[[object], Any]:
    """Return a function that reads an attribute, through parts of a record that it may lack."""

    def value(record: object) -> object:
        for name in path.split("."):
            record = None if record is None else getattr(record, name)
        return record

    return value


def attributes(kind: Kind, *names: str, part: str = "", prefix: str = "") -> list[Column[Any]]:
    """Return columns that are named, after a prefix, like attributes of a record, or of a part of it."""
    return [Column(prefix + name, kind, attribute(f"{part}.{name}" if part else name)) for name in names]


def _statistic(s: CellStatistic) -> list[Column[Cell]]:
    def value(field: str) -> Callable[[Cell], object]:
        return lambda c: getattr(s.value(c), field, None)

    kinds = {"of": int, "needs": int, **({} if s.digits else {"value": int})}
    return [Column(name, kinds.get(field, float), value(field)) for name, field in s.columns.items()]


def _lost(status: Status) -> Column[Cell]:
    return Column(status.value, int, lambda c: c.lost.get(status, 0))


def _evasion_columns() -> list[Column[Cell]]:
    def value(read: Callable[[Evasion], float]) -> Callable[[Cell], float | None]:
        def finite(c: Cell) -> float | None:
            number = read(c.evasion) if isinstance(c.evasion, Evasion) else math.inf
            return None if math.isinf(number) else number

        return finite

    return [
        Column("evasion_loss", float, value(lambda e: e.median.value)),
        Column("evasion_low", float, value(lambda e: e.median.low)),
        Column("evasion_high", float, value(lambda e: e.median.high)),
        Column("evasion_coverage", float, value(lambda e: e.median.coverage)),
        Column("evasion_most", float, value(lambda e: e.most)),
        Column("evasion_sources", int, value(lambda e: len(e.losses))),
        Column("evasion_never", int, value(lambda e: e.never)),
        Column("evasion_at_weakest", int, value(lambda e: e.at_weakest)),
    ]


def _cell_columns() -> list[Column[Cell]]:
    by_key = {s.key: _statistic(s) for s in STATISTICS}
    columns = [
        *attributes(str, "dataset", "source_architecture", "method"),
        *attributes(int, "method_version"),
        *attributes(bool, "baseline"),
        *attributes(str, "attack"),
        *attributes(int, "attack_version"),
        *attributes(str, "suspect_dataset", "status", "reason"),
        *by_key["auc"],
        *attributes(int, "stolen", "irrelevant", part="figure"),
        *by_key["sources"],
        Column("auc_least", float, lambda c: c.figure and c.figure.range[0]),
        Column("auc_most", float, lambda c: c.figure and c.figure.range[1]),
        *attributes(bool, "conditional", part="figure"),
        *attributes(int, "stolen_planned", "irrelevant_planned"),
        Column("stolen_equal", int, attribute("equal")),
        Column("unlearned", int, lambda c: len(c.unlearned)),
        Column("at_lowest", float, attribute("extremes.lowest")),
        Column("at_highest", float, attribute("extremes.highest")),
        Column("draws", int, lambda c: c.drawn.fingerprints or None),
        *map(_lost, LOST),
        Column("error", str, lambda c: max(c.errors, key=lambda e: c.errors[e], default="")),
        *by_key["same"],
        *attributes(int, "stolen", "irrelevant", part="same_architecture", prefix="same_architecture_"),
        *by_key["alone"],
        Column("suspects_only_irrelevant", int, attribute("suspects_only.irrelevant")),
        Column("paper_auc", float, attribute("paper.auc")),
        Column("paper_stolen", int, lambda c: (c.paper and c.paper.stolen) or None),
        Column("paper_irrelevant", int, lambda c: (c.paper and c.paper.irrelevant) or None),
        Column("paper_same_networks", bool, attribute("paper.same")),
        *attributes(str, "verdict"),
        Column("beats_baselines", bool, attribute("baselines.beaten")),
        Column("hardest_baseline", str, attribute("baselines.baseline")),
        *attributes(float, "difference", "p", part="baselines", prefix="baseline_"),
        Column("baseline_p_adjusted", float, attribute("baselines.adjusted")),
        Column("baseline_tests", int, attribute("baselines.tests")),
        Column("baseline_paired", bool, attribute("baselines.paired")),
    ]
    known = {c.name for c in columns}
    columns += _evasion_columns()
    return columns + [c for s in STATISTICS for c in _statistic(s) if c.name not in known]


CELL_COLUMNS = _cell_columns()
"""The columns of `table.csv`: a line per cell, and one with status `mean` per method."""
OF_METHOD = ("dataset", "source_architecture", "method", "method_version", "baseline")
"""The columns that all cells of a line with status `mean` share."""
ACCURACY_COLUMNS: list[Column[Accuracy]] = [
    *attributes(str, "dataset", "source_architecture"),
    Column("source", str, attribute("owner")),
    *attributes(str, "model", "variant", "suspect_dataset", "suspect_architecture"),
    *attributes(float, "mean", "sd", part="summary"),
    *attributes(int, "n", part="summary"),
    *attributes(int, "unlearned"),
    *attributes(float, "paper"),
]

BUDGET_COLUMNS: list[Column[AtBudget]] = [
    *attributes(str, "dataset", "source_architecture", "method", part="cell"),
    *attributes(int, "budget"),
    *attributes(bool, "default"),
    *attributes(str, "attack", "status", part="cell"),
    *attributes(float, "auc", "low", "high", part="cell.figure"),
    *attributes(int, "stolen", "irrelevant", part="cell.figure"),
    Column("sources", int, lambda p: p.cell.figure and len(p.cell.figure.by_source)),
]
VARIANT_COLUMNS: list[Column[AtVariant]] = [
    *attributes(str, "dataset", "source_architecture", "method", "attack", part="cell"),
    *attributes(str, "variant"),
    *attributes(float, "auc", "low", "high", part="figure"),
    *attributes(int, "stolen", "irrelevant", part="figure"),
    Column("sources", int, lambda v: len(v.figure.by_source)),
]


def table_csv(cells: Sequence[Cell]) -> str:
    """Write `table.csv`."""
    lines: list[list[str]] = []
    for row in grouped(((c.dataset, c.source_architecture, c.method), c) for c in cells).values():
        lines += [[written(column.type, column.value(c)) for column in CELL_COLUMNS] for c in row]
        means = {name: getattr(row[0], name) for name in OF_METHOD} | {"status": "mean", "auc": mean(row)}
        if paper := paper_mean(row):
            means |= {"paper_auc": paper.auc, "paper_same_networks": paper.same}
        lines.append([written(c.type, means.get(c.name)) for c in CELL_COLUMNS])
    return comma_separated([c.name for c in CELL_COLUMNS], lines)
