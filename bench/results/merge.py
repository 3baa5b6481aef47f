"""Join results folders of one protocol: a source is the same where its weights are, whatever its seed.

Every source of every folder becomes a source of the merged folder. Two machines make different sources of one seed:
the later one gets the next free seed, and `origins` in `run.json` keeps the seed that it was made with.
"""

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, Status, SuspectKind
from bench.core.spec import Spec
from bench.results.columns import TRIAL_COLUMNS
from bench.results.machines import Counted, Place, count_by_machine
from bench.results.protocol import component_facts, differences, size_facts
from bench.results.provenance import ORIGIN
from bench.results.reader import load
from bench.results.run_schema import FORMAT, remedy
from bench.results.writer import harmless

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = tuple(c.name for c in TRIAL_COLUMNS if c.identity)
NAMES = ("datasets", "sources", "attacks", "methods", "baselines", "budgets")
"""The fields of a Spec that are united."""
EQUAL = ("replicates", "target_replicates", "negatives", "split_seed", "draws", "draw_seed")
"""The fields of a Spec that one merged Spec can hold once only, besides its sizes."""
CONTENT = ("score", "suspect_digest", "fingerprint_digest")
"""The columns in which two rows of one trial may not differ."""


@dataclass(frozen=True)
class Part:
    """A results folder that is merged, under a name of its own."""

    name: str
    frame: "pd.DataFrame"
    run: Mapping[str, JSON]

    @property
    def spec(self) -> Spec:
        """Return the Spec of the run."""
        return Spec.from_json(self.run["spec"])

    @property
    def machine(self) -> JSON:
        """Return what made the results, if that is one known machine."""
        known = self.run.get("hardware") and not self.run.get("origins")
        return [self.run["hardware"], (self.run.get("libraries") or {}).get("torch")] if known else None


@dataclass(frozen=True)
class _Source:
    """What identifies a source: digests of its own weights by owner, of its irrelevant models, and accuracies.

    `made`: the folder has a source, whose digest or accuracy is known; a run that was stopped or failed may have none.
    """

    place: Place
    made: bool
    digests: Mapping[str, str]
    irrelevant: frozenset[str]
    accuracies: Mapping[tuple[object, ...], float]
    machine: JSON

    def is_same(self, other: "_Source") -> bool:
        """Return True if two folders have the same source.

        That is one of the same digest or, where they judged no source in common (watermarks have their own), one with
        an irrelevant model in common. Without digests, in old results: seed, processor, torch, and all accuracies of
        the source and its irrelevant models are equal. One that was not made is that of its seed.
        """
        if self.place[:2] != other.place[:2]:
            return False
        if not (self.made and other.made):
            return self.place == other.place
        if owners := self.digests.keys() & other.digests.keys():
            return any(self.digests[o] == other.digests[o] for o in owners)
        if self.digests and other.digests:
            return bool(self.irrelevant & other.irrelevant)
        models = self.accuracies.keys() & other.accuracies.keys()
        alike = bool(models) and all(self.accuracies[m] == other.accuracies[m] for m in models)
        return alike and self.place == other.place and self.machine is not None and self.machine == other.machine


@dataclass(frozen=True)
class Merged:
    """Merged results: rows and `run.json`, how many rows several folders had, and the sources that got another seed."""

    rows: list[dict[str, object]]
    run: dict[str, JSON]
    united: int
    renumbered: list[str] = field(default_factory=list)


def merge(folders: Sequence[Path], command: str) -> Merged:
    """Read and join results folders; raise BenchError if they differ in protocol or in the score of one trial."""
    if len(folders) < 2 or len({f.resolve() for f in folders}) < len(folders):
        raise BenchError("Merging needs two different results folders or more: bench merge A B --out C")
    parts: list[Part] = []
    for folder in folders:
        frame, run = load(folder)
        if run["edited"]:
            raise BenchError(f"{folder / 'trials.csv'} is not what the run wrote. {remedy(folder / 'trials.csv')}")
        name = harmless(folder.resolve().name)  # as the column `origin` will have it
        parts.append(Part(_unused(name, (p.name for p in parts)), frame, run))
    for a, b in combinations(parts, 2):
        _check_protocol(a, b)
    seeds = _numbered(parts)
    rows, united = _united(parts, seeds)
    counted = [Counted(part.frame, part.run, numbers) for part, numbers in zip(parts, seeds, strict=True)]
    run = _described(parts, seeds, command) | {"machines": count_by_machine(counted)}
    renumbered = [
        f"{part.name}: source seed {place.source_seed} of {place.dataset}, {place.source_architecture} is {new} here"
        for part, numbers in zip(parts, seeds, strict=True)
        for place, new in numbers.items()
        if new != place.source_seed
    ]
    return Merged(rows, run, united, renumbered)


