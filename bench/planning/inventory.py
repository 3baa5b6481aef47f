"""Compare a plan with a store: which artifacts are missing or out of date, and what a refresh affects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Status, TaskKind
from bench.core.tasks import Outcome, Task
from bench.planning.graph import Plan, missing_tasks
from bench.sandbox.process_state import gc_paused
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.registry.registry import Registry

SHORT_TASKS = (TaskKind.FINGERPRINT, TaskKind.SCORE)
"""Starting workers for these alone costs more than it saves."""


def needs_no_workers(missing: Mapping[str, Task], store: Store) -> bool:
    """Return True if a run does the missing tasks in its own process unless workers are asked for.

    A missing task with a log was begun before: it may have ended its process, so that workers are started for it.
    """
    return all(t.kind in SHORT_TASKS for t in missing.values()) and not store.has_log(missing)


def stored_outcome(store: Store, task: Task) -> Outcome | None:
    """Return the outcome of a task whose artifact is complete in the store.

    So counts a suspect whose weights another run has removed (`--keep scores`), once all that needs them is stored.
    """
    record = store.record(task.key)
    if record is None:
        return None
    removed = record["dropped"] and task.needed_by and all(map(store.has, task.needed_by))
    return Outcome.of_record(task.key, record, True) if removed or store.is_complete(task.key, record) else None


@dataclass
class Inventory:
    """A plan and the records of its artifacts in a store, each of which is read once."""

    plan: Plan
    store: Store
    records: dict[str, dict[str, JSON] | None] = field(default_factory=dict)

    @cached_property
    def stored_keys(self) -> frozenset[str]:
        """The keys of the store's artifacts at the first access; listing them is faster than a look-up per key."""
        return frozenset(self.store.all_keys())

    def record(self, key: str) -> dict[str, JSON] | None:
        """Return an artifact's record, which is read once; None if it is missing."""
        if key not in self.records:
            self.records[key] = self.store.record(key) if key in self.stored_keys else None
        return self.records[key]

    def missing(self, ignored: Set[str] = frozenset()) -> dict[str, Task]:
        """Return the tasks that have to run, inputs first, as if the artifacts of `ignored` were missing."""

        def has_facts(key: str) -> bool:
            return key not in ignored and self.record(key) is not None

        def is_complete(key: str) -> bool:
            return has_facts(key) and self.store.is_complete(key, self.record(key) or {})

        with gc_paused():
            return missing_tasks(self.plan, has_facts, is_complete)

    def missing_inputs(self, key: str) -> dict[str, Task]:
        """Return the tasks that have to run before one that found an input damaged or missing, inputs first."""
        result: dict[str, Task] = {}

        def walk(key: str) -> None:
            for needed in self.plan.tasks[key].inputs.values():
                if needed not in result and not self.store.is_complete(needed):
                    walk(needed)
                    result[needed] = self.plan.tasks[needed]

        walk(key)
        return result

    def outcome(self, key: str, outcomes: Mapping[str, Outcome]) -> Outcome | None:
        """Return the outcome of a task in this run, or when it was stored; None if it never ran."""
        if key in outcomes:
            return outcomes[key]
        record = self.record(key) if key else None
        return None if record is None else Outcome.of_record(key, record, True)

    def outdated(self, registry: Registry) -> list[str]:
        """Return a note for each component whose source changed, but not its version, since artifacts were computed."""
        return [
            f"The source of {name} changed but its version did not ({count} cached results affected). "
            f"Increase `version`, or recompute with --refresh {name}."
            for name, count in self.of_other_source(registry)
        ]

    def of_other_source(self, registry: Registry) -> list[tuple[str, int]]:
        """Return the names of these components, each with the number of its artifacts."""
        return _of_other_source(map(self._sources, self.plan.tasks), registry)

    def _sources(self, key: str) -> Mapping[str, str]:
        return (self.record(key) or {}).get("made", {}).get("sources", {})  # type: ignore[no-any-return]  # it is JSON

    def edited_meanwhile(self, registry: Registry, outcomes: Iterable[Outcome]) -> list[str]:
        """Return a note for each component that ran from another source than the one that this process imported."""
        computed = (o.sources for o in outcomes if o.status == Status.DONE and not o.stored)
        return [
            f"{count} results of this run are of another source of {name} than it began with: the plugin was edited "
            f"meanwhile, or a worker has another copy. Recompute them with --refresh {name}."
            for name, count in _of_other_source(computed, registry)
        ]

    def refresh(self, names: Iterable[str]) -> int:
        """Remove the artifacts of every task that some components affect, and return their number."""
        affected = self.affected(names)
        self.records.clear()
        return sum(self.store.forget(key) for key in affected)

    def affected(self, names: Iterable[str]) -> set[str]:
        """Return the tasks that run some components, and all that need them; BenchError if no task runs one."""
        result: set[str] = set()
        for name in names:
            direct = {k for k, t in self.plan.tasks.items() if name in t.components().values()}
            if not direct:
                raise BenchError(f"--refresh {name}: {name!r} takes no part in this run")
            result |= direct
        for key, task in self.plan.tasks.items():  # inputs come first
            if result & set(task.inputs.values()):
                result.add(key)
        return result


def _of_other_source(used: Iterable[Mapping[str, str]], registry: Registry) -> list[tuple[str, int]]:
    """Count the artifacts of another source of a component than the imported one, by the component's name.

    `used` has the digests of the sources of each artifact.
    """
    current: dict[str, tuple[str, ...]] = {}
    changed: Counter[str] = Counter()
    for digests in used:
        for name, recorded in digests.items():
            kind, _, component = name.partition(":")
            if name not in current:
                installed = component in registry.entries.get(kind, {})
                current[name] = registry.source_digests(kind, component) if installed else ()
            if recorded and current[name] and recorded not in current[name]:
                changed[component] += 1
    return sorted(changed.items())
