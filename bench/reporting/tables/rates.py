"""The tables of hits at a fixed rate of false alarms, and of false accusations."""

from collections.abc import Iterator, Sequence

from bench.analysis.cell_statistics import CellStatistic, of_table
from bench.analysis.cells import Cell
from bench.reporting.tables.method_table import Column, attack_columns, method_table, no_figure, section_table
from bench.reporting.tables.table import CONFIDENCE, Line, Table, cell
from bench.stats.rates import NotReported

HEADINGS = {"hits": "TPR at\n{} FPR", "accused": "accused\nat {}"}


def rates_tables(cells: Sequence[Cell]) -> Iterator[Table]:
    """Make the tables of TPRs and of false accusations, and one of the rates that need more irrelevant models."""
    hits, accused = (
        [s for s in of_table(table) if any((v := s.value(c)) and v.value is not None for c in cells)]
        for table in HEADINGS
    )
    if hits:
        yield method_table(
            cells,
            "TPR at a fixed FPR",
            attack_columns(cells, lambda c: _lines(hits, c) or no_figure(c)),
            "The share of stolen suspects that a method finds while it accuses at most so many of the irrelevant "
            f"models of a source, with its exact {CONFIDENCE} interval (which takes sources and thresholds as given). "
            "n/r: not reported, for it needs so many irrelevant models of each source.",
            label="tpr",
        )
    if accused:
        yield _accused_table(cells, accused)
    if missing := [s for table in HEADINGS for s in of_table(table) if s not in (*hits, *accused)]:
        yield from _needs_table(cells, missing)


def _lines(rates: Sequence[CellStatistic], c: Cell) -> list[Line]:
    return [Line(f"{s.label}: {s.text(v)}{'*' * c.incomplete}") for s in rates if (v := s.value(c))]


def _accused_table(cells: Sequence[Cell], rates: Sequence[CellStatistic]) -> Table:
    def column(dataset: str) -> Column:
        def lines(row: Sequence[Cell]) -> list[Line]:
            # All have the same figures. A complete one shows that no irrelevant model is missing.
            own = sorted(row, key=lambda c: (c.untrained, c.incomplete))
            return next(filter(None, (_lines(rates, c) for c in own if c.suspect_dataset == dataset)), cell("–"))

        return lines

    return method_table(
        cells,
        "false accusations",
        {d: column(d) for d in dict.fromkeys(c.suspect_dataset for c in cells if c.accused)},
        "The share of irrelevant models that a threshold accuses which was set, for each source, on the other half of "
        f"them so as to accuse at most so many (split conformal), with its exact {CONFIDENCE} interval (which takes "
        "sources and thresholds as given) and the number of models judged. The halves are drawn from the split seed, "
        "once per dataset, the same for all methods. n/r: not reported, for it needs so many irrelevant models of each "
        "source.",
        label="accusations",
    )


def _needs_table(cells: Sequence[Cell], missing: Sequence[CellStatistic]) -> Iterator[Table]:
    """Make the table of the rates that no cell has, and of how many irrelevant models they need.

    Beside these numbers: how many have a score at the poorest source, by the method that has most of them.
    """
    rows = []
    for dataset in dict.fromkeys(c.suspect_dataset for c in cells if c.hits):
        judged = [c for c in cells if c.suspect_dataset == dataset and c.hits]
        few = [r for c in judged for r in (*c.hits.values(), *c.accused.values()) if isinstance(r, NotReported)]
        present = str(max(r.has for r in few))
        needs = [cell("n/r", f"needs ≥ {v.needs}") for s in missing if (v := s.value(judged[0]))]
        rows.append([cell(dataset), cell(present), *needs])
    if rows:
        yield section_table(
            cells,
            "rates that need more irrelevant models",
            ["irrelevant models of", "of a source", *(HEADINGS[s.table].format(s.label) for s in missing)],
            rows,
            "n/r: not reported, for it needs so many irrelevant models of each source. TPR: the share of stolen "
            "suspects found at such a rate of false alarms; accused: the share of irrelevant models that a threshold "
            "accuses which was set on the other half of them.",
            label="needs",
        )
