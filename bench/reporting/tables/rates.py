"""The tables of hits at a fixed rate of false alarms, and of false accusations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.analysis.cells import Cell
from bench.analysis.error_rates import RATES
from bench.reporting.tables.grouping import attacks, by_method, first_baseline, place
from bench.reporting.tables.table import Line, Table, cell
from bench.stats.rates import NotReported, Rate
from bench.stats.thresholds import Frozen


def rates_tables(cells: Sequence[Cell]) -> Iterator[Table]:
    """Lay out TPRs and false accusations, where any can be reported; otherwise only how many models they need."""
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
        if c.reason or not c.hits:
            return cell("–" if c.reason else "*")
        return [Line(f"{_percentage(rate)}: {_rate(c.hits[rate])}") for rate in rates]

    rows = by_method(cells)
    return Table(
        title=f"{place(cells)}: TPR at a fixed FPR",
        header=["method", *attacks(cells)],
        rows=[[cell(name), *map(lines, row)] for name, row in rows.items()],
        caption="The share of stolen suspects that a method finds while it accuses at most so many of the irrelevant "
        "models, with its exact 95 % interval (which takes the threshold as given). n/r: not reported, for it needs so "
        "many irrelevant models.",
        baselines=first_baseline(rows),
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-tpr",
    )


def _accused_table(cells: Sequence[Cell], rates: Sequence[float]) -> Table:
    datasets = [*dict.fromkeys(c.suspect_dataset for c in cells if c.accused)]
    rows = by_method(cells)

    def lines(row: Sequence[Cell], dataset: str) -> list[Line]:
        of = next((c.accused for c in row if c.accused and c.suspect_dataset == dataset), None)
        if of is None:
            return cell("–")
        return [Line(f"{_percentage(rate)}: {_rate(of[rate])}") for rate in rates]

    return Table(
        title=f"{place(cells)}: false accusations",
        header=["method", *datasets],
        rows=[[cell(name), *(lines(row, d) for d in datasets)] for name, row in rows.items()],
        caption="The share of irrelevant models that a threshold accuses which was set on the other half of them so "
        "as to accuse at most so many (split conformal), with its exact 95 % interval and the number of models judged. "
        "The halves are drawn from the split seed, once per dataset, the same for all methods. n/r: not reported, for "
        "it needs so many irrelevant models.",
        baselines=first_baseline(rows),
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-accusations",
    )


def _rate(value: Rate | Frozen | NotReported) -> str:
    if isinstance(value, NotReported):
        return f"n/r (needs ≥ {value.needs})"
    rate = value.false_accusations if isinstance(value, Frozen) else value
    judged = f" of {rate.of}" if isinstance(value, Frozen) else ""
    return f"{rate.rate:.2f} [{rate.low:.2f}, {rate.high:.2f}]{judged}"


def _needs_table(cells: Sequence[Cell], found: Sequence[float], frozen: Sequence[float]) -> Iterator[Table]:
    """Say which rates no cell has, and how many irrelevant models they would need."""
    hits = [r for r in RATES if r not in found]
    accused = [r for r in RATES if r not in frozen]
    rows = []
    for dataset in dict.fromkeys(c.suspect_dataset for c in cells if c.hits):
        here = [c for c in cells if c.suspect_dataset == dataset and c.hits]
        told = [here[0].hits[r] for r in hits] + [here[0].accused[r] for r in accused if r in here[0].accused]
        needed = [cell("n/r", f"needs ≥ {v.needs}") for v in told if isinstance(v, NotReported)]
        rows.append([cell(dataset), cell(_numbers(here)), *needed])
    if not rows:
        return
    names = [f"TPR at\n{_percentage(r)} FPR" for r in hits] + [f"accused\nat {_percentage(r)}" for r in accused]
    yield Table(
        title=f"{place(cells)}: rates that need more irrelevant models",
        header=["irrelevant models of", "there are", *names],
        rows=rows,
        caption="n/r: not reported, for it needs so many irrelevant models. TPR: the share of stolen suspects found "
        "at such a rate of false alarms; accused: the share of irrelevant models that a threshold accuses which was "
        "set on the other half of them.",
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-needs",
    )


def _numbers(cells: Sequence[Cell]) -> str:
    counts = sorted({c.figure.irrelevant for c in cells if c.figure})
    return " to ".join(dict.fromkeys(map(str, (counts[0], counts[-1]))))


def _percentage(rate: float) -> str:
    return f"{100 * rate:g} %"
