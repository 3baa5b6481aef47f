"""Take stock of a plan: what of it the store has, what has to run, what that will cost, what is out of date."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.planning.planner import Plan, wanted
from bench.sandbox.process_state import gc_paused
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.registry.registry import Registry


@dataclass
class Inventory:
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
            return has(key) and self.store.is_complete(key, self.record(key) or {})

        with gc_paused():
            return wanted(self.plan, has, whole)

    def anew(self, key: str) -> dict[str, Task]:
        """Give the tasks that have to run before one that found an input damaged or gone, inputs first."""
        result: dict[str, Task] = {}

        def walk(needed: str) -> None:
            for before in self.plan.tasks[needed].inputs.values():
                if before not in result and not self.store.is_complete(before):
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
        return Outcome(key, Status.DONE, True, record["facts"], made.get("seconds", 0.0), made.get("device", ""))

    def outdated(self, registry: Registry) -> list[str]:
        """Name the components whose source text has changed, under the same version, since artifacts were made."""
        now: dict[str, str] = {}
        changed: Counter[str] = Counter()
        for key in self.plan.tasks:
            for name, was in ((self.records.get(key) or {}).get("made", {}).get("sources", {})).items():
                if name not in now:
                    kind, _, component = name.partition(":")
                    present = component in registry.names(kind)
                    now[name] = registry.source_digest(kind, component) if present else was
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
            hit = {k for k, t in self.plan.tasks.items() if name in t.components().values()}
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
