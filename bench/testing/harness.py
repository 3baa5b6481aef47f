"""A component in the toy world: a small benchmark around it, run once, and its own tasks once more."""

from __future__ import annotations

import functools
import random
import re
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.api.components import Component
from bench.core.canonical import JSON, canonical
from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.tasks import Outcome, Task
from bench.datasets.files import data_root
from bench.execution.runner import execute
from bench.execution.task_context import WorkerState
from bench.planning.declarations import declare
from bench.planning.planner import Plan, plan
from bench.registry.registry import Registry, configured
from bench.registry.validation import contract_violation
from bench.sandbox.logs import Log
from bench.sandbox.torch_state import isolated
from bench.store.store import Store
from bench.testing import toy_plugins, two_processes
from bench.testing.recorder import GENERATORS, Call, content, watched
from bench.testing.toy_run import carry_out, temporary, toy_registry, toy_spec

KINDS: dict[str, tuple[str, ...]] = {
    ComponentKind.ARCHITECTURE: (TaskKind.TRAIN,),
    ComponentKind.ATTACK: (TaskKind.STEAL,),
    ComponentKind.METHOD: (TaskKind.EMBED, TaskKind.FINGERPRINT, TaskKind.SCORE),
}
"""The kinds of tasks that call a component, beside `data`."""
CALLED: dict[str, str] = {
    TaskKind.DATA: "load",
    TaskKind.TRAIN: "build",
    TaskKind.STEAL: "steal",
    TaskKind.EMBED: "embed",
    TaskKind.FINGERPRINT: "extract",
    TaskKind.SCORE: "score",
}
"""What each kind of task calls."""
FRAME = re.compile(r'File "(.+)", line (\d+)')


class Unjudged(Exception):
    """Why a promise could not be judged."""


@functools.cache
def _shared() -> Path:
    """Give the store of all grounds: what the component under test takes no part in is made once per process."""
    return temporary()


