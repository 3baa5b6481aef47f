"""A component in the toy world: a small benchmark around it, run once, with every call recorded; what a check is."""

import functools
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakMethod

from torch import Tensor

from bench.api.data import as_tensor
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.tasks import NOT_APPLICABLE, Outcome, Task
from bench.datasets.files import data_root
from bench.execution.runner import execute
from bench.execution.task_context import WorkerState
from bench.planning.declarations import declare
from bench.planning.planner import Plan, plan
from bench.registry.registry import Registry, configured
from bench.registry.validation import contract_violation
from bench.sandbox.logs import Log
from bench.store.store import Store
from bench.testing import toy_plugins
from bench.testing.recorder import Call, content, recorded
from bench.testing.subject import Skipped, Subject
from bench.testing.toy_run import execute_all, temporary_folder, toy_registry, toy_spec
from bench.testing.trial_networks import BIG, SHAPES, parameters, works_on

KINDS: dict[str, tuple[str, ...]] = {
    ComponentKind.ARCHITECTURE: (TaskKind.TRAIN,),
    ComponentKind.ATTACK: (TaskKind.STEAL,),
    ComponentKind.METHOD: (TaskKind.EMBED, TaskKind.FINGERPRINT, TaskKind.SCORE),
}
"""The kinds of task that call a component, other than `data`."""
METHODS: dict[str, str] = {
    TaskKind.DATA: "load",
    TaskKind.TRAIN: "build",
    TaskKind.STEAL: "steal",
    TaskKind.EMBED: "embed",
    TaskKind.FINGERPRINT: "extract",
    TaskKind.SCORE: "score",
}
"""The method that each kind of task calls."""
FINGERPRINTING = (TaskKind.EMBED, TaskKind.FINGERPRINT)
"""The kinds of task that make a fingerprint."""
LIMIT = 60.0
"""Seconds that one call of a component may take in another process."""
FRAME = re.compile(r'File "(.+)", line (\d+)')
_shared = functools.cache(temporary_folder)
"""Returns the store of all harnesses, which share the artifacts that do not involve the component under test."""


@dataclass
class Harness(Subject):
    """A component in a small benchmark of the toy world.

    `required` are the components that it depends on; `root` is the folder of the datasets; `on_call` is called before
    each call of the component, which may take `limit` seconds in another process. `images` is the shape of the images
    (default: the first that an architecture under test takes, the smallest for others); `refused` says how the
    component refused smaller ones, `larger` is its harness with larger ones.
    """

    component: Any
    required: Sequence[Any] = ()
    root: Path = field(default_factory=data_root)
    store: Store = field(default_factory=lambda: Store(_shared()))
    on_call: Callable[[str], None] = lambda call: None
    limit: float = LIMIT
    images: tuple[int, int, int] | None = None
    refused: str = ""
    larger: "Harness | None" = None

    def __post_init__(self) -> None:
        self.root, self.task = self.root.absolute(), ""
        self.calls: list[Call] = []
        self.calls_of: dict[str, list[Call]] = {}
        """The component's calls during each task, by its key."""
        self.repeated: dict[str, str] = {}
        """Differences of repeated tasks, by key: see `repetition.repeat`."""
        self.altered: dict[str, str] = {}
        """The tensor that the store altered, by the key of the task whose fingerprint it belongs to."""
        self.log = Log(self.store.root / "logs" / "testing.txt")

    def record(self, call: Call) -> None:
        """Record a call of the component, before it is made."""
        self.calls.append(call)
        self.on_call(f"{call.method} ({self.task})")

    @functools.cached_property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape of the toy world's images."""
        if self.images or self.component.kind != ComponentKind.ARCHITECTURE:
            return self.images or SHAPES[0]
        tries = ((shape, device) for shape in SHAPES for device in ("meta", "cpu"))
        return next((s for s, device in tries if works_on(self.component, s, device, self.log)), SHAPES[0])

    @functools.cached_property
    def device(self) -> str:
        """Return where checks look at an architecture's networks: `meta` for big ones that can be run there."""
        big = parameters(self.component, self.log) >= BIG
        return "meta" if big and works_on(self.component, self.shape, "meta", self.log) else "cpu"

    @functools.cached_property
    def registry(self) -> Registry:
        """Return the toy world with the recorded component in it."""
        reason = contract_violation(self.component)
        if reason:
            raise Skipped(f"it has not the form of a component: {reason}")
        if self.missing_requirement():
            raise Skipped(self.missing_requirement())
        others = [*self.required, *_datasets(self)]
        recorded_one = recorded(self.component, _weak(self.record))
        return toy_registry(recorded_one, *(c for c in others if c.name != recorded_one.name))

    @functools.cached_property
    def plan(self) -> Plan:
        """Return the plan of a small benchmark around the component."""
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
        return _planned(self.registry, {**names, **sizes})

    def own_tasks(self, *kinds: str) -> list[Task]:
        """Return the tasks that call the component, of some kinds or of all."""
        kind, name = self.component.kind, self.component.name
        tasks = [t for t in self.plan.tasks.values() if t.kind in (kinds or KINDS[kind])]
        return [t for t in tasks if t.params.get(kind, {}).get("name") == name]

    @functools.cached_property
    def outcomes(self) -> dict[str, Outcome]:
        """Return the outcomes of the benchmark, run without stored results of the component."""
        stale = {t.key for t in self.own_tasks()}
        for task in self.plan.tasks.values():
            if task.key in stale or stale & set(task.inputs.values()):
                stale.add(task.key)
                self.store.forget(task.key)
        state = WorkerState(self.store, self.registry)
        return execute_all(self.plan.tasks, lambda task: self.execute(task, state))

    def execute(self, task: Task, state: WorkerState | None = None) -> Outcome:
        """Execute a task in an empty working directory, and record the component's calls."""
        self.calls.clear()
        self.task = task.name
        with empty_directory(self.store.root):
            outcome = execute(task, self.store, self.registry, state=state)
        self.calls_of[task.key] = list(self.calls)
        made = [c.returned for c in self.calls if c.method == METHODS[task.kind]]
        applicable = outcome.status == Status.DONE and NOT_APPLICABLE not in outcome.facts
        if task.kind in FINGERPRINTING and applicable and made:
            self.altered[task.key] = _altered(made[-1], self.artifact(task)[1]["fingerprint"])
        return outcome

    def describe_failure(self, task: Task, outcome: Outcome) -> str:
        """Return how a task failed: the method called, the error, and the line of the component's file."""
        failed = next((t for t in self.plan.tasks.values() if t.name == outcome.root), task)
        log = Path(outcome.log or self.outcomes[failed.key].log)
        frames = FRAME.findall(log.read_text(encoding="utf-8", errors="replace")) if log.is_file() else []
        location = self._location(frames)
        line = f"{METHODS[failed.kind]} ({outcome.root or task.name}): {outcome.error}"
        return line if location in line else line + location

    def completed_tasks(self, *kinds: str) -> list[Task]:
        """Return the applicable tasks that call the component; raise Skipped if one of them is not done."""
        for task in self.own_tasks(*kinds):
            outcome = self.outcomes[task.key]
            if outcome.status != Status.DONE:
                raise Skipped(f"{outcome.root} failed: {outcome.error}")
        return [t for t in self.own_tasks(*kinds) if NOT_APPLICABLE not in self.outcomes[t.key].facts]

    def calls_made(self) -> list[tuple[Task, Call]]:
        """Return every call of the component by the host, with its task; raise Skipped if there is none.

        Failed calls are included, and those left out that the component makes itself, such as of `score` in `extract`.
        """
        tasks = [t for t in self.own_tasks() if t.key in self.outcomes]
        calls = [(t, c) for t in tasks for c in self.calls_of.get(t.key, ()) if c.method == METHODS[t.kind]]
        if not calls:
            failed = (f"{o.root} failed: {o.error}" for o in self.outcomes.values() if o.error)
            raise Skipped(next(failed, "no task of the toy world calls it"))
        return calls

    def artifact(self, task: Task) -> tuple[dict[str, JSON], dict[str, dict[str, Tensor]]]:
        """Return a task's facts, except durations, and its tensors."""
        record = self.store.record(task.key) or {}
        facts = {k: v for k, v in record["facts"].items() if not k.endswith("seconds")}
        names = (n.removesuffix(".safetensors") for n in record["files"])
        return facts, {n: self.store.load(task.key, n) for n in names}


