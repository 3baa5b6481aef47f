"""Repeat the tasks of a component: in a disturbed process, in two other processes, with other seeds."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.core.canonical import canonical
from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.tasks import Task
from bench.execution.task_context import WorkerState
from bench.sandbox.torch_state import isolated
from bench.store.store import Store
from bench.testing import two_processes
from bench.testing.harness import Harness
from bench.testing.recorder import GENERATORS, content


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
    """Return how each sample task differs when two other processes share them, by key."""
    differences: dict[str, str] = {}
    packed = two_processes.pack(harness.component, harness.required)
    scores = [t for t in sample_tasks(harness) if t.kind == TaskKind.SCORE]
    others = [t for t in sample_tasks(harness) if t.kind != TaskKind.SCORE]
    for tasks in (others, scores):  # scores read the others' artifacts
        before = {t.key: harness.artifact(t) for t in tasks}
        for task in tasks:
            harness.store.forget(task.key)
        try:
            failures = two_processes.divide(_work, (packed, harness.root, harness.store.root), tasks)
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


def _work(
    send: Callable[[Any], None], packed: two_processes.Packed, root: Path, store: Path, tasks: Sequence[Task]
) -> None:
    """Execute tasks as a worker does, and send the error of each."""
    try:
        component, required = two_processes.unpack(packed)
    except two_processes.NotImportable as reason:
        send((None, str(reason)))
        return
    harness = Harness(component, required, root, Store(store))
    state = WorkerState(harness.store, harness.registry)
    for task in tasks:
        send((task.key, harness.execute(task, state).error))


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
