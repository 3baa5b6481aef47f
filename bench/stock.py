"""Take stock of a plan: what of it the store has, what has to run, what that will cost, what is out of date."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.plan import Plan, wanted
from bench.process import uncollected
from bench.store import Store
from bench.types import JSON, Outcome, Task, digest

if TYPE_CHECKING:
    from bench.catalogue import Catalogue

TIMINGS = "timings.json"


@dataclass
class Stock:
    """A plan held against a store. Records are read once and remembered."""

    plan: Plan
    store: Store
    records: dict[str, dict[str, JSON] | None] = field(default_factory=dict)

    @cached_property
    def there(self) -> frozenset[str]:
        """The keys of the store's artifacts when they were first asked for: one look for all that are missing."""
        return frozenset(self.store.all_keys())

    def record(self, key: str) -> dict[str, JSON] | None:
        """Read an artifact's record, once."""
        if key not in self.records:
            self.records[key] = self.store.record(key) if key in self.there else None
        return self.records[key]

    def missing(self, gone: Set[str] = frozenset()) -> dict[str, Task]:
        """Give the tasks that have to run, inputs before what needs them, if the artifacts of `gone` were not there."""

        def has(key: str) -> bool:
            return key not in gone and self.record(key) is not None

        def whole(key: str) -> bool:
            return has(key) and self.store.is_whole(key, self.record(key) or {})

        with uncollected():
            return wanted(self.plan, has, whole)

    def anew(self, key: str) -> dict[str, Task]:
        """Give the tasks that have to run before one that found an input damaged or gone, inputs first."""
        result: dict[str, Task] = {}

        def walk(needed: str) -> None:
            for before in self.plan.tasks[needed].inputs.values():
                if before not in result and not self.store.whole(before):
                    walk(before)
                    result[before] = self.plan.tasks[before]

        walk(key)
        return result

    def outcome(self, key: str, settled: Mapping[str, Outcome]) -> Outcome | None:
        """Give what became of a task: in this run, or when it was stored; None where it never ran."""
        if key in settled:
            return settled[key]
        record = self.record(key) if key else None
        if record is None:
            return None
        made = record["made"]
        return Outcome(key, "done", True, record["facts"], made.get("seconds", 0.0), made.get("device", ""))

    def outdated(self, catalogue: Catalogue) -> list[str]:
        """Name the components whose source text has changed, under the same version, since artifacts were made."""
        now: dict[str, str] = {}
        changed: Counter[str] = Counter()
        for key in self.plan.tasks:
            for name, was in ((self.records.get(key) or {}).get("made", {}).get("sources", {})).items():
                if name not in now:
                    kind, _, component = name.partition(":")
                    present = component in catalogue.names(kind)
                    now[name] = catalogue.source_digest(kind, component) if present else was
                if was != now[name]:
                    changed[name.partition(":")[2]] += 1
        return [
            f"{count} stored results of {name} were made by other source text under the same version: "
            f"raise its version, or make them again with --refresh {name}"
            for name, count in sorted(changed.items())
        ]

    def refresh(self, names: Iterable[str]) -> int:
        """Forget the artifacts of every task that a component takes part in, and of all that came from them."""
        gone = self.touched(names)
        self.records.clear()
        return sum(self.store.forget(key) for key in gone)

    def touched(self, names: Iterable[str]) -> set[str]:
        """Give the tasks that some components take part in, and all that need them; BenchError names one that none."""
        gone: set[str] = set()
        for name in names:
            hit = {k for k, t in self.plan.tasks.items() if name in _components(t)}
            if not hit:
                raise BenchError(f"--refresh {name}: {name!r} takes no part in this run")
            gone |= hit
        order = list(self.plan.tasks)
        grew = True
        while grew:
            more = {k for k in order if k not in gone and gone & set(self.plan.tasks[k].inputs.values())}
            grew = bool(more)
            gone |= more
        return gone


@dataclass
class Keeper:
    """Removes a suspect's weights once every task of this run that needs them is settled (`--keep scores`)."""

    plan: Plan
    store: Store
    missing: Mapping[str, Task]
    needed: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.suspects = {t.suspect for t in self.plan.trials if t.suspect} - {t.source for t in self.plan.trials}
        for task in self.missing.values():
            self.needed.update(set(task.inputs.values()) & self.suspects)

    def expect(self, more: Mapping[str, Task]) -> None:
        """Take note of tasks that have to run, too."""
        for key, task in more.items():
            if key not in self.missing:
                self.needed.update(set(task.inputs.values()) & self.suspects)
        self.missing = {**self.missing, **more}

    def settled(self, outcome: Outcome) -> None:
        """Take note of an outcome. What failed may be tried again by the next run, so its suspect stays."""
        if outcome.key in self.missing and outcome.status == "done":
            for key in set(self.missing[outcome.key].inputs.values()) & self.suspects:
                self.needed[key] -= 1
                if not self.needed[key]:
                    self.store.drop(key, "weights")


def _components(task: Task) -> set[str]:
    kinds = ("architecture", "attack", "method", *(("dataset",) if task.kind == "data" else ()))
    return {str(task.params[k]["name"]) for k in kinds if k in task.params}


def _signature(task: Task) -> str:
    """Name what decides how long a task takes: everything in its parameters but the replicate."""
    params = {k: v for k, v in task.params.items() if k != "replicate"}
    return digest({"kind": task.kind, "role": task.role, "params": params})[:16]


def learn(store: Store, tasks: Mapping[str, Task], settled: Mapping[str, Outcome], sizes: Mapping[str, int]) -> None:
    """Keep what tasks took, so that the next plan can say what it expects."""
    known = _timings(store)
    for key, outcome in settled.items():
        if outcome.status == "done" and not outcome.stored and key in tasks:
            count, seconds, size = known.get(_signature(tasks[key]), (0, 0.0, 0))
            known[_signature(tasks[key])] = (count + 1, seconds + outcome.seconds, size + sizes.get(key, 0))
    path = store.root / TIMINGS
    partial = path.with_name(f"{TIMINGS}.{uuid.uuid4().hex}")  # another run may end in this moment
    with suppress(OSError):  # a full disk must not cost the tables of a run that is done
        try:
            partial.write_text(json.dumps(known))
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def _timings(store: Store) -> dict[str, tuple[int, float, int]]:
    try:
        content = json.loads((store.root / TIMINGS).read_text())
        return {str(k): (int(n), float(s), int(b)) for k, (n, s, b) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True)
class Expectation:
    """What tasks are expected to cost: seconds on one slot, bytes, and how many of them nothing is known about."""

    seconds: float
    size: int
    unknown: int


def expect(store: Store, tasks: Mapping[str, Task]) -> Expectation:
    """Estimate from the measured seconds and bytes of earlier runs what tasks will cost."""
    known = _timings(store)
    seconds, size, unknown = 0.0, 0, 0
    signatures: dict[tuple[str, str, int], str] = {}  # a method's scores share their parameters, object and all
    for task in tasks.values():
        same = (task.kind, task.role, id(task.params))
        signature = signatures[same] if same in signatures else signatures.setdefault(same, _signature(task))
        count, spent, bytes_ = known.get(signature, (0, 0.0, 0))
        if count:
            seconds, size = seconds + spent / count, size + bytes_ // count
        else:
            unknown += 1
    return Expectation(seconds, size, unknown)