def _unused(name: str, names: Iterable[str]) -> str:
    taken = set(names)
    return next(n for n in (name, *(f"{name} ({k})" for k in range(2, len(taken) + 3))) if n not in taken)


def _check_protocol(a: Part, b: Part) -> None:
    """Raise BenchError with the first difference of two protocols."""
    if a.spec.models != b.spec.models:
        raise BenchError(
            f"{a.name} and {b.name} describe other networks: give bench run one file that describes all of them. "
            "Nothing was written"
        )
    facts = list(size_facts(a.spec, b.spec, more=EQUAL))
    for kind in ComponentKind:
        facts += component_facts(a.run, b.run, kind, a.run["components"][kind].keys() & b.run["components"][kind])
    if found := differences(facts):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise BenchError(f"{a.name} and {b.name} do not follow one protocol: {found[0]}{more}. Nothing was written")


def _sources(part: Part) -> list[_Source]:
    watermarks = {n for n, m in part.run["components"][ComponentKind.METHOD].items() if m.get("watermark")}
    found = []
    for key, rows in part.frame.groupby([*Place._fields], sort=False):
        dataset, architecture, seed = cast("tuple[str, str, float]", key)
        owner = rows.method.where(rows.method.isin(watermarks), "")
        others = rows[rows.suspect_kind == SuspectKind.IRRELEVANT]
        models = zip(others.suspect_dataset, others.suspect_architecture, others.replicate, strict=True)
        accuracies: list[tuple[tuple[object, ...], float]] = [
            *zip(zip(owner, strict=True), rows.source_accuracy, strict=True),
            *zip(models, others.suspect_accuracy, strict=True),
        ]
        found.append(
            _Source(
                Place(dataset, architecture, int(seed)),
                bool((rows.source_digest != "").any() or rows.source_accuracy.notna().any()),
                # a row without a score has neither digest nor accuracy: others of its network have them
                {o: d for o, d in zip(owner, rows.source_digest, strict=True) if d},
                frozenset(others.suspect_digest) - {""},
                {model: accuracy for model, accuracy in accuracies if accuracy == accuracy},
                part.machine,
            )
        )
    return found


def _numbered(parts: Sequence[Part]) -> list[dict[Place, int]]:
    """Return the seed in the merged results of each source of each part: its own, or the next that nobody has."""
    highest = max(seed for part in parts for seed in part.spec.seeds)
    known: dict[tuple[str, str], dict[int, list[_Source]]] = defaultdict(dict)
    seeds: list[dict[Place, int]] = []
    for part in parts:
        numbers: dict[Place, int] = {}
        for source in _sources(part):
            others = known[source.place[:2]]
            used = {number for place, number in numbers.items() if place[:2] == source.place[:2]}
            made = {n: [s for s in group if s.made] or group for n, group in others.items() if n not in used}
            same = [n for n, group in made.items() if any(map(source.is_same, group))]
            own = source.place.source_seed
            number = same[0] if same else own if own not in others else max(highest, *others) + 1
            others.setdefault(number, []).append(source)
            numbers[source.place] = number
        seeds.append(numbers)
    return seeds


