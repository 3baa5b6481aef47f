"""Attacks and methods that take no small grey images are checked with larger ones, grey or in colour."""

from typing import NamedTuple

from bench.core.kinds import ComponentKind, Status
from bench.core.tasks import NOT_APPLICABLE
from bench.testing.harness import METHODS, Harness

LARGER = ((1, 28, 28), (3, 32, 32))
"""The shapes that are tried then, those of the usual datasets."""


class Refusal(NamedTuple):
    """How a component refused the toy world's images: the error, and the call that raised it."""

    error: str = ""
    call: str = ""


def with_larger_images(harness: Harness) -> Harness | None:
    """Return a harness with larger images, if the component refused the small ones and not these alike; else None.

    It has the first shape that is taken, else the last one. Its field `refused` says how the component refused the
    small ones. The first call runs the larger toy worlds.
    """
    if harness.refused or "outcomes" not in vars(harness) or not (small := refusal(harness)).error:
        return None
    larger = harness.larger = harness.larger or _larger(harness, small)
    larger.on_call = harness.on_call
    return None if larger is harness else larger


def _larger(harness: Harness, small: Refusal) -> Harness:
    """Return a harness with larger images; the same one if these are refused alike."""
    given = (harness.component, harness.required, harness.root, harness.store, harness.on_call, harness.limit)
    words = f"With {described(harness.shape)}: {small.call}"
    tried = [Harness(*given, images=shape, refused=words) for shape in LARGER]
    taken = next((one for one in tried if not refusal(one).error), tried[-1])
    return harness if refusal(taken).error == small.error else taken


def described(shape: tuple[int, int, int]) -> str:
    """Return images of a shape in words."""
    channels, height, width = shape
    return f"{'grey' if channels == 1 else 'colour'} images of {height} x {width} pixels"


def refusal(harness: Harness) -> Refusal:
    """Return how an attack or a method refused the images: it raised an error, or nothing was applicable."""
    if harness.component.kind not in (ComponentKind.ATTACK, ComponentKind.METHOD):
        return Refusal()
    for task in harness.own_tasks():
        outcome = harness.outcomes[task.key]
        calls = [c for c in harness.calls_of.get(task.key, ()) if c.method == METHODS[task.kind]]
        if outcome.status != Status.DONE and calls and calls[-1].returned is None:
            return Refusal(outcome.error, harness.describe_failure(task, outcome))
    return Refusal(*[nowhere_applicable(harness)] * 2)


def nowhere_applicable(harness: Harness) -> str:
    """Return which of a component's tasks are never applicable, and why; empty: none."""
    tasks = harness.own_tasks()
    reasons = {t.name: harness.outcomes[t.key].facts.get(NOT_APPLICABLE) for t in tasks if t.key in harness.outcomes}
    for kind in dict.fromkeys(t.kind for t in tasks):
        found = [reasons[t.name] for t in tasks if t.kind == kind and t.name in reasons]
        if found and all(found):
            return f"no {kind} task is applicable: {found[0]}"
    return ""