@contextmanager
def empty_directory(beside: Path) -> Iterator[None]:
    """Use an empty working directory inside."""
    with tempfile.TemporaryDirectory(dir=beside) as folder, chdir(folder):
        yield


def _weak(record: Callable[[Call], None]) -> Callable[[Call], None]:
    """Return a bound method as a function that does not keep its object: caches keep components for a whole process."""
    reference = WeakMethod(record)

    def call_it(call: Call) -> None:
        if (method := reference()) is not None:
            method(call)

    return call_it


def _datasets(harness: Harness) -> list[Any]:
    """Return the toy datasets in the size that checks need."""
    component, (channels, side, _) = harness.component, harness.shape
    leads = [str(getattr(c, name, "")) for c in (component, *harness.required) for name in ("target", "surrogate_data")]
    sizes: dict[str, JSON] = {"images": 480, "noise": 0.3, "channels": channels, "side": side}
    sizes["leads"] = ",".join(dict.fromkeys(filter(None, leads)))
    # a method may meet label spaces of any size
    classes = {"toy_other": 7 if component.kind == ComponentKind.METHOD else 10}
    return [configured(d, {**sizes, "classes": classes.get(d.name, 10)}) for d in toy_plugins.bench_datasets()]


def _planned(registry: Registry, options: Mapping[str, Any]) -> Plan:
    spec = toy_spec(**options)
    try:
        return plan(spec, declare(spec, registry))
    except BenchError:  # a component may take some budgets only, of which its default is one
        spec = toy_spec(**{**options, "budget": 0})
        return plan(spec, declare(spec, registry))


def _altered(made: Any, stored: Mapping[str, Tensor]) -> str:
    """Return the first tensor of a fingerprint that the store altered; empty: none. A watermark returned two things."""
    tensors: Mapping[str, Any] = made[1] if isinstance(made, tuple) else made
    return next((name for name, one in tensors.items() if content(as_tensor(one)) != content(stored[name])), "")


Check = Callable[[Harness], str]
"""Returns why a component fails it, or nothing; its docstring's first line is its title.

May raise `Skipped` or `Passed`.
"""
APPLIES_TO: dict[Check, tuple[ComponentKind, ...]] = {}
COSTLY: set[Check] = set()
"""Checks that are slow for big networks or files."""


def applies_to(*kinds: ComponentKind, costly: bool = False) -> Callable[[Check], Check]:
    """Register a function as a check of components of these kinds."""

    def register(check: Check) -> Check:
        APPLIES_TO[check] = kinds
        COSTLY.update([check] if costly else [])
        return check

    return register
