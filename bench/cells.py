"""Judge the rows: for each method and attack an AUC, how sure it is, what is missing from it, what the paper reports.

An attack is compared with the irrelevant models of the dataset it lands on, within one source and never across two.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

from bench import metrics
from bench.types import JSON, Spec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    Rows: TypeAlias = NDArray[np.intp]
    Pair: TypeAlias = tuple[Rows, Rows]

LOST = ("failed", "blocked", "not_run")
"""Statuses of trials that should have given a score and did not."""
VERDICTS = ("agrees", "differs", "too few models to tell", "no figure")
GROUPS = ("dataset", "source_architecture", "method", "suspect_kind", "attack", "source_seed")


@dataclass(frozen=True)
class Paper:
    """An AUC that a method's paper reports; `same` tells whether dataset and all networks are those of our cell."""

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
    """What is known of one method against one attack, on one dataset and source architecture.

    `same_architecture` has only negatives of the suspects' own architectures (mean over architectures); `suspects_only`
    leaves out the negatives in the source's architecture, where that is not among the suspects'. `lost` counts the
    trials without a score by status, `errors` says why. `reason` tells why the cell is not applicable, `home` whether
    the suspects stay with the source's dataset.
    """

    dataset: str
    source_architecture: str
    method: str
    method_version: int
    floor: bool
    attack: str
    attack_version: int
    suspect_dataset: str
    home: bool
    reason: str
    stolen_planned: int
    irrelevant_planned: int
    lost: Mapping[str, int]
    errors: Mapping[str, int]
    figure: metrics.Cell | None
    same_architecture: Strata | None
    suspects_only: metrics.Cell | None
    paper: Paper | None

    @property
    def like_paper(self) -> metrics.Cell | None:
        """Give the figure whose negatives are a paper's: at home none in the source's architecture, if ours add it."""
        return self.suspects_only if self.home and self.suspects_only else self.figure

    @property
    def verdict(self) -> str:
        """Say whether the paper's figure is ours: one of VERDICTS."""
        if self.paper is None or not self.paper.same or self.reason:
            return "no figure"
        if self.like_paper is None:
            return "too few models to tell"
        return metrics.agrees(self.like_paper, self.paper.auc, self.paper.stolen, self.paper.irrelevant)

    @property
    def status(self) -> str:
        """Give `not_applicable`, `complete`, or `incomplete`: also where a cell has no rows at all."""
        if self.reason:
            return "not_applicable"
        return "incomplete" if self.lost or self.figure is None else "complete"


def component(run: Mapping[str, JSON], kind: str, name: str) -> Mapping[str, JSON]:
    """Give what `run.json` says of a component."""
    entry: Mapping[str, JSON] = run["components"][kind][name]
    return entry


def lands_on(run: Mapping[str, JSON], attack: str) -> str:
    """Say on which related dataset an attack lands, itself or the one it starts from; empty: on the source's own."""
    attacks, seen = run["components"]["attack"], set()
    while attack in attacks and attack not in seen:
        seen.add(attack)
        attributes = attacks[attack]["attributes"]
        if not attributes.get("starts_from"):
            return str(attributes.get("lands_on") or "")
        attack = attributes["starts_from"]
    return ""


def default_budget(frame: pd.DataFrame, run: Mapping[str, JSON]) -> pd.DataFrame:
    """Keep the rows that tables are made from: those with the queries that a method asks by default in this run."""
    spec = Spec.from_json(run["spec"])
    own = {}
    for method in frame.method.unique():
        entry = component(run, "method", method)
        own[method] = entry["params"].get(entry["attributes"].get("budget"))
    usual = frame.budget.isna() | ~frame.budget.isin(spec.budgets)
    return frame[usual | (frame.budget == frame.method.map(own).astype("float64"))]


def cells(frame: pd.DataFrame, run: Mapping[str, JSON]) -> list[Cell]:
    """Judge all rows, in the order of the Spec: dataset, source architecture, methods and then floors, attacks."""
    return list(_Judge(default_budget(frame, run), run).all())


