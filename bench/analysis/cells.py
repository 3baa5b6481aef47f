"""Estimate for each method and attack an AUC, with its uncertainty, what is missing, and what the paper reports.

`groups` decides which scores belong to a cell, `baselines` whether it beats the baselines.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bench.analysis.baselines import AgainstBaselines, against_baselines
from bench.analysis.error_rates import Accused, Division, Hits, hits
from bench.analysis.groups import Matched, Rows, Samples
from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, Status
from bench.core.spec import Spec
from bench.stats.auc import auc
from bench.stats.differences import agrees
from bench.stats.intervals import AucEstimate, estimate_auc, source_auc
from bench.stats.permutation import Scores

if TYPE_CHECKING:
    import pandas as pd

NOBODY: Rows = np.empty(0, np.intp)
LOST = (Status.FAILED, Status.BLOCKED, Status.NOT_RUN)
"""Statuses of trials that should have a score and have none."""
VERDICTS = ("agrees", "differs", "too few models to tell", "one source: no verdict", "no figure")


@dataclass(frozen=True)
class ReportedAuc:
    """An AUC that a method's paper reports; `same`: dataset and all networks are those of our cell."""

    auc: float
    stolen: int
    irrelevant: int
    same: bool


@dataclass(frozen=True)
class Strata:
    """A mean of AUCs within architectures, and how many stolen and (different) irrelevant models it has."""

    auc: float
    stolen: int
    irrelevant: int


@dataclass(frozen=True)
class Cell:
    """One method against one attack, on one dataset and source architecture.

    `same_architecture` has only negatives of the suspects' own architectures (mean over architectures); `suspects_only`
    leaves out the negatives in the source's architecture, where that is not among the suspects'. `lost` counts the
    trials without a score by status, `errors` by message. `reason` is why the cell is not applicable; `home`: the
    suspects stay with the source's dataset. `hits` are TPRs by FPR, `accused` the models that frozen thresholds accuse
    by the rate promised; `baselines` is None for a baseline, and where no baseline can judge or one has no score.
    """

    dataset: str
    source_architecture: str
    method: str
    method_version: int
    baseline: bool
    attack: str
    attack_version: int
    suspect_dataset: str
    home: bool
    reason: str
    stolen_planned: int
    irrelevant_planned: int
    lost: Mapping[str, int]
    errors: Mapping[str, int]
    figure: AucEstimate | None
    same_architecture: Strata | None
    suspects_only: AucEstimate | None
    paper: ReportedAuc | None
    hits: Hits
    accused: Accused
    baselines: AgainstBaselines | None = None

    @property
    def like_paper(self) -> AucEstimate | None:
        """Return the AUC with a paper's negatives: at home, none in the source's architecture if ours add it."""
        return self.suspects_only if self.home and self.suspects_only else self.figure

    @property
    def verdict(self) -> str:
        """Return the verdict on the paper's AUC, one of VERDICTS."""
        if self.paper is None or not self.paper.same or self.reason:
            return "no figure"
        if self.like_paper is None:
            return "too few models to tell"
        return agrees(self.like_paper, self.paper.auc, self.paper.stolen, self.paper.irrelevant)

    @property
    def status(self) -> str:
        """Return `not_applicable`, `complete`, or `incomplete`: also where a cell has no rows at all."""
        if self.reason:
            return Status.NOT_APPLICABLE
        return "incomplete" if self.lost or self.figure is None else "complete"


@dataclass(frozen=True)
class AtBudget:
    """A cell with a number of queries; `default`: the one that the other tables show."""

    budget: int
    default: bool
    cell: Cell


def attack_target(run: Mapping[str, JSON], attack: str) -> str:
    """Return the related dataset that an attack, or the one it starts from, targets; empty: the source's own."""
    attacks, seen = run["components"][ComponentKind.ATTACK], set()
    while attack in attacks and attack not in seen:
        seen.add(attack)
        attributes = attacks[attack]["attributes"]
        if not attributes.get("starts_from"):
            return str(attributes.get("target") or "")
        attack = attributes["starts_from"]
    return ""


