"""Compute the AUCs of each method by number of queries (`bench run --budgets`)."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.analysis.cells import Cell, CellEstimator, default_budget, own_budget
from bench.core.canonical import JSON
from bench.core.spec import Spec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class AtBudget:
    """A cell with a number of queries; `default`: it is the one that the other tables show."""

    budget: int
    default: bool
    cell: Cell


def by_budget(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> list[AtBudget]:
    """Return the cells of every budget, of methods that ran with several: by table, method, budget and attack.

    The cells are not compared with the baselines, which have no budget or another one.
    """
    spec = Spec.from_json(run["spec"])
    usual = default_budget(frame, run)
    others = frame.drop(usual.index)
    methods = [m for m in (*spec.methods, *spec.baselines) if m in set(others.method)]
    judges: dict[int | None, CellEstimator] = {}
    if methods:
        judges[None] = CellEstimator(usual[usual.method.isin(methods)], run)
    for budget in others.budget.unique():
        judges[int(budget)] = CellEstimator(others[others.budget == budget], run)
    own = {m: own_budget(run, m) or 0 for m in methods}
    found = [
        AtBudget(own[m] if budget is None else budget, budget is None, c)
        for budget, judge in judges.items()
        for dataset, source in itertools.product(spec.datasets, spec.sources)
        for m in methods
        for c, _ in judge.table(dataset, source, [m])
        if c.stolen_planned
    ]
    order = {m: n for n, m in enumerate(methods)}
    places = {p: n for n, p in enumerate(itertools.product(spec.datasets, spec.sources))}
    return sorted(
        found, key=lambda a: (places[a.cell.dataset, a.cell.source_architecture], order[a.cell.method], a.budget)
    )
