"""The statistics of a cell: `table.csv`, the tables and the page show those of this list."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from bench.analysis.cells import Cell
from bench.analysis.error_rates import RATES
from bench.stats.intervals import AucEstimate
from bench.stats.rates import NotReported, Rate


class Value(NamedTuple):
    """A statistic of one cell; where it has them, with the ends of its interval and the number of models it is `of`.

    Without a `value` it is not reported: it `needs` that many irrelevant models of each source.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    of: int | None = None
    needs: int | None = None


@dataclass(frozen=True)
class CellStatistic:
    """How a number is read from a cell, and where it is shown.

    `key` and `title` name it on the page, `columns` are those of `table.csv` with the field of Value that each holds.
    `table` is `negatives`, `hits` or `accused` for the tables of these, `auc` for a line in each cell of the table of
    AUCs, unless it is as low as `unless`, or empty for none; `label` explains it there. An `optional` one is left out
    if no cell of a table has it. `scale` is how the page colours it (empty: not at all), `digits` come after the point.
    """

    key: str
    title: str
    value: Callable[[Cell], Value | None]
    columns: Mapping[str, str]
    table: str = "auc"
    label: str = ""
    unless: float = -math.inf
    optional: bool = False
    scale: str = ""
    digits: int = 2

    def in_table(self, value: Value) -> bool:
        """Return True if a value is worth a line in the table of AUCs."""
        return value.value is None or value.value > self.unless

    def text(self, value: Value | None) -> str:
        """Write a value with its interval and the number of models it is of."""
        if value is None:
            return "none"
        if value.value is None:
            return f"n/r (needs ≥ {value.needs})"
        interval = "" if value.low is None else f" [{value.low:.2f}, {value.high:.2f}]"
        return f"{value.value:.{self.digits}f}{interval}{'' if value.of is None else f' of {value.of}'}"


def _auc(estimate: AucEstimate | None) -> Value | None:
    return Value(estimate.auc, estimate.low, estimate.high) if estimate else None


def _rate(found: Rate | NotReported | None, counted: bool = False) -> Value | None:
    """Return a rate; if it is `counted`, with the number of models."""
    if isinstance(found, NotReported):
        return Value(None, needs=found.needs)
    return Value(found.rate, found.low, found.high, found.of if counted else None) if found else None


def _hits(rate: float) -> CellStatistic:
    return CellStatistic(
        f"tpr{100 * rate:g}",
        f"TPR at {100 * rate:g} % FPR",
        lambda c: _rate(c.hits.get(rate)),
        _columns(f"tpr_at_{100 * rate:g}", "low", "high", "needs"),
        table="hits",
        label=f"{100 * rate:g} %",
        scale="tpr",
    )


def _accused(rate: float) -> CellStatistic:
    return CellStatistic(
        f"accused{100 * rate:g}",
        f"false accusations, {100 * rate:g} % promised",
        lambda c: _rate(c.accused.get(rate), counted=True),
        _columns(f"accused_at_{100 * rate:g}", "low", "high", "of", "needs"),
        table="accused",
        label=f"{100 * rate:g} %",
        scale="accused",
    )


def _columns(name: str, *fields: str) -> dict[str, str]:
    return {name: "value", **{f"{name}_{field}": field for field in fields}}


STATISTICS: tuple[CellStatistic, ...] = (
    CellStatistic(
        "auc",
        "AUC",
        lambda c: _auc(c.figure),
        {"auc": "value", "low": "low", "high": "high"},
        table="negatives",
        label="against all irrelevant models of the dataset",
        scale="auc",
    ),
    CellStatistic(
        "same",
        "AUC, only negatives of the suspects' architectures",
        lambda c: Value(c.same_architecture.auc) if c.same_architecture else None,
        {"same_architecture_auc": "value"},
        table="negatives",
        label="against those in the suspect's own architecture (mean over architectures)",
        scale="auc",
    ),
    CellStatistic(
        "alone",
        "AUC, without negatives in the source's architecture",
        lambda c: _auc(c.suspects_only),
        {"suspects_only_auc": "value", "suspects_only_low": "low", "suspects_only_high": "high"},
        table="negatives",
        label="without those in the source's architecture, which is not among the suspects'",
        optional=True,
        scale="auc",
    ),
    *map(_hits, RATES),
    *map(_accused, RATES),
    CellStatistic(
        "sources",
        "number of sources",
        lambda c: Value(len(c.figure.by_source)) if c.figure else None,
        {"sources": "value"},
        table="",
        digits=0,
    ),
)
"""In the order of the page. A new one needs no other change: its columns come last in `table.csv`."""


def of_table(table: str) -> list[CellStatistic]:
    """Return the statistics that a table shows."""
    return [s for s in STATISTICS if s.table == table]
