"""Estimate for each method and attack an AUC, with its uncertainty, what is missing, and what the paper reports.

`groups` decides which scores belong to a cell, `estimates` makes its figures, `baselines` compares it with theirs.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.analysis import estimates
from bench.analysis.access import is_white_box, methods_in_order, own_budget
from bench.analysis.baselines import AgainstBaselines, against_baselines
from bench.analysis.error_rates import ByRate, Division, hits
from bench.analysis.estimates import Extremes, Strata
from bench.analysis.evasion import Evasion, evasion
from bench.analysis.groups import NOBODY, Matched, Planned, Rows, Samples, errors, planned_models
from bench.analysis.networks import Networks, Unlearned, adaptive_attacks, watermarks
from bench.analysis.reported import ReportedAuc, reported_auc
from bench.core.canonical import JSON
from bench.core.kinds import CellStatus, ComponentKind, Status, SuspectKind, Verdict
from bench.core.spec import Spec
from bench.stats.differences import agrees
from bench.stats.intervals import AucEstimate
from bench.stats.rates import NotReported

if TYPE_CHECKING:
    import pandas as pd

KINDS = attrgetter(SuspectKind.STOLEN), attrgetter(SuspectKind.IRRELEVANT)
LOST = (Status.FAILED, Status.BLOCKED, Status.NOT_RUN)
"""Statuses of trials that should have a score and have none."""


class Drawn(NamedTuple):
    """How often what a cell depends on was drawn: sources; for each of them suspects, negatives and fingerprints."""

    sources: int
    stolen: int
    irrelevant: int
    fingerprints: int


@dataclass(frozen=True)
class Cell:
    """One method against one attack, on one dataset and source architecture.

    `white_box`: the method looks at weights. `same_architecture` has only negatives of the suspects' own architectures
    (mean over architectures); `suspects_only` leaves out the negatives in the source's architecture, where that is not
    among the suspects'; `by_variant` has the AUCs of an attack's variants, where there are several. `lost` counts the
    trials without a score by status, `errors` by message. `reason` is why the cell is not applicable; `home`: the
    suspects stay with the source's dataset. `follows` is the correlation of score and accuracy of irrelevant models.
    `hits` are TPRs by FPR, `accused` the models that frozen thresholds accuse by the rate promised; `baselines` is None
    for a baseline, and where no baseline can judge or one has no score. `equal` counts the stolen suspects whose
    weights another one has, `unlearned` are the networks of the cell that did not learn, `untrained`: none of the
    stolen suspects is better than chance. `warnings` are the method's own, with the seeds of the sources concerned.
    `evasion`: the loss of accuracy at which the suspects are no longer found.
    """

    dataset: str
    source_architecture: str
    method: str
    method_version: int
    baseline: bool
    white_box: bool
    attack: str
    attack_version: int
    suspect_dataset: str
    home: bool
    reason: str
    drawn: Drawn
    stolen_planned: int
    irrelevant_planned: int
    lost: Mapping[str, int]
    errors: Mapping[str, int]
    untrained: bool
    unlearned: tuple[Unlearned, ...]
    equal: int
    warnings: Mapping[str, frozenset[int]]
    extremes: Extremes | None
    figure: AucEstimate | None
    same_architecture: Strata | None
    suspects_only: AucEstimate | None
    by_variant: Mapping[str, AucEstimate]
    follows: float | None
    paper: ReportedAuc | None
    hits: ByRate
    accused: ByRate
    evasion: Evasion | NotReported | None
    baselines: AgainstBaselines | None = None

    @property
    def like_paper(self) -> AucEstimate | None:
        """Return the AUC with a paper's negatives: at home, none in the source's architecture if ours add it."""
        return self.suspects_only if self.home and self.suspects_only else self.figure

    @property
    def verdict(self) -> Verdict:
        """Return the verdict on the paper's AUC, which says so where the paper's networks are others."""
        if self.paper is None or self.reason or self.untrained:
            return Verdict.NO_FIGURE
        if self.like_paper is None:
            return Verdict.TOO_FEW
        found = Verdict(agrees(self.like_paper, self.paper.auc, self.paper.stolen, self.paper.irrelevant))
        return found if self.paper.same else found.elsewhere()

    @property
    def status(self) -> CellStatus:
        """Return the state of the cell; it is incomplete also where it has no rows at all."""
        if self.reason:
            return CellStatus.NOT_APPLICABLE
        if self.untrained:
            return CellStatus.NOT_TRAINED
        return CellStatus.INCOMPLETE if self.lost or self.figure is None else CellStatus.COMPLETE

    @property
    def tied(self) -> bool:
        """Return True if most scores are the lowest, or the highest, of all."""
        return self.extremes is not None and self.extremes.tied

    @property
    def incomplete(self) -> bool:
        """Return True if scores are missing."""
        return self.status == CellStatus.INCOMPLETE


@dataclass(frozen=True)
class AtBudget:
    """A cell with a number of queries; `default`: the one that the other tables show."""

    budget: int
    default: bool
    cell: Cell


class AtVariant(NamedTuple):
    """The AUC of a cell with one variant of its attack."""

    cell: Cell
    variant: str
    figure: AucEstimate


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


def default_budget(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> "pd.DataFrame":
    """Keep the rows that tables are made from: those with a method's default number of queries in this run."""
    spec = Spec.from_json(run["spec"])
    own = {method: own_budget(run, method) for method in frame.method.unique()}
    usual = frame.budget.isna() | ~frame.budget.isin(spec.budgets)
    return frame[usual | (frame.budget == frame.method.map(own).astype("float64"))]