class _Judge:
    """Holds the rows as arrays, and knows which rows belong to which cell."""

    def __init__(self, frame: pd.DataFrame, run: Mapping[str, JSON]) -> None:
        self.run, self.spec = run, Spec.from_json(run["spec"])
        self.score: NDArray[np.float64] = frame.score.to_numpy()
        names = ("status", "suspect_dataset", "suspect_architecture", "replicate", "note", "error")
        self.column: dict[str, NDArray[np.object_]] = {n: frame[n].to_numpy(dtype=object) for n in names}
        grouped = frame.groupby(list(GROUPS), sort=False).indices
        self.rows = cast("dict[tuple[object, ...], Rows]", grouped)
        self.papers = {m: _Reported(run, m) for m in (*self.spec.methods, *self.spec.floors)}

    def all(self) -> Iterator[Cell]:
        spec = self.spec
        floors = set(spec.floors)
        for dataset, source in itertools.product(spec.datasets, spec.sources):
            for method in (*spec.methods, *spec.floors):
                for attack in spec.attacks:
                    yield self.cell(dataset, source, method, attack, method in floors)

    def cell(self, dataset: str, source: str, method: str, attack: str, floor: bool) -> Cell:
        stolen, irrelevant, every = [], [], []
        for seed in self.spec.seeds:
            mine = self.rows.get((dataset, source, method, "stolen", attack, float(seed)))
            if mine is None:
                continue
            others = self.rows.get((dataset, source, method, "irrelevant", "", float(seed)), mine[:0])
            others = others[self.column["suspect_dataset"][others] == self.column["suspect_dataset"][mine[0]]]
            every += [*mine, *others]
            stolen.append(mine)
            irrelevant.append(others)
        status = self.column["status"][every]
        reason = ""
        if stolen and all((self.column["status"][s] == "not_applicable").all() for s in stolen):
            reason = str(self.column["note"][stolen[0][0]]) or "not applicable"
        lost = Counter(str(s) for s in status if s in LOST)
        errors = Counter(str(self.column["error"][i]) for i in every if self.column["error"][i])
        pairs = [(self._done(s), self._done(i)) for s, i in zip(stolen, irrelevant, strict=True)]
        figure = None if reason else self._figure(pairs)
        theirs = None
        if source not in self.spec.suspects and not reason:
            theirs = self._figure([(s, i[self.column["suspect_architecture"][i] != source]) for s, i in pairs])
        paper = self.papers[method].of(dataset, source, attack, self._architectures(stolen), self.spec.suspects)
        versions = [int(component(self.run, *what)["version"]) for what in (("method", method), ("attack", attack))]
        return Cell(
            dataset=dataset, source_architecture=source, method=method, method_version=versions[0], floor=floor,
            attack=attack, attack_version=versions[1],
            suspect_dataset=str(self.column["suspect_dataset"][stolen[0][0]]) if stolen else "",
            home=not lands_on(self.run, attack), reason=reason,
            stolen_planned=sum(map(len, stolen)), irrelevant_planned=self._different(irrelevant),
            lost=dict(lost), errors=dict(errors), figure=figure,
            same_architecture=None if reason else self._within_architectures(pairs), suspects_only=theirs, paper=paper,
        )  # fmt: skip

    def _done(self, rows: Rows) -> Rows:
        done: Rows = rows[self.column["status"][rows] == "done"]
        return done

    def _architectures(self, rows: Sequence[Rows]) -> set[str]:
        return {str(a) for r in rows for a in self.column["suspect_architecture"][r]}

    def _figure(self, pairs: Sequence[Pair]) -> metrics.Cell | None:
        """Give the AUC over the sources that have models of both kinds; None where there is none.

        Sources are held against the same irrelevant models: those that every one of them has a score for.
        """
        pairs = [(s, i) for s, i in pairs if len(s) and len(i)]
        models = [{self._model(i): i for i in irrelevant} for _, irrelevant in pairs]
        shared = [m for m in models[0] if all(m in other for other in models)] if models else []
        if not shared:
            return None
        return metrics.cell(
            [self.score[stolen] for stolen, _ in pairs], [[self.score[by[m]] for m in shared] for by in models]
        )

    def _model(self, row: int) -> tuple[object, object]:
        return self.column["suspect_architecture"][row], self.column["replicate"][row]

    def _different(self, rows: Sequence[Rows]) -> int:
        """Count irrelevant models, which the sources share."""
        return len({self._model(i) for r in rows for i in r})

    def _within_architectures(self, pairs: Sequence[Pair]) -> Strata | None:
        """Compare suspects with irrelevant models of their own architecture: mean over these, then over sources."""
        architecture = self.column["suspect_architecture"]
        means, used, against = [], 0, []
        for stolen, irrelevant in pairs:
            strata = []
            for name in dict.fromkeys(architecture[stolen]):
                mine, others = stolen[architecture[stolen] == name], irrelevant[architecture[irrelevant] == name]
                if len(others):
                    strata.append(metrics.auc(self.score[mine], self.score[others]))
                    used += len(mine)
                    against.append(others)
            if strata:
                means.append(sum(strata) / len(strata))
        return Strata(sum(means) / len(means), used, self._different(against)) if means else None


class _Reported:
    """The AUCs that a method's paper reports, by dataset, source architecture and attack."""

    def __init__(self, run: Mapping[str, JSON], method: str) -> None:
        attributes = component(run, "method", method)["attributes"]
        self.figures: list[Mapping[str, JSON]] = list(attributes.get("reported", ()))

    def of(self, dataset: str, source: str, attack: str, stolen: set[str], suspects: Sequence[str]) -> Paper | None:
        """Find the paper's figure for a cell: of the same dataset and attack, best of the same source architecture.

        It is of the same networks where source, stolen and irrelevant models all have the paper's architectures; the
        irrelevant ones' are those of all the suspects that the paper has for this source, but the source's own.
        """
        found = [r for r in self.figures if r["dataset"] == dataset and r["attack"] == attack]
        if not found:
            return None
        ours = [r for r in found if r["source_architecture"] == source]
        best = next((r for r in ours if set(r["suspect_architectures"]) == stolen), (*ours, *found)[0])
        same = bool(ours) and set(best["suspect_architectures"]) == stolen
        theirs = {
            a
            for r in self.figures
            if r["dataset"] == dataset and r["source_architecture"] == source
            for a in r["suspect_architectures"]
        } - {source}
        same = same and (not theirs or theirs == set(suspects) - {source})
        return Paper(float(best["auc"]), int(best.get("stolen", 0)), int(best.get("irrelevant", 0)), same)


def mean(cells: Sequence[Cell]) -> float | None:
    """Average a method's AUCs over the attacks that stay at home; None where one is missing or not applicable."""
    figures = [c.figure for c in cells if c.home]
    return sum(f.auc for f in figures if f) / len(figures) if figures and all(figures) else None


def paper_mean(cells: Sequence[Cell]) -> Paper | None:
    """Average the paper's AUCs over the same attacks; None where it lacks one."""
    papers = [c.paper for c in cells if c.home]
    if not papers or not all(papers):
        return None
    known = [p for p in papers if p]
    return Paper(sum(p.auc for p in known) / len(known), 0, 0, all(p.same for p in known))
