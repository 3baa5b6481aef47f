"""Group the scores of one method against one attack by source, and match models that are compared.

An attack is compared with the irrelevant models of its target dataset, within one source and never across two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from bench.core.kinds import Status, SuspectKind
from bench.stats.permutation import Scores

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = NDArray[np.intp]
"""Numbers of rows."""
GROUPS = ("dataset", "source_architecture", "method", "suspect_kind", "attack", "source_seed")


class Sample(NamedTuple):
    """The rows of one method against one attack at one source: stolen suspects and irrelevant models."""

    seed: int
    stolen: Rows
    irrelevant: Rows


@dataclass(frozen=True)
class Matched:
    """The rows of several sources' samples that have a score, of the sources that have models of both kinds.

    irrelevant: [sources, n], each column one model that every source has a score for. `scores` are those of the rows.
    """

    seeds: tuple[int, ...]
    stolen: tuple[Rows, ...]
    irrelevant: Rows
    scores: Scores


class Samples:
    """The rows as arrays, grouped by cell and by model."""

    def __init__(self, frame: "pd.DataFrame", seeds: Sequence[int]) -> None:
        import pandas as pd

        self.seeds = tuple(seeds)
        self.score: NDArray[np.float64] = frame.score.to_numpy()
        names = ("status", "suspect_dataset", "note", "error")
        self.column: dict[str, NDArray[np.object_]] = {n: frame[n].to_numpy(dtype=object) for n in names}
        self.done: NDArray[np.bool_] = (frame.status == Status.DONE).to_numpy()
        self.irrelevant: NDArray[np.bool_] = (frame.suspect_kind == SuspectKind.IRRELEVANT).to_numpy()
        self.architecture, unique = pd.factorize(frame.suspect_architecture)
        self.architectures: NDArray[np.object_] = np.asarray(unique, dtype=object)
        self.replicate: Rows = frame.replicate.to_numpy().astype(np.intp)
        self.model: Rows = self.architecture * (self.replicate.max(initial=0) + 1) + self.replicate
        """A number for each architecture and replicate."""
        self.on, datasets = pd.factorize(frame.suspect_dataset)
        self.datasets = [str(d) for d in datasets]
        grouped = frame.groupby(list(GROUPS), sort=False).indices
        self.rows = cast("dict[tuple[object, ...], Rows]", grouped)

    def of(self, dataset: str, source: str, method: str, attack: str) -> list[Sample]:
        """Return all rows of a method against an attack by source, with a score or without."""
        found = []
        for seed in self.seeds:
            stolen = self.rows.get((dataset, source, method, SuspectKind.STOLEN, attack, float(seed)))
            if stolen is not None:
                others = self.rows.get((dataset, source, method, SuspectKind.IRRELEVANT, "", float(seed)), stolen[:0])
                found.append(Sample(seed, stolen, others[self.on[others] == self.on[stolen[0]]]))
        return found

    def matched(self, samples: Sequence[Sample]) -> Matched | None:
        """Keep what can be compared; None where that is nothing."""
        scored = [Sample(s.seed, s.stolen[self.done[s.stolen]], s.irrelevant[self.done[s.irrelevant]]) for s in samples]
        kept = [s for s in scored if len(s.stolen) and len(s.irrelevant)]
        stolen, irrelevant = tuple(s.stolen for s in kept), self.shared([s.irrelevant for s in kept])
        if not irrelevant.size:
            return None
        return Matched(tuple(s.seed for s in kept), stolen, irrelevant, self.scores(stolen, irrelevant))

    def shared(self, lists: Sequence[Rows]) -> Rows:
        """Return the rows of the models that all lists have, in the order of the first list: [lists, models]."""
        if not lists:
            return np.empty((0, 0), np.intp)
        models = [self.model[rows] for rows in lists]
        if all(np.array_equal(models[0], other) for other in models):
            return np.stack(lists)
        common = models[0]
        for other in models[1:]:
            common = common[np.isin(common, other)]
        shared = []
        for rows, own in zip(lists, models, strict=True):
            order = np.argsort(own)
            shared.append(rows[order[np.searchsorted(own, common, sorter=order)]])
        return np.stack(shared)

    def scores(self, stolen: Sequence[Rows], irrelevant: Rows) -> Scores:
        """Return the scores of rows, by source."""
        return Scores([self.score[rows] for rows in stolen], self.score[irrelevant])

    def common(self, a: Matched, b: Matched, paired: bool) -> tuple[Scores, Scores] | None:
        """Return two methods' scores of the irrelevant models that both judged, and, if paired, of the stolen ones too.

        Of the sources that both have; None where nothing is left.
        """
        stolen_a, stolen_b, irrelevant_a, irrelevant_b = [], [], [], []
        for seed, mine, irrelevant in zip(a.seeds, a.stolen, a.irrelevant, strict=True):
            if seed not in b.seeds:
                continue
            n = b.seeds.index(seed)
            others = b.stolen[n]
            if paired:
                mine, others = self.shared([mine, others])
            if len(mine):
                stolen_a.append(mine)
                stolen_b.append(others)
                irrelevant_a.append(irrelevant)
                irrelevant_b.append(b.irrelevant[n])
        shared = self.shared([*irrelevant_a, *irrelevant_b])
        if not shared.size:
            return None
        of_a, of_b = np.split(shared, 2)
        return self.scores(stolen_a, of_a), self.scores(stolen_b, of_b)
