"""Write what is known as lines of CSV files: a line per cell, per group of networks, per query budget."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

from bench.analysis.accuracies import Accuracy
from bench.analysis.baselines import AgainstBaselines
from bench.analysis.budgets import AtBudget
from bench.analysis.cells import LOST, Cell, mean, paper_mean
from bench.analysis.error_rates import RATES
from bench.results.writer import harmless
from bench.stats.rates import NotReported, Rate
from bench.stats.thresholds import Frozen

CELL_COLUMNS = (
    "dataset", "source_architecture", "method", "method_version", "baseline", "attack", "attack_version",
    "suspect_dataset", "status", "reason", "auc", "low", "high", "stolen", "irrelevant", "sources", "auc_least",
    "auc_most", "conditional", "stolen_planned", "irrelevant_planned", "failed", "blocked", "not_run", "error",
    "same_architecture_auc", "same_architecture_stolen", "same_architecture_irrelevant", "suspects_only_auc",
    "suspects_only_low", "suspects_only_high", "suspects_only_irrelevant", "paper_auc", "paper_stolen",
    "paper_irrelevant", "paper_same_networks", "verdict", "beats_baselines", "hardest_baseline", "baseline_difference",
    "baseline_p", "baseline_p_adjusted", "baseline_tests", "baseline_paired",
    *(f"tpr_at_{100 * rate:g}{what}" for rate in RATES for what in ("", "_low", "_high", "_needs")),
    *(f"accused_at_{100 * rate:g}{what}" for rate in RATES for what in ("", "_low", "_high", "_of", "_needs")),
)  # fmt: skip
"""The columns of `table.csv`: a line per cell, and one with status `mean` per method."""
ACCURACY_COLUMNS = ("dataset", "source_architecture", "source", "model", "variant", "suspect_dataset",
                    "suspect_architecture", "mean", "sd", "n", "paper")  # fmt: skip
"""The columns of `accuracy.csv`, accuracies as shares."""

BUDGET_COLUMNS = ("dataset", "source_architecture", "method", "budget", "default", "attack", "status", "auc", "low",
                  "high", "stolen", "irrelevant", "sources")  # fmt: skip
"""The columns of `budgets.csv`."""


def plain(values: Iterable[object]) -> list[str]:
    """Write the values of a line: floats so that they are read back exactly, no text that could be a formula."""

    def one(value: object) -> str:
        if value is None or value != value:
            return ""
        if isinstance(value, bool):
            return str(int(value))
        return (
            repr(float(value))
            if isinstance(value, float)
            else harmless(str(value))
            if isinstance(value, str)
            else str(value)
        )

    return [one(v) for v in values]


def cell_lines(judged: Sequence[Cell]) -> Iterator[list[object]]:
    """Give the lines of `table.csv`."""
    for _, cell_rows in itertools.groupby(judged, key=lambda c: (c.dataset, c.source_architecture, c.method)):
        row = list(cell_rows)
        yield from map(_cell_line, row)
        yield _mean_line(row)


def _cell_line(c: Cell) -> list[object]:
    f, strata, only, paper = c.figure, c.same_architecture, c.suspects_only, c.paper
    return [
        c.dataset, c.source_architecture, c.method, c.method_version, c.baseline, c.attack, c.attack_version,
        c.suspect_dataset, c.status, c.reason,
        *((f.auc, f.low, f.high, f.stolen, f.irrelevant) if f else [None] * 5),
        *((len(f.by_source), *f.range, f.conditional) if f else [None] * 4),
        c.stolen_planned, c.irrelevant_planned, *(c.lost.get(s, 0) for s in LOST),
        max(c.errors, key=lambda e: c.errors[e], default=""),
        *((strata.auc, strata.stolen, strata.irrelevant) if strata else [None] * 3),
        *((only.auc, only.low, only.high, only.irrelevant) if only else [None] * 4),
        *((paper.auc, paper.stolen or None, paper.irrelevant or None, paper.same) if paper else [None] * 4),
        c.verdict, *_baseline_values(c.baselines),
        *(value for rate in RATES for value in _hit_values(c.hits.get(rate))),
        *(value for rate in RATES for value in _accused_values(c.accused.get(rate))),
    ]  # fmt: skip


def _baseline_values(f: AgainstBaselines | None) -> list[object]:
    return [f.beaten, f.baseline, f.difference, f.p, f.adjusted, f.tests, f.paired] if f else [None] * 7


def _hit_values(value: Rate | NotReported | None) -> list[object]:
    if isinstance(value, Rate):
        return [value.rate, value.low, value.high, None]
    return [None, None, None, value.needs if value else None]


def _accused_values(value: Frozen | NotReported | None) -> list[object]:
    if isinstance(value, Frozen):
        rate = value.false_accusations
        return [rate.rate, rate.low, rate.high, rate.of, None]
    return [None, None, None, None, value.needs if value else None]


def _mean_line(row: Sequence[Cell]) -> list[object]:
    first, paper = row[0], paper_mean(row)
    known: dict[str, object] = {
        "dataset": first.dataset, "source_architecture": first.source_architecture, "method": first.method,
        "method_version": first.method_version, "baseline": first.baseline, "status": "mean", "auc": mean(row),
        "paper_auc": paper.auc if paper else None, "paper_same_networks": paper.same if paper else None,
    }  # fmt: skip
    return [known.get(c) for c in CELL_COLUMNS]


def accuracy_lines(networks: Sequence[Accuracy]) -> Iterator[list[object]]:
    """Give the lines of `accuracy.csv`."""
    for a in networks:
        yield [a.dataset, a.source_architecture, a.owner, a.model, a.variant, a.suspect_dataset,
               a.suspect_architecture, *a.summary, a.paper]  # fmt: skip


def budget_lines(points: Sequence[AtBudget]) -> Iterator[list[object]]:
    """Give the lines of `budgets.csv`."""
    for p in points:
        c, f = p.cell, p.cell.figure
        figures = (f.auc, f.low, f.high, f.stolen, f.irrelevant, len(f.by_source)) if f else [None] * 6
        yield [c.dataset, c.source_architecture, c.method, p.budget, p.default, c.attack, c.status, *figures]
