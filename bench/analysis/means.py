"""Average the AUCs of a method over attacks, and those of its paper."""

from collections.abc import Sequence

from bench.analysis.cells import Cell
from bench.analysis.reported import ReportedAuc


def mean(cells: Sequence[Cell]) -> float | None:
    """Average a method's AUCs over the attacks that stay at home; None where one is missing or not applicable."""
    figures = [c.figure for c in cells if c.home]
    return sum(f.auc for f in figures if f) / len(figures) if figures and all(figures) else None


def paper_mean(cells: Sequence[Cell]) -> ReportedAuc | None:
    """Average the paper's AUCs over the same attacks; None where it lacks one."""
    known = [c.paper for c in cells if c.home and c.paper]
    if not known or len(known) < sum(c.home for c in cells):
        return None
    return ReportedAuc(sum(p.auc for p in known) / len(known), 0, 0, all(p.same for p in known))
