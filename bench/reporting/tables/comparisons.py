"""Tables that compare the AUCs: with the baselines, with other negatives, with the papers."""

import re
from collections.abc import Mapping, Sequence

from bench.analysis.cell_statistics import of_table
from bench.analysis.cells import Cell
from bench.core.canonical import JSON
from bench.reporting.tables.auc import paper_line
from bench.reporting.tables.method_table import attack_columns, method_table, no_figure
from bench.reporting.tables.notes import drawn, meaningless, verdicts
from bench.reporting.tables.table import Line, Table, cell, counted, interval, signed
from bench.stats.differences import TESTED_FROM


def baselines_table(cells: Sequence[Cell]) -> Table | None:
    """Return by how much each cell beats the baseline that is hardest to beat; None if nothing was tested."""
    if not any(c.baselines for c in cells):
        return None
    methods = [c for c in cells if not c.baseline]
    return method_table(
        methods,
        "against the baselines",
        attack_columns(methods, _baseline_lines),
        "AUC minus that of the baseline that is hardest to beat, which is named: the mean of the differences of the "
        f"sources. From {TESTED_FROM} sources on, the p-value of “better than every baseline” / the same for all "
        "cells of this table together. A watermark has a source and stolen suspects of its own.",
        label="baselines",
    )


def _baseline_lines(c: Cell) -> list[Line]:
    if c.baselines is None:
        return cell("not compared") if c.figure and not c.reason else no_figure(c)
    f = c.baselines
    tested = "" if f.p is None or f.adjusted is None else f"p {_p(f.p)} / {_p(f.adjusted)}"
    all_sources = len(c.figure.by_source) if c.figure else 0
    fewer = f"({f.sources} of {counted(all_sources, 'source')})" if f.sources < all_sources else ""
    difference = f"{signed(f.difference)}{'†' * f.beaten}{'*' * c.incomplete} {f.baseline}"
    return cell(*filter(None, (difference, fewer, tested)))


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.4f}"


def negatives_table(cells: Sequence[Cell]) -> Table:
    """Return the AUCs against different sets of irrelevant models: how much of an AUC is architecture."""
    shown = [s for s in of_table("negatives") if not s.optional or any(map(s.value, cells))]

    def lines(c: Cell) -> list[Line]:
        values = " / ".join(f"{v.value:.2f}" if v else "none" for v in (s.value(c) for s in shown))
        return cell(f"{values}{'*' * c.incomplete}") if c.figure else no_figure(c)

    return method_table(
        cells,
        "AUC against other negatives",
        attack_columns(cells, lines),
        f"AUC {' / '.join(s.label for s in shown)}.",
        label="negatives",
    )


def check_table(cells: Sequence[Cell], run: Mapping[str, JSON]) -> Table:
    """Return the papers' AUCs beside ours, with a verdict per cell."""
    reduced = any(c.paper and c.home and c.suspects_only for c in cells)
    return method_table(
        cells,
        "against the papers",
        attack_columns(cells, _check_lines),
        f"{verdicts(cells)}. {' '.join([drawn(cells), *meaningless(run)])}",
        notes=["Compared without the irrelevant models in the source's architecture, which the papers do not have."]
        * reduced,
        label="papers",
        level=2,
    )


def _check_lines(c: Cell) -> list[Line]:
    if c.reason:
        return cell("–", c.verdict)
    ours = c.like_paper if c.paper else c.figure
    figures = [Line(f"{ours.auc:.2f}{'*' * c.incomplete}"), *interval(ours)] if ours else no_figure(c)
    paper = [paper_line(c.paper)] if c.paper else []
    return [*figures, *paper, *cell(*re.split(r"(?<=:) | (?=to tell|\()", c.verdict))]