def cells(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> list[Cell]:
    """Return all cells, in the order of the Spec: dataset, source architecture, methods and then baselines, attacks.

    Merged results need not have rows of each source architecture for each dataset: there are no cells of those without.
    """
    estimator, spec = CellEstimator(default_budget(frame, run), run), Spec.from_json(run["spec"])
    methods = methods_in_order(run)
    own_suspects = watermarks(run), adaptive_attacks(run)
    found: list[Cell] = []
    present = {place[:2] for place in estimator.samples.draws}
    for dataset, source in filter(present.__contains__, itertools.product(spec.datasets, spec.sources)):
        table = estimator.table(dataset, source, methods)
        matched = {(c.method, c.attack): rows for c, rows in table}
        without = {(c.method, c.attack) for c, _ in table if c.reason or not c.stolen_planned}
        compared = against_baselines(estimator.samples, matched, without, spec.baselines, *own_suspects)
        found += [dataclasses.replace(c, baselines=compared.get((c.method, c.attack))) for c, _ in table]
    return found


def by_budget(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> list[AtBudget]:
    """Return the cells of every budget, of methods that ran with several: by table, method, budget and attack.

    The cells are not compared with the baselines, which have no budget or another one.
    """
    spec = Spec.from_json(run["spec"])
    usual = default_budget(frame, run)
    others = frame.drop(usual.index)
    methods = [m for m in methods_in_order(run) if m in set(others.method)]
    by_default = CellEstimator(usual[usual.method.isin(methods)], run)
    estimators = {int(b): CellEstimator(others[others.budget == b], run) for b in others.budget.unique()}
    found = []
    for dataset, source, method in itertools.product(spec.datasets, spec.sources, methods):
        own = own_budget(run, method) or 0
        for budget in sorted({own, *estimators}):
            estimator = by_default if budget == own else estimators[budget]
            row = [c for c, _ in estimator.table(dataset, source, [method])]
            found += [AtBudget(budget, budget == own, c) for c in row if any(other.stolen_planned for other in row)]
    return found


class CellEstimator:
    """Makes the cells of rows of one budget."""

    def __init__(self, frame: "pd.DataFrame", run: Mapping[str, JSON]) -> None:
        self.run, self.spec = run, Spec.from_json(run["spec"])
        self.samples = Samples(frame, self.spec.seeds)
        self.division = Division(self.samples, self.spec.split_seed)
        self.networks = Networks(frame, run)
        self.unlearned, self.chance = map(self.networks.flags, ("unlearned", "chance"))

    def table(self, dataset: str, source: str, methods: Iterable[str]) -> list[tuple[Cell, Matched | None]]:
        """Return the cells of one table with the rows of their figures, not yet compared with its baselines."""
        return [self._cell(dataset, source, m, a) for m, a in itertools.product(methods, self.spec.attacks)]

    def _cell(self, dataset: str, source: str, method: str, attack: str) -> tuple[Cell, Matched | None]:
        grouped, samples = self.samples.of(dataset, source, method, attack), self.samples
        stolen, irrelevant = (np.concatenate([NOBODY, *(r for s in grouped for r in rows(s))]) for rows in KINDS)
        status, first = samples.column["status"], stolen[:1]
        on = str(samples.column["suspect_dataset"][first[0]]) if first.size else ""
        reason = ""
        if first.size and (status[stolen] == Status.NOT_APPLICABLE).all():
            reason = str(samples.column["note"][first[0]]) or "not applicable"
        planned = np.concatenate([stolen, irrelevant])
        missing = planned[~samples.done[planned]]
        missing = missing[np.isin(status[missing], LOST)] if reason else missing
        untrained = bool(first.size) and not reason and bool(self.chance[self.networks.suspect[stolen]].all())
        matched = None if reason or untrained else samples.matched(grouped)
        suspects = set(samples.architectures[np.unique(samples.architecture[stolen])])
        described = self.run["components"][ComponentKind.METHOD][method]
        reported = described["attributes"].get("reported", ())
        theft, home = self.run["components"][ComponentKind.ATTACK][attack], not attack_target(self.run, attack)
        made = Cell(
            dataset=dataset,
            source_architecture=source,
            method=method,
            attack=attack,
            suspect_dataset=on,
            method_version=int(described["version"]),
            attack_version=int(theft["version"]),
            baseline=method in self.spec.baselines,
            white_box=is_white_box(self.run, method),
            home=home,
            reason=reason,
            drawn=_drawn(grouped),
            stolen_planned=planned_models(samples, grouped, SuspectKind.STOLEN),
            irrelevant_planned=planned_models(samples, grouped, SuspectKind.IRRELEVANT),
            lost=dict(Counter(map(str, status[missing]))),
            errors=errors(samples, missing),
            untrained=untrained,
            unlearned=() if reason else self._unlearned(planned),
            warnings={} if reason else samples.warnings(grouped),
            paper=reported_auc(reported, dataset, source, attack, suspects, self.spec.suspects),
            accused={} if reason else self.division.accused((dataset, source, method), on),
            evasion=evasion(samples, matched, theft["attributes"].get("strengths", 1) if home else 1),
            **self._figures(source, matched),
        )
        return made, matched

    def _figures(self, source: str, matched: Matched | None) -> dict[str, Any]:
        """Return the fields of a cell that are made from its scores."""
        empty = {"equal": 0, "extremes": None, "figure": None, "same_architecture": None, "suspects_only": None}
        if matched is None:
            return {**empty, "by_variant": {}, "follows": None, "hits": {}}
        samples, alike = self.samples, self.spec.models or source in self.spec.suspects  # no negatives were added
        return {
            "equal": matched.equal,
            "extremes": estimates.extremes(samples, matched),
            "figure": estimates.estimate(matched),
            "same_architecture": estimates.within_architectures(samples, matched),
            "suspects_only": None if alike else estimates.without(samples, matched, source),
            "by_variant": estimates.by_variant(samples, matched),
            "follows": estimates.follows_accuracy(samples, matched),
            "hits": hits(samples, matched),
        }

    def _unlearned(self, rows: Rows) -> tuple[Unlearned, ...]:
        """Return the networks of a cell that did not learn."""
        numbers = np.concatenate([self.networks.source[rows], self.networks.suspect[rows]])
        failed = numbers[self.unlearned[numbers]]
        return tuple(self.networks.describe(failed)) if failed.size else ()


def _drawn(planned: Sequence[Planned]) -> Drawn:
    stolen, irrelevant = (max((len(r) for s in planned for r in rows(s)), default=0) for rows in KINDS)
    return Drawn(len(planned), stolen, irrelevant, max((len(s.stolen) for s in planned), default=0))
