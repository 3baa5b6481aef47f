"""Follow the AUCs of a run's cells while its scores land: a glance on a terminal; the report is made afterwards.

A cell compares what the report compares: within each source, an attack's suspects with the irrelevant models of the
dataset they land on, then the mean over sources; of methods with several budgets the default only.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from bench.core.tasks import Trial
from bench.stats.auc import auc as area

Place = tuple[str, str]
"""A dataset and a source architecture: what a table is about."""


@dataclass
class _Side:
    """The models of one kind that a method judges for one source: the scores that are there, and what is missing."""

    place: Place
    scores: list[float] = field(default_factory=list)
    waiting: int = 0
    lost: int = 0


@dataclass
class _Cell:
    """The stolen and irrelevant sides of a cell, by source, and what was last said of it."""

    sides: dict[int, tuple[_Side, _Side]] = field(default_factory=dict)
    seen: tuple[int, int] = (-1, -1)
    said: LiveAuc | None = None


class LiveAuc(NamedTuple):
    """What there is to say of a cell. `auc` is None without scores of both kinds."""

    auc: float | None
    finished: bool
    complete: bool

    @property
    def text(self) -> str:
        """Write it in a few characters: `0.97`, `0.97…` while scores are missing, `0.97*` where some never come."""
        if self.auc is None:
            return "·" if not self.finished else "lost"
        return f"{self.auc:.2f}{'' if self.complete else '*'}{'' if self.finished else '…'}"


class LiveAucs:
    """AUCs by place, method and attack. `stored` gives a score that an earlier run made, None: it has to come."""

    def __init__(
        self, trials: Iterable[Trial], baselines: Collection[str], stored: Callable[[str], float | None]
    ) -> None:
        self.baselines = frozenset(baselines)
        self.cells: dict[Place, dict[str, dict[str, _Cell | None]]] = {}
        """None: not applicable."""
        self.awaited: dict[str, list[_Side]] = {}
        sides: dict[tuple[object, ...], _Side] = {}
        usual: dict[str, int | None] = {}
        for t in trials:
            if t.budget != usual.setdefault(t.method, t.budget):  # the default one comes first
                continue
            place = t.dataset, t.source_architecture
            row = self.cells.setdefault(place, {}).setdefault(t.method, {})
            if t.reason:
                row.setdefault(t.attack, None)
                continue
            mine, negatives = (
                sides.setdefault((place, t.method, t.source_seed, attack, t.suspect_dataset), _Side(place))
                for attack in (t.attack, "")
            )
            if t.attack:
                cell = row[t.attack] = row.get(t.attack) or _Cell()
                cell.sides[t.source_seed] = mine, negatives
            score = stored(t.score)
            if score is None:
                mine.waiting += 1
                self.awaited.setdefault(t.score, []).append(mine)
            else:
                mine.scores.append(score)
        self.shown: Place | None = next(iter(self.cells), None)

    def target_replicates(self, key: str, score: float | None) -> None:
        """Take a score; None: it will not come. What nobody waits for is passed over."""
        for side in self.awaited.pop(key, ()):
            side.waiting -= 1
            self.shown = side.place
            if score is None:
                side.lost += 1
            else:
                side.scores.append(score)

    def table(self) -> tuple[Place, Mapping[str, Mapping[str, LiveAuc | None]]] | None:
        """Give the place where a score landed last, and what there is to say of its methods and attacks.

        None where no cell has scores, or where there is no cell. AUCs are made anew where scores have landed.
        """
        if self.shown is None:
            return None
        rows = {
            method: {attack: None if cell is None else self._standing(cell) for attack, cell in row.items()}
            for method, row in self.cells[self.shown].items()
        }
        if not any(live and live.auc is not None for row in rows.values() for live in row.values()):
            return None
        return self.shown, rows

    def _standing(self, cell: _Cell) -> LiveAuc:
        sides = [side for pair in cell.sides.values() for side in pair]
        seen = sum(len(s.scores) for s in sides), sum(s.lost for s in sides)
        if cell.said is None or cell.seen != seen:
            pairs = [(s.scores, i.scores) for s, i in cell.sides.values() if s.scores and i.scores]
            auc = sum(area(s, i) for s, i in pairs) / len(pairs) if pairs else None
            cell.seen = seen
            cell.said = LiveAuc(auc, not any(s.waiting for s in sides), not seen[1])
        return cell.said
