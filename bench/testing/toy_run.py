"""The toy world as a benchmark: its registry, its Spec, and a run of it in this process."""

import atexit
import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.api.components import Component
from bench.core.errors import BenchError
from bench.core.kinds import Status, TaskKind
from bench.core.spec import Recipe, Spec
from bench.core.tasks import Outcome, Task
from bench.execution.queue import TaskQueue
from bench.execution.runner import execute
from bench.execution.task_context import WorkerState
from bench.planning.declarations import declare
from bench.planning.planner import Plan, plan
from bench.registry.registry import HOOKS, Registry
from bench.registry.validation import contract_violation
from bench.results.rows import row
from bench.store.store import Store
from bench.testing import toy_plugins


def toy_registry(*components: Component) -> Registry:
    """Return a registry of the toy components and those given; raise BenchError if one breaks the contract.

    A component with the name of a toy one replaces it.
    """
    registry = Registry()
    names = {c.name for c in components}
    for hook in HOOKS:
        for component in getattr(toy_plugins, hook)():
            if component.name not in names:
                registry.add(component, "the toy world")
    for component in components:
        reason = contract_violation(component)
        if reason:
            raise BenchError(reason)
        registry.add(component, "a test")
    return registry


def toy_spec(**changes: Any) -> Spec:
    """Return the Spec of a benchmark of every toy component; `changes` are fields of `Spec` or of its recipe."""
    recipe: dict[str, Any] = {"epochs": 3.0, "batch": 16, "lr": 0.05, "precision": "fp32"}
    spec: dict[str, Any] = {
        "datasets": ("toy",),
        "sources": ("toy_net",),
        "suspects": ("toy_net", "toy_conv"),
        "attacks": ("toy_tune", "toy_copy", "toy_polish", "toy_move"),
        "methods": ("toy_match", "toy_relation", "toy_mark"),
        "replicates": 2,
        "copies": 2,
        "target_replicates": 1,
        "preset": "toy",
    }
    sizes = {f.name for f in dataclasses.fields(Recipe)}
    for name, value in changes.items():
        (recipe if name in sizes else spec)[name] = value
    return Spec(**spec, recipe=Recipe(**recipe))


@dataclass(frozen=True)
class ToyRun:
    """A benchmark that was run: its plan, its store, and the outcome of each task."""

    plan: Plan
    store: Store
    outcomes: Mapping[str, Outcome]

    def rows(self) -> list[dict[str, object]]:
        """Return the row of each trial, as in `trials.csv`."""
        get = self.outcomes.get
        return [row(t, get(t.score), get(t.source), get(t.suspect)) for t in self.plan.trials]

    def scores(self) -> dict[str, float]:
        """Return the score of each score task that is done, by key."""
        done = {k: o for k, o in self.outcomes.items() if o.status == Status.DONE}
        return {k: float(o.facts["score"]) for k, o in done.items() if self.plan.tasks[k].kind == TaskKind.SCORE}


def run_toy(spec: Spec | None = None, registry: Registry | None = None, root: Path | None = None) -> ToyRun:
    """Plan and run a benchmark in this process; `root` is the folder of its store (default: a temporary one)."""
    registry, spec = registry or toy_registry(), spec or toy_spec()
    planned = plan(spec, declare(spec, registry))
    state = WorkerState(Store(root or temporary_folder()), registry)
    outcomes = execute_all(planned.tasks, lambda task: execute(task, state.store, registry, state=state))
    return ToyRun(planned, state.store, outcomes)


def execute_all(tasks: Mapping[str, Task], do: Callable[[Task], Outcome]) -> dict[str, Outcome]:
    """Execute tasks one after the other; those that depend on a failed one are blocked."""
    queue, outcomes = TaskQueue(tasks), dict[str, Outcome]()
    while queue.unfinished:
        for task in queue.take():
            outcomes |= {outcome.key: outcome for outcome in queue.settle(do(task))}
    return outcomes


def temporary_folder() -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="bench-testing-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
