"""Lay out what stands beside the AUCs: hits and false accusations, costs, query budgets, accuracies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from bench import metrics
from bench.accuracies import Accuracy
from bench.budgets import AtBudget
from bench.cells import Cell, mean
from bench.comparisons import Frozen
from bench.costs import Cost
from bench.layout import attacks, by_method, caption, first_floor, place
from bench.rates import RATES
from bench.tables import Line, Table, cell
from bench.types import JSON

# --- hits and false accusations -----------------------------------------------------------------------------------


def rates_tables(cells: Sequence[Cell]) -> Iterator[Table]:
    """Lay out TPRs and false accusations, where any can be reported; otherwise only how many models they need."""
    found = [r for r in RATES if any(isinstance(c.hits.get(r), metrics.Rate) for c in cells)]
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
        floors=first_floor(rows),
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
        floors=first_floor(rows),
        level=3,
        label=f"{cells[0].dataset}-{cells[0].source_architecture}-accusations",
    )


def _rate(value: metrics.Rate | Frozen | metrics.NotReported) -> str:
    if isinstance(value, metrics.NotReported):
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
        needed = [cell("n/r", f"needs ≥ {v.needs}") for v in told if isinstance(v, metrics.NotReported)]
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


# --- query budgets ------------------------------------------------------------------------------------------------


def budgets_table(points: Sequence[AtBudget]) -> Table:
    """Lay out the AUCs of one dataset and source architecture by the number of queries."""
    rows: dict[tuple[str, int, bool], list[Cell]] = {}
    for p in points:
        rows.setdefault((p.cell.method, p.budget, p.default), []).append(p.cell)
    several = [p.cell for p in points]
    home = sum(c.home for c in next(iter(rows.values())))

    def lines(c: Cell) -> list[Line]:
        if c.reason or c.figure is None:
            return cell("–" if c.reason else "*")
        mark = "*" if c.status == "incomplete" else ""
        return cell(f"{c.figure.auc:.2f}{mark}", f"[{c.figure.low:.2f}, {c.figure.high:.2f}]")

    def average(row: Sequence[Cell]) -> list[Line]:
        value = mean(row)
        return [] if value is None else cell(f"{value:.2f}")

    return Table(
        title=f"{place(several)}: AUC by query budget",
        header=["method", "queries", *attacks(several), f"mean of {home}"],
        rows=[
            [cell(method), cell(f"{budget}{' (default)' * default}"), *map(lines, row), average(row)]
            for (method, budget, default), row in rows.items()
        ],
        caption="The AUC, with its 95 % interval, of methods whose number of queries was set. All other tables are of "
        "the default.",
        floors=next((n for n, row in enumerate(rows.values()) if row[0].floor), None),
        level=3,
        label=f"{several[0].dataset}-{several[0].source_architecture}-budgets",
    )


# --- cost ---------------------------------------------------------------------------------------------------------


def cost_table(costs: Sequence[Cost]) -> Table:
    """Lay out what each method costs, on one dataset and source architecture."""
    first = costs[0]
    return Table(
        title=f"{place(costs)}: cost",
        header=["method", "accuracy", "lost", "access", "queries", "verify s", "make s", "nets"],
        rows=[list(map(cell, _cost_texts(c))) for c in costs],
        caption="Test accuracy of the source in percent, and the points lost by a watermark; the strongest access "
        "asked of a suspect, queries per suspect, median seconds to verify one; seconds to make a fingerprint (a "
        "watermark: its source too) with the networks (nets) trained for it.",
        notes=[note for c in costs for note in _cost_notes(c)],
        floors=next((n for n, c in enumerate(costs) if c.floor), None),
        level=3,
        label=f"{first.dataset}-{first.source_architecture}-cost",
    )  # fmt: skip


def _cost_texts(c: Cost) -> list[str]:
    return [
        c.method,
        _percent(c.accuracy),
        "" if c.lost is None else f"{100 * c.lost:.1f}",
        c.access,
        " to ".join(map(str, dict.fromkeys(c.queries or ()))),
        _three(c.seconds_to_verify),
        _three(c.seconds_to_make),
        "" if c.networks is None else str(c.networks),
    ]


def _cost_notes(c: Cost) -> Iterator[str]:
    if c.networks:
        yield f"networks of {c.method}: {', '.join(c.helper_architectures) or 'the suspects’ architectures'} in turn."
    if c.notes:
        yield f"notes of {c.method}: {', '.join(f'{name} {value}' for name, value in c.notes.items())}."


def _percent(accuracy: metrics.Summary | None) -> str:
    if accuracy is None:
        return ""
    spread = f" ± {100 * accuracy.sd:.1f}" if accuracy.n > 1 else ""
    return f"{100 * accuracy.mean:.1f}{spread}"


def _three(seconds: float | None) -> str:
    """Write seconds with three digits; nothing where they are not known."""
    return "" if seconds is None else f"{seconds:.3g}" if seconds < 1000 else f"{seconds:.0f}"


# --- accuracies ---------------------------------------------------------------------------------------------------


def accuracy_table(networks: Sequence[Accuracy], run: Mapping[str, JSON]) -> Table:
    """Lay out the test accuracies of one dataset and source architecture, in percent."""
    rows = []
    for a in networks:
        value, n = _percent(a.summary), str(a.summary.n)
        texts = (a.owner, a.model, a.variant, a.suspect_dataset, a.suspect_architecture or "all", value, n)
        rows.append([*map(cell, texts), cell(f"{100 * a.paper:.1f}" if a.paper is not None else "")])
    return Table(
        title=f"{place(networks)}: test accuracy",
        header=["source", "model", "variant", "tested on", "architecture", "accuracy", "n", "paper"],
        rows=rows,
        caption=caption(
            run,
            "test accuracy in percent, mean ± standard deviation over n networks, each counted once; irrelevant models "
            "belong to no source and stand with the plain one",
        ),
    )