@dataclass
class Ground:
    """Where a component is tried.

    `needed` are others it relies on; `root` is the folder of the datasets; `at` is told of each call before it is made.
    """

    component: Component
    needed: Sequence[Component] = ()
    root: Path = field(default_factory=data_root)
    store: Store = field(default_factory=lambda: Store(_shared()))
    at: Callable[[str], None] = lambda call: None

    def __post_init__(self) -> None:
        self.root, self.task = self.root.absolute(), ""
        self.calls: list[Call] = []
        self.during: dict[str, list[Call]] = {}
        """The component's calls during each task."""
        self.log = Log(self.store.root / "logs" / "testing.txt")

    def note(self, call: Call) -> None:
        """Note a call of the component, before it is made."""
        self.calls.append(call)
        self.at(f"{call.method} ({self.task})")

    @property
    def file(self) -> Path:
        """Give the file that the component stands in."""
        return Path(str(getattr(sys.modules.get(type(self.component).__module__), "__file__", "") or ""))

    def lacks(self) -> str:
        """Name what it relies on and is not there; empty: nothing."""
        names = {c.name for c in self.needed}
        before = getattr(self.component, "starts_from", "")
        if before and before not in names:
            return f"it starts from the attack {before!r}, which is not installed"
        lost = [n for n in getattr(self.component, "helper_architectures", ()) if n not in names]
        return f"its helpers are of the architecture {lost[0]!r}, which is not installed" if lost else ""

    @functools.cached_property
    def registry(self) -> Registry:
        """Give the toy world with the component in it, watched."""
        reason = contract_violation(self.component)
        if reason:
            raise Unjudged(f"it has not the form of a component: {reason}")
        if self.lacks():
            raise Unjudged(self.lacks())
        target = str(getattr(self.component, "target", ""))
        sizes: dict[str, JSON] = {"images": 480, "classes": 10, "noise": 0.3, "leads": target}
        around = [*self.needed, *(configured(d, sizes) for d in toy_plugins.bench_datasets())]
        return toy_registry(watched(self.component, self.note), *(c for c in around if c.name != self.component.name))

    @functools.cached_property
    def plan(self) -> Plan:
        """Plan a small benchmark around the component."""
        name, kind = self.component.name, self.component.kind
        names: dict[str, Any] = {"sources": ("toy_conv",), "attacks": (), "methods": ("toy_match",)}
        sizes: dict[str, Any] = {"epochs": 8.0, "batch": 32, "lr": 0.1, "budget": 20, "helpers": 0.1}
        if kind == ComponentKind.ARCHITECTURE:
            names |= {"sources": (name,), "suspects": (name,), "attacks": ("toy_tune",), "replicates": 1, "copies": 1}
            sizes |= {"epochs": 1.0, "batch": 64, "images": 128}
        elif kind == ComponentKind.ATTACK:
            names |= {"attacks": (name,), "methods": ("toy_relation",)}
        else:
            names |= {"attacks": ("toy_tune", "toy_copy", "toy_move"), "methods": (name,)}
        spec = toy_spec(**names, **sizes)
        return plan(spec, declare(spec, self.registry))

    def own(self, *kinds: str) -> list[Task]:
        """List the tasks that call the component; `kinds` picks among them."""
        kind, name = self.component.kind, self.component.name
        tasks = [t for t in self.plan.tasks.values() if t.kind in (kinds or KINDS[kind])]
        return [t for t in tasks if t.params.get(kind, {}).get("name") == name]

    @functools.cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Run the benchmark, nothing of the component being stored before."""
        stale = {t.key for t in self.own()}
        for task in self.plan.tasks.values():
            if task.key in stale or stale & set(task.inputs.values()):
                stale.add(task.key)
                self.store.forget(task.key)
        state = WorkerState(self.store, self.registry)
        return carry_out(self.plan.tasks, lambda task: self.execute(task, state))

    def execute(self, task: Task, state: WorkerState | None = None) -> Outcome:
        """Execute a task in an empty working directory, noting the component's calls."""
        self.calls.clear()
        self.task = task.name
        with self.elsewhere():
            outcome = execute(task, self.store, self.registry, state=state)
        self.during[task.key] = list(self.calls)
        return outcome

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """Work in a folder in which nothing is, and nobody else writes."""
        with tempfile.TemporaryDirectory(dir=self.store.root) as folder, chdir(folder):
            yield

    def told(self, task: Task, outcome: Outcome) -> str:
        """Say how a task failed: what was called, what came of it, and where in the component's file."""
        failed = next((t for t in self.plan.tasks.values() if t.name == outcome.root), task)
        log = Path(outcome.log or self.outcomes[failed.key].log)
        frames = FRAME.findall(log.read_text(errors="replace")) if log.is_file() else []
        return f"{CALLED[failed.kind]} ({outcome.root or task.name}): {outcome.error}{self._place(frames)}"

    def place(self, error: BaseException) -> str:
        """Say where in the component's file an error came from; empty: not from there."""
        return self._place([(f.filename, f.lineno) for f in traceback.extract_tb(error.__traceback__)])

    def _place(self, frames: Iterable[tuple[str, Any]]) -> str:
        here = [line for file, line in frames if Path(file) == self.file]
        return f" ({self.file.name}, line {here[-1]})" if here else ""

    def done(self, *kinds: str) -> list[Task]:
        """List the component's own tasks; Unjudged where one of them is not done."""
        for task in self.own(*kinds):
            outcome = self.outcomes[task.key]
            if outcome.status != Status.DONE:
                raise Unjudged(f"{outcome.root} failed: {outcome.error}")
        return self.own(*kinds)

    def tried(self) -> list[tuple[Task, Call]]:
        """List every call of the component, with its task, whatever became of it; Unjudged where there was none."""
        calls = [(t, c) for t in self.own() if t.key in self.outcomes for c in self.during.get(t.key, ())]
        if not calls:
            failed = (f"{o.root} failed: {o.error}" for o in self.outcomes.values() if o.error)
            raise Unjudged(next(failed, "no task of the toy world calls it"))
        return calls

    def artifact(self, task: Task) -> tuple[dict[str, JSON], dict[str, dict[str, Tensor]]]:
        """Read a task's facts, but its seconds, and its tensors."""
        record = self.store.record(task.key) or {}
        facts = {k: v for k, v in record["facts"].items() if not k.endswith("seconds")}
        names = (n.removesuffix(".safetensors") for n in record["files"])
        return facts, {n: self.store.load(task.key, n) for n in names}

    @functools.cached_property
    def repeated(self) -> dict[str, str]:
        """Do a task of each sort, and every score, again in a disturbed process; say how each differs."""
        differences, state = dict[str, str](), WorkerState(self.store, self.registry)
        for task in reversed(self.sorts()):
            before = self.artifact(task)
            self.store.forget(task.key)
            with isolated(1, self.log):
                torch.rand(7)  # whatever ran before
                np.random.seed(5)
                random.seed(5)
                outcome = self.execute(task, state)
            failed = outcome.status != Status.DONE
            differences[task.key] = f"it failed: {outcome.error}" if failed else _differ(before, self.artifact(task))
        return differences

    def sorts(self) -> list[Task]:
        """List a task of each sort, and every score; Unjudged where one of the component's own is not done."""
        sorts: dict[tuple[str, ...], Task] = {}
        for task in self.done():
            architecture = task.components().get(ComponentKind.ARCHITECTURE, "")
            key = task.key if task.kind == TaskKind.SCORE else ""
            sorts.setdefault((task.kind, task.role, architecture, key), task)
        return list(sorts.values())

    @functools.cached_property
    def divided(self) -> dict[str, str]:
        """Do the same tasks once more, divided between two other processes; say how each differs."""
        differences: dict[str, str] = {}
        packed = two_processes.packed_up(self.component, self.needed)
        scores = [t for t in self.sorts() if t.kind == TaskKind.SCORE]
        others = [t for t in self.sorts() if t.kind != TaskKind.SCORE]
        for tasks in (others, scores):  # scores read the others' artifacts
            before = {t.key: self.artifact(t) for t in tasks}
            for task in tasks:
                self.store.forget(task.key)
            try:
                failures = two_processes.divide(_work_in_process, (packed, self.root, self.store.root), tasks)
            finally:
                lost = [t for t in tasks if self.store.record(t.key) is None]
                self.outcomes.update({t.key: self.execute(t) for t in lost})
            for task in tasks:
                failed = failures.get(task.key)
                differences[task.key] = failed or _differ(before[task.key], self.artifact(task))
        return differences

    @functools.cached_property
    def reseeded(self) -> list[tuple[str, str]]:
        """Name each of the component's methods that seeded a generator, and which one."""
        calls = self.tried()
        for task in self.own(TaskKind.EMBED, TaskKind.FINGERPRINT):  # once more with another seed
            other = Task.of(task.kind, task.role, {**task.params, "again": 1}, task.inputs)
            self.execute(other)
            self.store.forget(other.key)
            calls += [(other, c) for c in self.during[other.key]]
        seen: dict[tuple[str, int, int], int] = {}
        found = []
        for _, call in calls:
            for i, (before, after) in enumerate(call.drawn):
                if before != after and seen.setdefault((call.method, i, after), before) != before:
                    found.append((call.method, GENERATORS[i]))
        return list(dict.fromkeys(found))


def _work_in_process(tell: Any, packed: two_processes.Packed, root: Path, store: Path, tasks: Sequence[Task]) -> None:
    """Do tasks in another process, as a worker does, and tell how each ended."""
    try:
        component, needed = two_processes.unpacked(packed)
    except two_processes.Unknown as reason:
        tell((None, str(reason)))
        return
    ground = Ground(component, needed, root, Store(store))
    state = WorkerState(ground.store, ground.registry)
    for task in tasks:
        tell((task.key, ground.execute(task, state).error))


def _differ(one: tuple[Any, Any], other: tuple[Any, Any]) -> str:
    """Say where two artifacts differ; empty: nowhere."""
    if canonical(one[0]) != canonical(other[0]):
        name = next(k for k in (*one[0], *other[0]) if canonical(one[0].get(k)) != canonical(other[0].get(k)))
        return f"{name} was {one[0].get(name)!r:.60}, then {other[0].get(name)!r:.60}"
    for file, tensors in one[1].items():
        for name, tensor in tensors.items():
            if name not in other[1][file] or content(tensor) != content(other[1][file][name]):
                return f"{name!r} of its {file} differs"
    return ""
