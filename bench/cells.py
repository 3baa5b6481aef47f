"""Judge the rows: for each method and attack an AUC, how sure it is, what is missing from it, what the paper reports.

An attack is compared with the irrelevant models of the dataset it lands on, within one source and never across two.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench import metrics
from bench.types import JSON, Spec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

LOST = ("failed", "blocked", "not_run")
"""Statuses of trials that should have given a score and did not."""
GROUPS = ("dataset", "source_architecture", "method", "suspect_kind", "attack", "source_seed")


@dataclass(frozen=True)
class Paper:
    """An AUC that a method's paper reports; `same` tells whether dataset and all networks are those of our cell."""

    auc: float
    stolen: int
    irrelevant: int
    same: bool


@dataclass(frozen=True)
class Figure:
    """An AUC with its 95 % interval; how many stolen and (different) irrelevant models, and how many sources it has.

    `least` and `most` are the AUCs within the sources; without an interval `low` and `high` are None.
    """

    auc: float
    low: float | None
    high: float | None
    stolen: int
    irrelevant: int
    sources: int = 1
    least: float = 0.0
    most: float = 0.0
    interval: str = ""


@dataclass(frozen=True)
class Cell:
    """What is known of one method against one attack, on one dataset and source architecture.

    `same_architecture` has only negatives of the suspects' own architectures (mean over architectures); `suspects_only`
    leaves out the negatives in the source's architecture, where that is not among the suspects'. `lost` counts the
    trials without a score by status, `errors` says why. `reason` tells why the cell is not applicable.
    """

    dataset: str
    source_architecture: str
    method: str
    method_version: int
    floor: bool
    attack: str
    attack_version: int
    suspect_dataset: str
    reason: str
    stolen_planned: int
    irrelevant_planned: int
    lost: Mapping[str, int]
    errors: Mapping[str, int]
    figure: Figure | None
    same_architecture: Figure | None
    suspects_only: Figure | None
    paper: Paper | None
    verdict: str

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
        self.versions = {k: {n: int(c["version"]) for n, c in run["components"][k].items()} for k in ("method", "attack")}
        self.score: NDArray[np.float64] = frame.score.to_numpy()
        names = ("status", "suspect_dataset", "suspect_architecture", "replicate", "note", "error", "method_version")
        self.column: dict[str, NDArray[np.object_]] = {n: frame[n].to_numpy(dtype=object) for n in names}
        self.rows: dict[tuple[object, ...], NDArray[np.int64]] = frame.groupby(list(GROUPS), sort=False).indices
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
        home = not lands_on(self.run, attack)
        return Cell(
            dataset=dataset, source_architecture=source, method=method, method_version=self.versions["method"][method],
            floor=floor, attack=attack, attack_version=self.versions["attack"][attack],
            suspect_dataset=str(self.column["suspect_dataset"][stolen[0][0]]) if stolen else "", reason=reason,
            stolen_planned=sum(map(len, stolen)), irrelevant_planned=self._different(irrelevant),
            lost=dict(lost), errors=dict(errors), figure=figure,
            same_architecture=None if reason else self._within_architectures(pairs), suspects_only=theirs, paper=paper,
            verdict=verdict(theirs if theirs and home else figure, paper),
        )  # fmt: skip

    def _done(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        return rows[self.column["status"][rows] == "done"]

    def _architectures(self, rows: Sequence[NDArray[np.int64]]) -> set[str]:
        return {str(a) for r in rows for a in self.column["suspect_architecture"][r]}

    def _different(self, rows: Sequence[NDArray[np.int64]]) -> int:
        """Count the irrelevant models, which sources share."""
        architecture, replicate = self.column["suspect_architecture"], self.column["replicate"]
        return len({(architecture[i], replicate[i]) for r in rows for i in r})

    def _figure(self, pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Figure | None:
        """Give the AUC over the sources that have models of both kinds; None where there is none."""
        pairs = [(s, i) for s, i in pairs if len(s) and len(i)]
        if not pairs:
            return None
        raise NotImplementedError

    def _within_architectures(self, pairs: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> Figure | None:
        """Compare suspects with irrelevant models of their own architecture only: mean over these, then over sources."""
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
        if not means:
            return None
        mean = sum(means) / len(means)
        return Figure(mean, None, None, used, self._different(against), len(means), min(means), max(means))


class _Reported:
    """The AUCs that a method's paper reports, by dataset, source architecture and attack."""

    def __init__(self, run: Mapping[str, JSON], method: str) -> None:
        self.figures: list[Mapping[str, JSON]] = list(component(run, "method", method)["attributes"].get("reported", ()))

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


def verdict(figure: Figure | None, paper: Paper | None) -> str:
    """Say whether a figure is the paper's: `agrees`, `differs`, `too few models to tell`, or `no figure`."""
    raise NotImplementedError
