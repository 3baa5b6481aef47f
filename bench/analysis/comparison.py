"""Compare results folders: whether they may be compared, what differs, what was added or lost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from bench.analysis.cells import Cell, cells, default_budget
from bench.core.canonical import JSON
from bench.core.errors import capped
from bench.core.kinds import ComponentKind, Status, SuspectKind
from bench.core.spec import Spec
from bench.results.protocol import OF_METHODS, Fact, component_facts, differences, size_facts, used
from bench.results.reader import load
from bench.stats.differences import difference_of_two_runs
from bench.stats.intervals import AucEstimate

if TYPE_CHECKING:
    import pandas as pd

Where: TypeAlias = tuple[str, str, str, str]
"""Dataset, source architecture, method, attack."""
Trial: TypeAlias = tuple[str, float]
"""The key of a score, and the seed of its source."""
MOST_NAMED = 5
"""Described networks that a remark names; the others are counted."""


class Score(NamedTuple):
    """A score, and the digests of the source and of the suspect that it is of, empty where they are unknown."""

    value: float
    source: str
    suspect: str

    def has_networks_of(self, other: "Score") -> bool:
        """Return True if both scores are known to be of the same two networks."""
        return bool(self.source and self.suspect) and self[1:] == other[1:]


@dataclass(frozen=True)
class Results:
    """A results folder: its name here, what made it, its cells, and by key the scores that each is made from."""

    name: str
    run: Mapping[str, JSON]
    cells: Mapping[Where, Cell]
    scores: Mapping[Where, Mapping[Trial, Score]]

    @property
    def spec(self) -> Spec:
        """Return the Spec of the run."""
        return Spec.from_json(self.run["spec"])


@dataclass(frozen=True)
class Change:
    """A cell in two results.

    `same`: all scores are equal; `same_seeds`: they have the same keys, but are not equal; `same_networks`: they have
    the same keys, and all networks are known to be the same, but the scores are not equal.
    """

    before: Cell | None
    after: Cell | None
    same: bool = False
    same_seeds: bool = False
    same_networks: bool = False

    @property
    def figures(self) -> tuple[AucEstimate | None, AucEstimate | None]:
        """Return both AUCs."""
        return self.before.figure if self.before else None, self.after.figure if self.after else None

    @property
    def what(self) -> str:
        """Return which results have an AUC: `both`, `added` (the later ones only), `lost`, or `none`."""
        before, after = self.figures
        return "both" if before and after else "added" if after else "lost" if before else "none"

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """Return the AUC after minus that before, and the ends of its interval, too wide where models are shared.

        The interval is for means over sources from two sources on; of a single source, it is for this one.
        """
        before, after = self.figures
        if not before or not after:
            return None
        found = difference_of_two_runs(after, before)
        return round(found.difference, 12) + 0.0, found.low, found.high

    @property
    def several(self) -> bool:
        """Return True if both AUCs are of several sources: only then can they be found to differ."""
        return all(f and not f.conditional for f in self.figures)

    @property
    def constant(self) -> bool:
        """Return True if all sources of both results have one AUC, so that chance could not make them differ."""
        return len({auc for f in self.figures if f for auc in f.by_source}) == 1

    @property
    def differs(self) -> bool:
        """Return True if 0 is outside the interval, and both AUCs are of several sources."""
        return self.several and self.difference is not None and not self.difference[1] <= 0 <= self.difference[2]


def read(folders: Sequence[Path]) -> list[Results]:
    """Read results folders, with the shortest names that differ; BenchError where one is damaged."""
    names = [f.resolve().name for f in folders]
    if len(set(names)) < len(names):
        names = [str(f) for f in folders]
    found = []
    for folder, name in zip(folders, names, strict=True):
        frame, run = load(folder)
        made = {(c.dataset, c.source_architecture, c.method, c.attack): c for c in cells(frame, run)}
        found.append(Results(name, run, made, _scores(default_budget(frame, run), made)))
    return found


def _scores(frame: "pd.DataFrame", made: Mapping[Where, Cell]) -> dict[Where, dict[Trial, Score]]:
    """Return the scores of each cell: of its stolen suspects, and of the irrelevant models of its AUC.

    Merged results have the same key once for each machine, at other seeds.
    """
    done = frame[(frame.status == Status.DONE) & (frame.suspect_kind != SuspectKind.UNDECIDED)]
    known = done.groupby(["dataset", "source_architecture", "method", "attack", "suspect_dataset"], sort=False)
    scores = {where: _by_trial(rows) for where, rows in known}
    return {
        where: scores.get((*where, c.suspect_dataset), {}) | scores.get((*where[:3], "", c.suspect_dataset), {})
        for where, c in made.items()
    }


def _by_trial(rows: "pd.DataFrame") -> dict[Trial, Score]:
    scores = map(Score, rows.score, rows.source_digest, rows.suspect_digest)
    return dict(zip(zip(rows.key, rows.source_seed, strict=True), scores, strict=True))


def obstacles(a: Results, b: Results) -> list[str]:
    """Return why two results may not be compared: other preset, recipe, suspects, or versions of what both have."""
    facts = list(size_facts(a.spec, b.spec, without=OF_METHODS))
    for kind in (ComponentKind.DATASET, ComponentKind.ARCHITECTURE, ComponentKind.ATTACK):
        facts += _components(a, b, kind)
    return differences(facts)


def remarks(a: Results, b: Results) -> list[str]:
    """Return other differences of two results, which are allowed: methods, seeds, numbers, models, machine."""
    facts = list(_components(a, b, ComponentKind.METHOD))
    for field in ("seeds", "replicates", "target_replicates", "negatives", "split_seed", "draw_seed"):
        facts.append((field, getattr(a.spec, field), getattr(b.spec, field)))
    facts.append(("draws", a.spec.draws or "default", b.spec.draws or "default"))
    for entry, name in (("libraries", "torch"), ("hardware", "cpu")):
        mine, others = ((r.run.get(entry) or {}).get(name, "unknown") for r in (a, b))
        facts.append((name, mine, others))
    mine, others = (sorted(r.run.get("machines") or ["unknown"]) for r in (a, b))
    facts.append(("machine", mine, others))
    return [*differences(facts), *_described(a, b)]


def _described(a: Results, b: Results) -> Iterator[str]:
    """Name the described networks that only one of two results has, then those with other descriptions."""
    mine, others = ({m["name"]: m for m in r.spec.models} for r in (a, b))
    groups = {
        f"described networks of {a.name} only": mine.keys() - others.keys(),
        f"described networks of {b.name} only": others.keys() - mine.keys(),
        "described otherwise": {n for n in mine.keys() & others.keys() if mine[n] != others[n]},
    }
    yield from (f"{what}: {', '.join(capped(sorted(names), MOST_NAMED))}" for what, names in groups.items() if names)


def _components(a: Results, b: Results, kind: ComponentKind) -> Iterator[Fact]:
    """Return the versions and parameters of the components of a kind that took part in both results."""
    targets = ({c.suspect_dataset for c in r.cells.values()} for r in (a, b))
    names = (used(r.run, kind, on) for r, on in zip((a, b), targets, strict=True))
    return component_facts(a.run, b.run, kind, set.intersection(*names))


def changes(a: Results, b: Results) -> dict[Where, Change]:
    """Compare the cells of two results, in the order of the first, then of the second."""
    found, edited = {}, a.run.get("edited") or b.run.get("edited")
    for where in (*a.cells, *b.cells):
        mine, others = a.scores.get(where, {}), b.scores.get(where, {})
        pairs = [(mine[trial], others[trial]) for trial in mine.keys() & others.keys()]
        same_keys = mine.keys() == others.keys()
        same = same_keys and all(one.value == other.value for one, other in pairs)
        same_seeds = same_keys and not (same or edited)
        same_networks = same_seeds and all(one.has_networks_of(other) for one, other in pairs)
        found[where] = Change(a.cells.get(where), b.cells.get(where), same, same_seeds, same_networks)
    return found
