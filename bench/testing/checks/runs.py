"""What everything promises that is run in the toy world: architectures, attacks and methods."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from bench.core.kinds import Status
from bench.core.tasks import Task
from bench.execution.task_context import WorkerState
from bench.testing import two_processes
from bench.testing.checks.check import costly
from bench.testing.harness import Ground, Unjudged
from bench.testing.recorder import LATER

NEAR = 0.1
"""By how much a score may differ between devices, of 1 and itself: one of ten labels that were a matter of rounding."""


@costly
def works_in_the_toy_world(ground: Ground) -> str:
    """Do all of its tasks in the toy world."""
    for task in ground.own():
        outcome = ground.outcomes[task.key]
        if outcome.status != Status.DONE:
            return ground.told(task, outcome)
    return ""


@costly
def gives_the_same_again(ground: Ground) -> str:
    """Give the same result for the same seed, whatever ran before."""
    for key, difference in ground.repeated.items():
        if difference:
            return f"{ground.plan.tasks[key].name}, done twice: {difference}"
    return ""


@costly
def gives_the_same_on_two_workers(ground: Ground) -> str:
    """Give the same result when its tasks are divided between two worker processes."""
    try:
        differences = ground.divided
    except two_processes.Unknown as reason:
        raise Unjudged(f"no other process can import it: {reason}") from None
    for key, difference in differences.items():
        if difference:
            return f"{ground.plan.tasks[key].name}, done by another process: {difference}"
    return ""


def leaves_alone_what_it_is_given(ground: Ground) -> str:
    """Leave alone the images, and the source's weights, modes and gradients."""
    for task, call in ground.tried():
        if call.spoilt:
            return f"{call.method} ({task.name}) changed {', '.join(call.spoilt)}"
    return ""


def leaves_the_process_alone(ground: Ground) -> str:
    """Leave alone seeds, environment, working directory and its files, default dtype, flags and threads."""
    for task, call in ground.tried():
        # a library may set variables and filters when it is imported: of these, only the second time counts
        changed = [c for c in call.changed if c not in LATER]
        if changed:
            return f"{call.method} ({task.name}) changed {', '.join(changed)}"
    for method, generator in ground.reseeded:
        return f"{method} seeded {generator}: the host does; draw on context.generator"
    for key in ground.repeated:
        for call in ground.during[key]:
            if changed := [c for c in call.changed if c in LATER]:
                return f"{call.method} ({ground.plan.tasks[key].name}) changed {', '.join(changed)}"
    return ""


def asks_within_the_range(ground: Ground) -> str:
    """Ask only with images in [0, 1]."""
    for task, call in ground.tried():
        for q in call.asked:
            if not (q.low >= -1e-6 and q.high <= 1 + 1e-6):
                return f"{call.method} ({task.name}) asked with values from {q.low:.3g} to {q.high:.3g}"
    return ""


@costly
def agrees_with_a_gpu(ground: Ground) -> str:
    """Do on a GPU what it does on the CPU: networks that load, scores that agree."""
    if not torch.cuda.is_available():
        raise Unjudged("there is no GPU here")
    return on_device(ground, "cuda:0")


def on_device(ground: Ground, device: str) -> str:
    """Do a task of each sort on another device; say how one failed, or by how much a score differs from the CPU's."""
    state = WorkerState(ground.store, ground.registry, device)
    for task in ground.sorts():
        there = Task.of(task.kind, task.role, {**task.params, "device": device}, task.inputs)
        ground.store.forget(there.key)
        outcome = ground.execute(there, state)
        ground.store.forget(there.key)
        if outcome.status != Status.DONE:
            return f"on {device}, {ground.told(there, outcome)}"
        one, other = (o.facts.get("score", 0.0) for o in (ground.outcomes[task.key], outcome))
        if abs(one - other) > NEAR * (1 + abs(one)):
            return f"{task.name} gives {one:.4g} on the CPU and {other:.4g} on {device}"
    return ""


def told(ground: Ground, tasks: list[Task], method: str) -> Iterator[tuple[Task, dict[str, Any], int, str]]:
    """Give each task with its facts, and how many queries its last call of a method asked, for what at most."""
    for task in tasks:
        calls = [c for c in ground.during[task.key] if c.method == method]
        yield task, ground.artifact(task)[0], calls[-1].queries, calls[-1].strongest