def own_budget(run: Mapping[str, JSON], method: str) -> int | None:
    """Return the queries of a method by default in this run; None where it declares no budget."""
    entry = run["components"][ComponentKind.METHOD][method]
    budget: int | None = entry["params"].get(entry["attributes"].get("budget"))
    return budget


def default_budget(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> "pd.DataFrame":
    """Keep the rows that tables are made from: those with a method's default number of queries in this run."""
    spec = Spec.from_json(run["spec"])
    own = {method: own_budget(run, method) for method in frame.method.unique()}
    usual = frame.budget.isna() | ~frame.budget.isin(spec.budgets)
    return frame[usual | (frame.budget == frame.method.map(own).astype("float64"))]


def cells(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> list[Cell]:
    """Return all cells, in the order of the Spec: dataset, source architecture, methods and then baselines, attacks."""
    estimator, spec = CellEstimator(default_budget(frame, run), run), Spec.from_json(run["spec"])
    methods = (*spec.methods, *spec.baselines)
    watermarks = {m for m in methods if run["components"][ComponentKind.METHOD][m].get("watermark")}
    found: list[Cell] = []
    for dataset, source in itertools.product(spec.datasets, spec.sources):
        table = estimator.table(dataset, source, methods)
        matched = {(c.method, c.attack): rows for c, rows in table}
        impossible = {(c.method, c.attack) for c, _ in table if c.reason}
        compared = against_baselines(estimator.samples, matched, impossible, spec.baselines, watermarks)
        found += [dataclasses.replace(c, baselines=compared.get((c.method, c.attack))) for c, _ in table]
    return found


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


class CellEstimator:
    """Makes the cells of rows of one budget."""

    def __init__(self, frame: "pd.DataFrame", run: Mapping[str, JSON]) -> None:
        self.run, self.spec = run, Spec.from_json(run["spec"])
        self.samples = Samples(frame, self.spec.seeds)
        self.division = Division(self.samples, self.spec.split_seed)

    def table(self, dataset: str, source: str, methods: Iterable[str]) -> list[tuple[Cell, Matched | None]]:
        """Return the cells of one table with the rows of their figures, not yet compared with its baselines."""
        return [self._cell(dataset, source, m, a) for m, a in itertools.product(methods, self.spec.attacks)]

    def _cell(self, dataset: str, source: str, method: str, attack: str) -> tuple[Cell, Matched | None]:
        samples, column = self.samples.of(dataset, source, method, attack), self.samples.column
        stolen = np.concatenate([*(s.stolen for s in samples), NOBODY])
        irrelevant = np.concatenate([*(s.irrelevant for s in samples), NOBODY])
        on = str(column["suspect_dataset"][stolen[0]]) if stolen.size else ""
        reason = ""
        if stolen.size and (column["status"][stolen] == Status.NOT_APPLICABLE).all():
            reason = str(column["note"][stolen[0]]) or "not applicable"
        planned = np.concatenate([stolen, irrelevant])
        missing = planned[~self.samples.done[planned]]
        matched = None if reason else self.samples.matched(samples)
        scores = matched.scores if matched else None
        suspects = set(self.samples.architectures[np.unique(self.samples.architecture[stolen])])
        described = self.run["components"][ComponentKind.METHOD][method]
        reported = described["attributes"].get("reported", ())
        made = Cell(
            dataset=dataset,
            source_architecture=source,
            method=method,
            attack=attack,
            suspect_dataset=on,
            method_version=int(described["version"]),
            attack_version=int(self.run["components"][ComponentKind.ATTACK][attack]["version"]),
            baseline=method in self.spec.baselines,
            home=not attack_target(self.run, attack),
            reason=reason,
            stolen_planned=len(stolen),
            irrelevant_planned=len(np.unique(self.samples.model[irrelevant])),
            lost=dict(Counter(str(s) for s in column["status"][missing] if s in LOST)),
            errors=dict(Counter(str(e) for e in column["error"][missing] if e)),
            figure=_estimate(scores) if scores else None,
            same_architecture=self._within_architectures(matched) if matched else None,
            suspects_only=self._without(source, matched) if matched else None,
            paper=_reported(reported, dataset, source, attack, suspects, self.spec.suspects),
            hits=hits(scores) if scores else {},
            accused={} if reason else self.division.accused((dataset, source, method), on, samples),
        )
        return made, matched

    def _without(self, source: str, matched: Matched) -> AucEstimate | None:
        """Leave out the negatives in the source's architecture, where that is not among the suspects'."""
        if source in self.spec.suspects:
            return None
        kept = self.samples.architectures[self.samples.architecture[matched.irrelevant[0]]] != source
        if not kept.any():
            return None
        return _estimate(self.samples.scores(matched.stolen, matched.irrelevant[:, kept]))

    def _within_architectures(self, matched: Matched) -> Strata | None:
        """Compare suspects with irrelevant models of their own architecture: mean over these, then over sources."""
        samples, means, used = self.samples, [], 0
        against = [NOBODY]
        for stolen, irrelevant in zip(matched.stolen, matched.irrelevant, strict=True):
            mine, others = samples.architecture[stolen], samples.architecture[irrelevant]
            strata = [(stolen[mine == a], irrelevant[others == a]) for a in np.unique(mine) if a in others]
            if strata:
                means.append(sum(auc(samples.score[s], samples.score[i]) for s, i in strata) / len(strata))
                used += sum(len(s) for s, _ in strata)
                against += [i for _, i in strata]
        different = len(np.unique(samples.model[np.concatenate(against)]))
        return Strata(sum(means) / len(means), used, different) if means else None


def _estimate(scores: Scores) -> AucEstimate:
    found = [source_auc(s, i) for s, i in zip(scores.stolen, scores.irrelevant, strict=True)]
    return estimate_auc(found, found[0].irrelevant)


def mean(cells: Sequence[Cell]) -> float | None:
    """Average a method's AUCs over the attacks that stay at home; None where one is missing or not applicable."""
    figures = [c.figure for c in cells if c.home]
    return sum(f.auc for f in figures if f) / len(figures) if figures and all(figures) else None


def _reported(
    figures: Sequence[JSON], dataset: str, source: str, attack: str, stolen: Set[str], suspects: Sequence[str]
) -> ReportedAuc | None:
    """Find the paper's figure for a cell: of the same dataset and attack, best of the same source architecture.

    It is of the same networks where source, stolen and irrelevant models all have the paper's architectures; the
    irrelevant ones' are those of all the suspects that the paper has for this source, but the source's own.
    """
    figures = [f for f in figures if f["dataset"] == dataset]
    of_source = [f for f in figures if f["source_architecture"] == source]
    ours = [f for f in of_source if f["attack"] == attack]
    alike = [f for f in ours if set(f["suspect_architectures"]) == stolen]
    found = [*alike, *ours, *(f for f in figures if f["attack"] == attack)]
    if not found:
        return None
    theirs = {a for f in of_source for a in f["suspect_architectures"]} - {source}
    same = bool(alike) and theirs in (set(), set(suspects) - {source})
    best = found[0]
    return ReportedAuc(float(best["auc"]), int(best.get("stolen", 0)), int(best.get("irrelevant", 0)), same)


def paper_mean(cells: Sequence[Cell]) -> ReportedAuc | None:
    """Average the paper's AUCs over the same attacks; None where it lacks one."""
    known = [c.paper for c in cells if c.home and c.paper]
    if not known or len(known) < sum(c.home for c in cells):
        return None
    return ReportedAuc(sum(p.auc for p in known) / len(known), 0, 0, all(p.same for p in known))
