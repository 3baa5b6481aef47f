"""The tables of hits at a fixed rate of false alarms, and of false accusations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.cells import Cell
from bench.analysis.error_rates import RATES
from bench.reporting.tables.method_table import (
    Column,
    attack_columns,
    method_table,
    no_figure,
    section_label,
    section_title,
)
from bench.reporting.tables.numbers import CONFIDENCE, interval, percentage
from bench.reporting.tables.table import Line, Table, cell
from bench.stats.rates import NotReported, Rate
from bench.stats.thresholds import Frozen


def rates_tables(cells: Sequence[Cell]) -> Iterator[Table]:
    """Make the tables of TPRs and of false accusations, and one of the rates that need more irrelevant models."""
    found = [r for r in RATES if any(isinstance(c.hits.get(r), Rate) for c in cells)]
    frozen = [r for r in RATES if any(isinstance(c.accused.get(r), Frozen) for c in cells)]
    if found:
        yield _hits_table(cells, found)
    if frozen:
        yield _accused_table(cells, frozen)
    if len(found) < len(RATES) or len(frozen) < len(RATES):
        yield from _needs_table(cells, found, frozen)


def _hits_table(cells: Sequence[Cell], rates: Sequence[float]) -> Table:
    def lines(c: Cell) -> list[Line]:
        return [Line(f"{percentage(rate)}: {_rate(c.hits[rate])}") for rate in rates] if c.hits else no_figure(c)

    return method_table(
        cells,
        "TPR at a fixed FPR",
        attack_columns(cells, lines),
        "The share of stolen suspects that a method finds while it accuses at most so many of the irrelevant "
        f"models, with its exact {CONFIDENCE} interval (which takes the threshold as given). n/r: not reported, for it "
        "needs so many irrelevant models.",
        label="tpr",
    )


def _accused_table(cells: Sequence[Cell], rates: Sequence[float]) -> Table:
    def column(dataset: str) -> Column:
        def lines(row: Sequence[Cell]) -> list[Line]:
            accused = next((c.accused for c in row if c.accused and c.suspect_dataset == dataset), None)
            if accused is None:
                return cell("–")
            return [Line(f"{percentage(rate)}: {_rate(accused[rate])}") for rate in rates]

        return lines

    return method_table(
        cells,
        "false accusations",
        {d: column(d) for d in dict.fromkeys(c.suspect_dataset for c in cells if c.accused)},
        "The share of irrelevant models that a threshold accuses which was set on the other half of them so "
        f"as to accuse at most so many (split conformal), with its exact {CONFIDENCE} interval and the number of "
        "models judged. The halves are drawn from the split seed, once per dataset, the same for all methods. n/r: not "
        "reported, for it needs so many irrelevant models.",
        label="accusations",
    )


def _rate(value: Rate | Frozen | NotReported) -> str:
    if isinstance(value, NotReported):
        return f"n/r (needs ≥ {value.needs})"
    rate = value.false_accusations if isinstance(value, Frozen) else value
    judged = f" of {rate.of}" if isinstance(value, Frozen) else ""
    return f"{rate.rate:.2f} {interval(rate)}{judged}"


def _needs_table(cells: Sequence[Cell], found: Sequence[float], frozen: Sequence[float]) -> Iterator[Table]:
    """Make the table of the rates that no cell has, and of how many irrelevant models they need."""
    hits = [r for r in RATES if r not in found]
    accused = [r for r in RATES if r not in frozen]
    rows = []
    for dataset in dict.fromkeys(c.suspect_dataset for c in cells if c.hits):
        judged = [c for c in cells if c.suspect_dataset == dataset and c.hits]
        first = judged[0]
        rates = [first.hits[r] for r in hits] + [first.accused[r] for r in accused if r in first.accused]
        needs = [cell("n/r", f"needs ≥ {v.needs}") for v in rates if isinstance(v, NotReported)]
        rows.append([cell(dataset), cell(_irrelevant(judged)), *needs])
    if not rows:
        return
    names = [f"TPR at\n{percentage(r)} FPR" for r in hits] + [f"accused\nat {percentage(r)}" for r in accused]
    yield Table(
        title=f"{section_title(cells)}: rates that need more irrelevant models",
        header=["irrelevant models of", "there are", *names],
        rows=rows,
        caption="n/r: not reported, for it needs so many irrelevant models. TPR: the share of stolen suspects found "
        "at such a rate of false alarms; accused: the share of irrelevant models that a threshold accuses which was "
        "set on the other half of them.",
        level=3,
        label=section_label(cells, "needs"),
    )


def _irrelevant(cells: Sequence[Cell]) -> str:
    counts = sorted({c.figure.irrelevant for c in cells if c.figure})
    return " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))
