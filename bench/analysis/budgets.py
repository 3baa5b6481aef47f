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
    """A cell with a number of queries; `default`: the one that the other tables show."""

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
    by_default = CellEstimator(usual[usual.method.isin(methods)], run)
    estimators = {int(b): CellEstimator(others[others.budget == b], run) for b in others.budget.unique()}
    found = []
    for dataset, source, method in itertools.product(spec.datasets, spec.sources, methods):
        own = own_budget(run, method) or 0
        for budget in sorted({own, *estimators}):
            estimator = by_default if budget == own else estimators[budget]
            made = [c for c, _ in estimator.table(dataset, source, [method]) if c.stolen_planned]
            found += [AtBudget(budget, budget == own, c) for c in made]
    return found
