"""The AUCs of a run's cells while its scores arrive, for a display; the report is computed afterwards.

A cell compares what the report compares: within each source, an attack's suspects with the irrelevant models of their
dataset, then the mean over draws of a fingerprint and over sources. A method with several budgets is shown with its
default one.
"""

from collections.abc import Callable, Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from bench.core.kinds import SuspectKind
from bench.core.tasks import Trial
from bench.stats.auc import auc as area

TableKey: TypeAlias = tuple[str, str]
"""The dataset and the source architecture of a table."""


@dataclass
class _Scores:
    """The scores of a method for the models of one kind and one source, and how many are missing."""

    table: TableKey
    scores: list[float] = field(default_factory=list)
    pending: int = 0
    lost: int = 0


class LiveAuc(NamedTuple):
    """The AUC of a cell, None without scores of both kinds; `complete` is False if some scores never arrive."""

    auc: float | None
    finished: bool
    complete: bool

    @property
    def text(self) -> str:
        """A few characters: `0.97`, `0.97…` while scores are missing, `0.97*` if some never arrive."""
        if self.auc is None:
            return "·" if not self.finished else "lost"
        return f"{self.auc:.2f}{'' if self.complete else '*'}{'' if self.finished else '…'}"


@dataclass
class _Cell:
    """The stolen and irrelevant scores of a cell by source and draw of its fingerprint, and its AUC.

    `counts` are those of the scores that it was computed from.
    """

    sources: dict[tuple[int, int], tuple[_Scores, _Scores]] = field(default_factory=dict)
    counts: tuple[int, int] = (-1, -1)
    cached: LiveAuc | None = None


class LiveAucs:
    """AUCs by table, method and attack.

    `stored` returns a score of an earlier run, None if there is none; `expected` are the keys of those that this run
    computes, None: all that are not stored.
    """

    def __init__(
        self,
        trials: Iterable[Trial],
        baselines: Collection[str],
        stored: Callable[[str], float | None],
        expected: Container[str] | None = None,
    ) -> None:
        self.baselines = frozenset(baselines)
        self.cells: dict[TableKey, dict[str, dict[str, _Cell | None]]] = {}
        """None: not applicable."""
        self.pending: dict[str, list[_Scores]] = {}
        groups: dict[tuple[object, ...], _Scores] = {}
        default_budgets: dict[str, int | None] = {}
        for t in trials:
            if t.budget != default_budgets.setdefault(t.method, t.budget):  # the default one comes first
                continue
            if t.suspect_kind == SuspectKind.UNDECIDED or (t.reason and not t.attack):  # of no cell
                continue
            table = t.dataset, t.source_architecture
            row = self.cells.setdefault(table, {}).setdefault(t.method, {})
            if t.reason:
                row.setdefault(t.attack, None)
                continue
            own, negatives = (
                groups.setdefault((table, t.method, t.source_seed, t.draw, attack, t.suspect_dataset), _Scores(table))
                for attack in (t.attack, "")
            )
            if t.attack:
                cell = row[t.attack] = row.get(t.attack) or _Cell()
                cell.sources[t.source_seed, t.draw] = own, negatives
            score = stored(t.score)
            if score is None and expected is not None and t.score not in expected:
                own.lost += 1  # it is not applicable
            elif score is None:
                own.pending += 1
                self.pending.setdefault(t.score, []).append(own)
            else:
                own.scores.append(score)
        self.latest: TableKey | None = next(iter(self.cells), None)
        """The table of the score that arrived last."""

    def add_score(self, key: str, score: float | None) -> None:
        """Add a score, None if it will never arrive; ignore keys that no cell needs."""
        for group in self.pending.pop(key, ()):
            group.pending -= 1
            self.latest = group.table
            if score is None:
                group.lost += 1
            else:
                group.scores.append(score)

    def table(self) -> tuple[TableKey, Mapping[str, Mapping[str, LiveAuc | None]]] | None:
        """Return the table of the score that arrived last: its key, and AUCs by method and attack; None without any."""
        if self.latest is None:
            return None
        rows = {
            method: {attack: None if cell is None else self._auc(cell) for attack, cell in row.items()}
            for method, row in self.cells[self.latest].items()
        }
        if not any(live and live.auc is not None for row in rows.values() for live in row.values()):
            return None
        return self.latest, rows

    def _auc(self, cell: _Cell) -> LiveAuc:
        """Return the AUC of a cell; compute it only if scores have arrived since the last call."""
        groups = [group for pair in cell.sources.values() for group in pair]
        counts = sum(len(g.scores) for g in groups), sum(g.lost for g in groups)
        if cell.cached is None or cell.counts != counts:
            pairs = [(s.scores, i.scores) for s, i in cell.sources.values() if s.scores and i.scores]
            auc = sum(area(s, i) for s, i in pairs) / len(pairs) if pairs else None
            cell.counts = counts
            cell.cached = LiveAuc(auc, not any(g.pending for g in groups), not counts[1])
        return cell.cached
