"""Attacks and methods that take no small grey images are checked with larger ones, in colour."""

from typing import NamedTuple

from bench.core.kinds import ComponentKind, Status
from bench.core.tasks import NOT_APPLICABLE
from bench.testing.harness import METHODS, Harness

LARGER = (3, 32, 32)


class Refusal(NamedTuple):
    """How a component refused the toy world's images: the error, and the call that raised it."""

    error: str = ""
    call: str = ""


def with_larger_images(harness: Harness) -> Harness | None:
    """Return a harness with larger images, if the component refused the small ones and not these alike; else None.

    Its field `refused` says how the component refused the small ones. The first call runs the larger toy world.
    """
    if harness.refused or "outcomes" not in vars(harness) or not (small := refusal(harness)).error:
        return None
    if harness.larger is None:
        given = (harness.component, harness.required, harness.root, harness.store)
        harness.larger = Harness(*given, limit=harness.limit, images=LARGER, refused=small.call)
    larger = harness.larger
    larger.on_call = harness.on_call
    return None if refusal(larger).error == small.error else larger


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
