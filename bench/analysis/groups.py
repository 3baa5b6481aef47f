"""Group the scores of one method against one attack by source, and match models that are compared.

An attack is compared with the irrelevant models of its target dataset, within one source and one draw of its
fingerprint, never across two.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from bench.analysis.networks import suspects
from bench.core.kinds import Status, SuspectKind
from bench.stats.auc import Floats
from bench.stats.intervals import SourceAuc, source_auc

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = NDArray[np.intp]
"""Numbers of rows."""
NOBODY: Rows = np.empty(0, np.intp)
WARNING = "warning="
"""How the entry of a note starts that has a method's warning."""
GROUPS = ("dataset", "source_architecture", "method", "suspect_kind", "attack", "source_seed", "draw")


class Planned(NamedTuple):
    """All rows of one method against one attack at one source, by draw of its fingerprint."""

    seed: int
    stolen: tuple[Rows, ...]
    irrelevant: tuple[Rows, ...]


class Sample(NamedTuple):
    """What can be compared at one source: rows with a score, [draws, models], each column one model."""

    seed: int
    stolen: Rows
    irrelevant: Rows


@dataclass(frozen=True)
class Matched:
    """What can be compared in a cell: the samples of its sources with their AUCs.

    `irrelevant` counts the different irrelevant models of all sources; `equal` the stolen suspects that are left out
    because another one of their source has the same weights.
    """

    samples: tuple[Sample, ...]
    sources: tuple[SourceAuc, ...]
    irrelevant: int
    equal: int

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds of the sources."""
        return tuple(s.seed for s in self.samples)


class Samples:
    """The rows as arrays, grouped by cell and by model."""

    def __init__(self, frame: "pd.DataFrame", seeds: Sequence[int]) -> None:
        import pandas as pd

        self.seeds = tuple(seeds)
        self.score: Floats = frame.score.to_numpy()
        self.lost: Floats = (frame.source_accuracy - frame.suspect_accuracy).to_numpy()
        names = ("status", "suspect_dataset", "note", "error")
        self.column: dict[str, NDArray[np.object_]] = {n: frame[n].to_numpy(dtype=object) for n in names}
        noted, different = pd.factorize(frame.note)
        numbers, warned = pd.factorize(np.array(["", *map(_warning, different)], dtype=object))
        self.warning, self.warned = numbers[noted + 1], [str(w) for w in warned]
        """The number of each row's warning among those there are; 0: none."""
        self.done: NDArray[np.bool_] = (frame.status == Status.DONE).to_numpy()
        self.irrelevant: NDArray[np.bool_] = (frame.suspect_kind == SuspectKind.IRRELEVANT).to_numpy()
        self.architecture, unique = pd.factorize(frame.suspect_architecture)
        self.architectures: NDArray[np.object_] = np.asarray(unique, dtype=object)
        self.replicate: Rows = frame.replicate.to_numpy().astype(np.intp)
        self.place: Rows = self.architecture * (self.replicate.max(initial=0) + 1) + self.replicate
        """A number for each architecture and replicate."""
        described = _described(frame)
        self.own: Rows = np.where(described < 0, self.place, -1 - described)
        """The place of each row's suspect or, below 0, a number for each described network, which sources may share."""
        self.model = suspects(frame)
        """A number for each different model of a kind."""
        self.named: bool = bool((frame.suspect_digest != "").any())
        self.variant, variants = pd.factorize(frame.variant)
        self.variants = [str(v) for v in variants]
        self.on, datasets = pd.factorize(frame.suspect_dataset)
        self.datasets = [str(d) for d in datasets]
        grouped = frame.groupby(list(GROUPS), sort=False).indices
        self.rows = cast("dict[tuple[object, ...], Rows]", grouped)
        self.draws: dict[tuple[object, ...], list[float]] = {}
        """The draws of fingerprints by dataset, source architecture and method."""
        for key, draws in frame.groupby(list(GROUPS[:3]), sort=False).draw:
            self.draws[key] = sorted(draws.unique())

    def of(self, dataset: str, source: str, method: str, attack: str) -> list[Planned]:
        """Return all rows of a method against an attack by source, with a score or without."""
        found, where = [], (dataset, source, method)
        for seed in map(float, self.seeds):
            stolen, irrelevant = [], []
            for draw in self.draws.get(where, ()):
                rows = self.rows.get((*where, SuspectKind.STOLEN, attack, seed, draw))
                if rows is not None:
                    others = self.rows.get((*where, SuspectKind.IRRELEVANT, "", seed, draw), NOBODY)
                    stolen.append(rows)
                    irrelevant.append(others[self.on[others] == self.on[rows[0]]])
            if stolen:
                found.append(Planned(int(seed), tuple(stolen), tuple(irrelevant)))
        return found

    def warnings(self, planned: Iterable[Planned]) -> dict[str, frozenset[int]]:
        """Return what the method warned of, with the seeds of the sources concerned."""
        found: dict[str, set[int]] = {}
        for source in planned:
            numbers = np.unique(self.warning[np.concatenate([*source.stolen, *source.irrelevant])])
            for n in numbers[numbers > 0]:
                found.setdefault(self.warned[n], set()).add(source.seed)
        return {text: frozenset(seeds) for text, seeds in found.items()}

    def matched(self, planned: Iterable[Planned]) -> Matched | None:
        """Keep the rows with a score, of each model one; None where there are none of both kinds."""
        samples, equal = [], 0
        for source in planned:
            pairs = [(s[self.done[s]], i[self.done[i]]) for s, i in zip(source.stolen, source.irrelevant, strict=True)]
            pairs = [pair for pair in pairs if all(map(len, pair))]
            if pairs:
                stolen, irrelevant = (self._shared(rows) for rows in zip(*pairs, strict=True))
                once = self._once(stolen)
                equal += stolen.shape[1] - once.shape[1]
                samples.append(Sample(source.seed, once, self._once(irrelevant)))
        return self.compared(samples, equal)

    def compared(self, samples: Iterable[Sample], equal: int = 0) -> Matched | None:
        """Compute the AUCs of samples; None where none has models of both kinds."""
        kept = tuple(s for s in samples if s.stolen.size and s.irrelevant.size)
        if not kept:
            return None
        return Matched(kept, tuple(map(self.auc, kept)), self.count(s.irrelevant for s in kept), equal)

    def auc(self, sample: Sample) -> SourceAuc:
        """Return the AUC of a sample, the mean over its draws."""
        return source_auc(self.score[sample.stolen], self.score[sample.irrelevant])

    def count(self, rows: Iterable[Rows]) -> int:
        """Count the different models of rows."""
        return len(np.unique(np.concatenate([self.model[r].ravel() for r in rows])))

    def both(self, a: Matched, b: Matched, paired: bool) -> dict[int, tuple[float, float]]:
        """Return the AUCs of two methods at the sources that both judged, by seed.

        They are those of the irrelevant models that both have a score for and, if paired, of such stolen suspects. A
        source is left out where there are none.
        """
        found = {}
        at = {s.seed: (s, auc) for s, auc in zip(b.samples, b.sources, strict=True)}
        for sample, auc in zip(a.samples, a.sources, strict=True):
            if sample.seed in at:
                other, its = at[sample.seed]
                if not (
                    self._alike(sample.irrelevant, other.irrelevant)
                    and (not paired or self._alike(sample.stolen, other.stolen))
                ):
                    sides = self._in_common(sample, other, paired), self._in_common(other, sample, paired)
                    if not all(s.stolen.size and s.irrelevant.size for s in sides):
                        continue
                    auc, its = map(self.auc, sides)
                found[sample.seed] = auc.auc, its.auc
        return found

    def _alike(self, a: Rows, b: Rows) -> bool:
        return np.array_equal(self.model[a[0]], self.model[b[0]])

    def _in_common(self, sample: Sample, other: Sample, paired: bool) -> Sample:
        def kept(rows: Rows, among: Rows) -> Rows:
            return rows[:, np.isin(self.model[rows[0]], self.model[among[0]])]

        stolen = kept(sample.stolen, other.stolen) if paired else sample.stolen
        return Sample(sample.seed, stolen, kept(sample.irrelevant, other.irrelevant))

    def _once(self, rows: Rows) -> Rows:
        """Keep the first column of each model."""
        if not self.named:
            return rows
        first = np.unique(self.model[rows[0]], return_index=True)[1]
        return rows if len(first) == rows.shape[1] else rows[:, np.sort(first)]

    def _shared(self, lists: Sequence[Rows]) -> Rows:
        """Return the rows of the models that all lists have, in the order of the first list: [lists, models]."""
        places = [self.place[rows] for rows in lists]
        if all(np.array_equal(places[0], other) for other in places[1:]):
            return np.stack(lists)
        common = places[0]
        for other in places[1:]:
            common = common[np.isin(common, other)]
        shared = []
        for rows, own in zip(lists, places, strict=True):
            order = np.argsort(own)
            shared.append(rows[order[np.searchsorted(own, common, sorter=order)]])
        return np.stack(shared)


