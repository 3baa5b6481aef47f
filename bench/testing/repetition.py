"""Repeat the tasks of a component: in a disturbed process, in two other processes, with other seeds."""

import atexit
import pickle
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch

from bench.api.components import Component
from bench.core.canonical import canonical
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.tasks import Task
from bench.execution.task_context import WorkerState
from bench.registry.discovery import load_registry
from bench.registry.plugin_files import files_for
from bench.sandbox.supervised_process import Died, SupervisedProcess
from bench.sandbox.torch_state import isolated
from bench.store.store import Store
from bench.testing.harness import Harness
from bench.testing.recorder import GENERATORS, content

SHARE = 0.9
"""Of the limit of a call, what the other processes get: so these are stopped, and not the one that waits for them."""
Packed: TypeAlias = tuple[bytes, tuple[str, ...]]
"""Pickled components, and the plugin files to import before unpickling."""
_workers: list[SupervisedProcess] = []


class NotImportable(Exception):
    """No other process can import a component, for this reason."""


def sample_tasks(harness: Harness) -> list[Task]:
    """Return one task of each kind, role and architecture, and every score; raise Skipped if a task is not done."""
    sample: dict[tuple[str, ...], Task] = {}
    for task in harness.completed_tasks():
        architecture = task.components().get(ComponentKind.ARCHITECTURE, "")
        key = task.key if task.kind == TaskKind.SCORE else ""
        sample.setdefault((task.kind, task.role, architecture, key), task)
    return list(sample.values())


def repeat(harness: Harness) -> dict[str, str]:
    """Return how each sample task differs when it is repeated in a disturbed process, by key; cached."""
    if harness.repeated:
        return harness.repeated
    state = WorkerState(harness.store, harness.registry)
    for task in reversed(sample_tasks(harness)):
        before = harness.artifact(task)
        harness.store.forget(task.key)
        with isolated(1, harness.log):
            torch.rand(7)  # disturb the generators
            np.random.seed(5)
            random.seed(5)
            outcome = harness.execute(task, state)
        failed = f"it failed: {outcome.error}" if outcome.status != Status.DONE else ""
        harness.repeated[task.key] = failed or _difference(before, harness.artifact(task))
    return harness.repeated


def divide(harness: Harness) -> dict[str, str]:
    """Return how each sample task differs when two other processes share them, by key; may raise NotImportable."""
    differences: dict[str, str] = {}
    packed = pack(harness.component, harness.required)
    sample = sample_tasks(harness)
    for scores in (False, True):  # scores read the others' artifacts
        tasks = [t for t in sample if (t.kind == TaskKind.SCORE) == scores]
        before = {t.key: harness.artifact(t) for t in tasks}
        for task in tasks:
            harness.store.forget(task.key)
        try:
            failures = _execute_in_two(packed, harness, tasks)
        finally:
            lost = [t for t in tasks if harness.store.record(t.key) is None]
            harness.outcomes.update({t.key: harness.execute(t) for t in lost})
        for task in tasks:
            failed = failures.get(task.key)
            differences[task.key] = failed or _difference(before[task.key], harness.artifact(task))
    return differences


def reseeded(harness: Harness) -> list[tuple[str, str]]:
    """Return each method of the component that seeded a generator, with the name of the generator."""
    calls = harness.calls_made()
    for task in harness.own_tasks(TaskKind.EMBED, TaskKind.FINGERPRINT):  # once more with another seed
        other = Task.of(task.kind, task.role, {**task.params, "again": 1}, task.inputs)
        harness.execute(other)
        harness.store.forget(other.key)
        calls += [(other, c) for c in harness.calls_of[other.key]]
    seen: dict[tuple[str, int, int], int] = {}
    found = []
    for _, call in calls:
        for i, (before, after) in enumerate(call.generators):
            if before != after and seen.setdefault((call.method, i, after), before) != before:
                found.append((call.method, GENERATORS[i]))
    return list(dict.fromkeys(found))


def pack(component: Component, required: Sequence[Component]) -> Packed:
    """Pickle components for another process; raise NotImportable if that is impossible."""
    try:
        packed = pickle.dumps((component, list(required)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotImportable(str(error)) from error
    files = [file for c in (component, *required) for file in files_for(type(c).__module__)]
    return packed, tuple(dict.fromkeys(files))


def _execute_in_two(packed: Packed, harness: Harness, tasks: Sequence[Task]) -> dict[str, str]:
    """Divide tasks between two processes, as a run does; return the errors of those that failed, by key."""
    limit = SHARE * harness.limit
    _workers[:] = [w for w in _workers if w.process.is_alive() and w.limit == limit]
    while len(_workers) < 2:
        _workers.append(SupervisedProcess(limit))
        atexit.register(_workers[-1].close)
    shares = [(w, tasks[i::2]) for i, w in enumerate(_workers)]
    world = packed, harness.root, harness.store.root, harness.images
    submitted = [(w.submit(_work, *world, own), own) for w, own in shares if own]
    failures: dict[str, str] = {}
    for results, own in submitted:
        pending = [t.key for t in own]
        try:
            for key, error in results:
                harness.on_call("a call in another process")
                if key is None:
                    raise NotImportable(error)
                if not key:  # it is about to begin
                    continue
                pending.remove(key)
                if error:
                    failures[key] = f"it failed: {error}"
        except Died as death:
            failures |= dict.fromkeys(pending, f"it {death}")
    return failures


def _work(
    send: Callable[[Any], None], packed: Packed, root: Path, store: Path, images: Any, tasks: Sequence[Task]
) -> None:
    """Execute tasks as a worker does, in a thread; send the key and error of each, or None and why it cannot begin.

    The first message has no key: from then on, the time of a call counts.
    """
    try:
        load_registry(packed[1])
        component, required = pickle.loads(packed[0])
    except (ImportError, AttributeError, BenchError) as error:
        send((None, str(error)))
        return
    harness = Harness(component, required, root, Store(store), images=images)
    state = WorkerState(harness.store, harness.registry)
    send(("", ""))
    with ThreadPoolExecutor(1) as thread:
        for task in tasks:
            send((task.key, thread.submit(harness.execute, task, state).result().error))


def _difference(one: tuple[Any, Any], other: tuple[Any, Any]) -> str:
    """Return where two artifacts differ; empty: nowhere."""
    if canonical(one[0]) != canonical(other[0]):
        name = next(k for k in (*one[0], *other[0]) if canonical(one[0].get(k)) != canonical(other[0].get(k)))
        return f"{name} was {one[0].get(name)!r:.60}, then {other[0].get(name)!r:.60}"
    for file, tensors in one[1].items():
        for name, tensor in tensors.items():
            if name not in other[1][file] or content(tensor) != content(other[1][file][name]):
                return f"{name!r} of its {file} differs"
    return ""
