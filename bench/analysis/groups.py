"""Find the scores that belong together: one method's against one attack, by source, and who is compared with whom.

An attack is compared with the irrelevant models of the dataset it lands on, within one source and never across two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from bench.core.kinds import Status, SuspectKind
from bench.stats.permutation import Scores

if TYPE_CHECKING:
    import pandas as pd

Rows: TypeAlias = NDArray[np.intp]
"""Numbers of rows."""
GROUPS = ("dataset", "source_architecture", "method", "suspect_kind", "attack", "source_seed")


@dataclass(frozen=True)
class Sample:
    """The rows of one method against one attack: stolen suspects and, as often, irrelevant models, by source."""

    seeds: tuple[int, ...]
    stolen: tuple[Rows, ...]
    irrelevant: tuple[Rows, ...]


@dataclass(frozen=True)
class Matched:
    """The rows of a sample that have a score, of the sources that have models of both kinds.

    irrelevant: [sources, n], each column one model for every source: sources are compared with the
    irrelevant models that all of them have a score for. `scores` are those of these rows.
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

    def of(self, dataset: str, source: str, method: str, attack: str) -> Sample:
        """Return all rows of a method against an attack, with a score or without."""
        seeds, stolen, irrelevant = [], [], []
        for seed in self.seeds:
            mine = self.rows.get((dataset, source, method, SuspectKind.STOLEN, attack, float(seed)))
            if mine is not None:
                others = self.rows.get((dataset, source, method, SuspectKind.IRRELEVANT, "", float(seed)), mine[:0])
                seeds.append(seed)
                stolen.append(mine)
                irrelevant.append(others[self.on[others] == self.on[mine[0]]])
        return Sample(tuple(seeds), tuple(stolen), tuple(irrelevant))

    def matched(self, sample: Sample) -> Matched | None:
        """Keep what can be compared; None where that is nothing."""
        stolen = [rows[self.done[rows]] for rows in sample.stolen]
        irrelevant = [rows[self.done[rows]] for rows in sample.irrelevant]
        kept = [n for n in range(len(stolen)) if len(stolen[n]) and len(irrelevant[n])]
        shared = self.shared([irrelevant[n] for n in kept])
        if not shared.size:
            return None
        rows = tuple(stolen[n] for n in kept)
        return Matched(tuple(sample.seeds[n] for n in kept), rows, shared, self.scores(rows, shared))

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
        orders = [np.argsort(own) for own in models]
        places = [o[np.searchsorted(own, common, sorter=o)] for own, o in zip(models, orders, strict=True)]
        return np.stack([rows[at] for rows, at in zip(lists, places, strict=True)])

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
