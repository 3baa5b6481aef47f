"""Checks of all components that run in the toy world: architectures, attacks and methods."""

from collections.abc import Iterator
from typing import Any

import torch

from bench.core.kinds import ComponentKind, Status
from bench.core.tasks import Task
from bench.execution.task_context import WorkerState
from bench.testing.harness import METHODS, Harness, applies_to
from bench.testing.larger_images import described, nowhere_applicable
from bench.testing.recorder import LATER
from bench.testing.repetition import NotImportable, divide, repeat, reseeded, sample_tasks
from bench.testing.subject import Passed, Skipped

NEAR = 0.1
"""Largest difference of a score between devices, relative to 1 plus the score: one label of ten may be rounded."""


@applies_to(ComponentKind.ARCHITECTURE, ComponentKind.ATTACK, ComponentKind.METHOD, costly=True)
def works_in_the_toy_world(harness: Harness) -> str:
    """Do all of its tasks in the toy world."""
    for task in harness.own_tasks():
        outcome = harness.outcomes[task.key]
        if outcome.status != Status.DONE:
            failure = harness.describe_failure(task, outcome)
            if ", line " not in failure:
                failure += harness.definition(failure)
            return f"{failure}. {harness.refused}" if harness.refused else failure
    if harness.refused:
        raise Passed(f"with {described(harness.shape)}. {harness.refused}")
    return ""


@applies_to(ComponentKind.ATTACK, ComponentKind.METHOD, costly=True)
def applies_somewhere(harness: Harness) -> str:
    """Be applicable to something in the toy world."""
    return nowhere_applicable(harness)


@applies_to(ComponentKind.ARCHITECTURE, ComponentKind.ATTACK, ComponentKind.METHOD, costly=True)
def gives_the_same_again(harness: Harness) -> str:
    """Return the same result for the same seed, whatever ran before."""
    return _first(harness, repeat(harness), "done twice")


def _first(harness: Harness, differences: dict[str, str], how: str) -> str:
    tasks = ((harness.plan.tasks[key], text) for key, text in differences.items() if text)
    return next((f"{METHODS[task.kind]} ({task.name}), {how}: {text}" for task, text in tasks), "")


@applies_to(ComponentKind.ARCHITECTURE, ComponentKind.ATTACK, ComponentKind.METHOD, costly=True)
def gives_the_same_on_two_workers(harness: Harness) -> str:
    """Return the same result when two worker processes share its tasks."""
    try:
        return _first(harness, divide(harness), "done by another process")
    except NotImportable as reason:
        raise Skipped(f"no other process can import it: {reason}") from None


@applies_to(ComponentKind.ARCHITECTURE, ComponentKind.ATTACK, ComponentKind.METHOD, costly=True)
def agrees_with_a_gpu(harness: Harness) -> str:
    """Do on a GPU what it does on the CPU: networks that load, scores that agree."""
    if not torch.cuda.is_available():
        raise Skipped("there is no GPU here")
    return on_device(harness, "cuda:0")


def on_device(harness: Harness, device: str) -> str:
    """Repeat the sample tasks on another device; return how one failed, or how a score differs from the CPU's."""
    state = WorkerState(harness.store, harness.registry, device)
    for task in sample_tasks(harness):
        there = Task.of(task.kind, task.role, {**task.params, "device": device}, task.inputs)
        harness.store.forget(there.key)
        outcome = harness.execute(there, state)
        harness.store.forget(there.key)
        if outcome.status != Status.DONE:
            return f"on {device}, {harness.describe_failure(there, outcome)}"
        one, other = (o.facts.get("score", 0.0) for o in (harness.outcomes[task.key], outcome))
        if abs(one - other) > NEAR * (1 + abs(one)):
            return f"{task.name} gives {one:.4g} on the CPU and {other:.4g} on {device}"
    return ""


@applies_to(ComponentKind.ATTACK, ComponentKind.METHOD)
def leaves_alone_what_it_is_given(harness: Harness) -> str:
    """Leave alone the images, and the source's weights, modes and gradients."""
    for task, call in harness.calls_made():
        if call.changed_inputs:
            return f"{call.method} ({task.name}) changed {', '.join(call.changed_inputs)}"
    return ""


@applies_to(ComponentKind.ATTACK, ComponentKind.METHOD)
def leaves_the_process_alone(harness: Harness) -> str:
    """Leave alone seeds, environment, working directory and its files, default dtype, flags and threads."""
    for task, call in harness.calls_made():
        # a library may set variables and filters when it is imported: these count in the repeated task only
        changed = [c for c in call.changed if c not in LATER]
        if changed:
            return f"{call.method} ({task.name}) changed {', '.join(changed)}"
    for method, generator in reseeded(harness):
        return f"{method} seeded {generator}: the host does; draw on context.generator"
    for key in repeat(harness):
        for call in harness.calls_of[key]:
            if changed := [c for c in call.changed if c in LATER]:
                return f"{call.method} ({harness.plan.tasks[key].name}) changed {', '.join(changed)}"
    return ""


@applies_to(ComponentKind.ATTACK, ComponentKind.METHOD)
def asks_within_the_range(harness: Harness) -> str:
    """Ask only with images in [0, 1]."""
    for task, call in harness.calls_made():
        for q in call.questions:
            if not (q.low >= -1e-6 and q.high <= 1 + 1e-6):
                return f"{call.method} ({task.name}) asked with values from {q.low:.3g} to {q.high:.3g}"
    return ""


def recorded_queries(harness: Harness, kind: str) -> Iterator[tuple[Task, dict[str, Any], int, str]]:
    """Yield each task with its facts, the queries of the last call of its method, and the strongest access used."""
    for task in harness.completed_tasks(kind):
        calls = [c for c in harness.calls_of[task.key] if c.method == METHODS[kind]]
        yield task, harness.artifact(task)[0], calls[-1].queries, calls[-1].strongest