def _warning(note: str) -> str:
    """Return the warning among the entries of a note, empty without one."""
    return next((e.removeprefix(WARNING) for e in note.split(";") if e.startswith(WARNING)), "")


def _described(frame: "pd.DataFrame") -> Rows:
    """Return a number for each described suspect, -1 for all others."""
    import pandas as pd

    if "suspect_model" not in frame:
        return np.full(len(frame), -1)
    numbers: Rows = pd.factorize(frame.suspect_model.where(frame.suspect_model != ""))[0]
    return numbers


def planned_models(samples: Samples, planned: Iterable[Planned], kind: SuspectKind) -> int:
    """Count the models of a kind, with a score or without.

    Sources share described irrelevant models, and shared all of them before digests.
    """
    own: list[set[int]] = [{int(p) for r in getattr(s, kind) for p in samples.own[r]} for s in planned]
    different = set[int]().union(*own)
    if kind == SuspectKind.STOLEN or samples.named:
        return sum(p >= 0 for models in own for p in models) + sum(p < 0 for p in different)
    return len(different)


def errors(samples: Samples, rows: Rows) -> dict[str, int]:
    """Count the errors of rows without a score, and the reasons of those that are not applicable."""
    status, note, error = (samples.column[name][rows] for name in ("status", "note", "error"))
    texts = np.where(status == Status.NOT_APPLICABLE, note, error)
    return dict(Counter(str(text) for text in texts if text))