def _united(parts: Sequence[Part], seeds: Sequence[Mapping[Place, int]]) -> tuple[list[dict[str, object]], int]:
    """Return each trial once, and how many rows that saved; raise BenchError for a trial with two scores."""
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    conflicts: list[str] = []
    united = 0
    for part, numbers, origins in zip(parts, seeds, _origins(parts, seeds), strict=True):
        for row in part.frame.to_dict("records"):
            made: dict[str, object] = {str(name): None if v != v else v for name, v in row.items()}
            place = Place(row["dataset"], row["source_architecture"], int(row["source_seed"]))
            made |= {"source_seed": numbers[place], "origin": origins[row["origin"]]["name"]}
            trial = tuple(made[c] for c in IDENTITY)
            before = rows.setdefault(trial, made)
            if before is made:
                continue
            united += 1
            if made["status"] == before["status"] == Status.DONE:
                conflicts += _conflict(before, made)
            elif _rank(made) < _rank(before):
                rows[trial] = made
    if conflicts:
        more = f"; and {len(conflicts) - 1} more trials" if len(conflicts) > 1 else ""
        raise BenchError(
            f"One source, but two results: {conflicts[0]}{more}. Nothing was written: leave one of them out"
        )
    return list(rows.values()), united


def _conflict(a: Mapping[str, object], b: Mapping[str, object]) -> list[str]:
    """Name the trial of two rows if their content differs, as far as both have it."""
    for name in CONTENT:
        mine, others = a[name], b[name]
        if mine != others and "" not in (mine, others):
            shown = [str(v)[:12] if isinstance(v, str) else repr(v) for v in (mine, others)]
            trial = " ".join(
                f"{a[c]:g}" if isinstance(a[c], float) else str(a[c]) for c in IDENTITY if a[c] not in (None, "")
            )
            return [f"{trial}: {name} {shown[0]} ({a['origin']}) and {shown[1]} ({b['origin']})"]
    return []


def _rank(row: Mapping[str, object]) -> int:
    """Return which of two rows of a trial is kept: the lower."""
    return {Status.DONE: 0, Status.NOT_APPLICABLE: 1}.get(Status(str(row["status"])), 2)


def _origins(parts: Sequence[Part], seeds: Sequence[Mapping[Place, int]]) -> list[dict[str, dict[str, JSON]]]:
    """Return where the rows of each part were made, by the name that they have there: empty, unless it was merged."""
    taken: list[str] = []
    found = []
    for part, numbers in zip(parts, seeds, strict=True):
        entries = (*ORIGIN, "machines")
        own = {"name": part.name, "sources": [[*place, place.source_seed] for place in numbers]}
        merged = part.run.get("origins") or []
        by_name: dict[str, dict[str, JSON]] = {}
        for origin in merged or [own | {e: part.run[e] for e in entries if e in part.run}]:
            name = _unused(origin["name"], taken)
            taken.append(name)
            sources = [[d, a, numbers[Place(d, a, here)], there] for d, a, here, there in origin["sources"]]
            by_name[origin["name"] if merged else ""] = {**origin, "name": name, "sources": sources}
        found.append(by_name)
    return found


def _described(parts: Sequence[Part], seeds: Sequence[Mapping[Place, int]], command: str) -> dict[str, JSON]:
    """Return the `run.json` of merged results: one Spec, every component, where the rows were made."""
    origins = [o for by_name in _origins(parts, seeds) for o in by_name.values()]
    numbers = sorted({n for own in seeds for n in own.values()})
    components = {
        kind: dict(sorted({k: v for p in reversed(parts) for k, v in p.run["components"][kind].items()}.items()))
        for kind in ComponentKind
    }
    common = {
        entry: {
            k: v
            for k, v in (origins[0].get(entry) or {}).items()
            if all((o.get(entry) or {}).get(k) == v for o in origins)
        }
        for entry in ("libraries", "hardware")
    }
    commits = {o.get("git_commit") or "" for o in origins}
    return {
        "format": FORMAT,
        "spec": _spec([p.spec for p in parts], numbers).to_json(),
        "components": components,
        **common,
        "git_commit": commits.pop() if len(commits) == 1 else "",
        "command": command,
        "date": max(str(o.get("date") or "") for o in origins),
        "origins": origins,
    }


def _spec(specs: Sequence[Spec], seeds: Sequence[int]) -> Spec:
    """Return the first Spec with everything that the others have, too."""
    united: dict[str, Any] = {n: tuple(dict.fromkeys(v for s in specs for v in getattr(s, n))) for n in NAMES}
    united["baselines"] = tuple(b for b in united["baselines"] if b not in united["methods"])
    united["settings"] = {n: fields for s in reversed(specs) for n, fields in s.settings.items()}
    return dataclasses.replace(specs[0], seeds=tuple(seeds), **united)
