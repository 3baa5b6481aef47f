"""Checks of attacks."""

from typing import Any

import torch

from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind, TaskKind
from bench.core.tasks import Task
from bench.execution.suspects import rebuilt_endpoint
from bench.execution.task_context import WorkerState
from bench.testing.checks.runs import recorded_queries
from bench.testing.harness import Harness, applies_to
from bench.testing.recorder import content
from bench.testing.subject import Skipped
from bench.training.networks import rebuild

COPIES = 20
"""Copies whose variants are read: presets make up to ten, users as many as they ask for."""


@applies_to(ComponentKind.ATTACK)
def keeps_to_its_access(harness: Harness) -> str:
    """Ask the source for no more than the access that it declares."""
    declared = harness.component.access
    for _, call in harness.calls_made():
        if call.strongest and Access.rank(call.strongest) > Access.rank(declared):
            return f"steal asked for {call.strongest}, but declares access = {declared!r}"
    return ""


@applies_to(ComponentKind.ATTACK)
def asks_its_source(harness: Harness) -> str:
    """Ask the source something (who does not has trained an irrelevant model)."""
    if harness.component.starts_from:
        raise Skipped("the attack that it starts from does")
    harness.completed_tasks()
    for task, call in harness.calls_made():
        if not call.questions:
            return f"steal ({task.name}) returned a network without asking the source anything"
    return ""


@applies_to(ComponentKind.ATTACK)
def pays_for_what_it_asks(harness: Harness) -> str:
    """Have a row that says how many queries it asked of the source."""
    for task, facts, queries, _ in recorded_queries(harness, TaskKind.STEAL):
        if facts["queries"] != queries:
            return f"{task.name} asked {queries} queries, its row says {facts['queries']}"
    return ""


@applies_to(ComponentKind.ATTACK)
def returns_what_build_takes(harness: Harness) -> str:
    """Return a network that loads strictly into a fresh build(), and answers from the store as it did."""
    if harness.component.answers:
        raise Skipped("its suspects only answer: the host compares what it stores, whenever it runs")
    for task in harness.completed_tasks():
        call = harness.calls_of[task.key][-1]
        architecture = harness.registry.get(ComponentKind.ARCHITECTURE, task.params["architecture"]["name"])
        facts, files = harness.artifact(task)
        again = rebuild(architecture, facts["num_classes"], tuple(facts["shape"]), files["weights"]).eval()
        x = torch.rand(8, *facts["shape"], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            gap = float((again(x) - call.returned.eval()(x)).abs().max())
        if not gap <= 1e-5:
            return f"{task.name}: the network from the store differs by {gap:.2g} from the one that steal returned"
    return ""


def _content(harness: Harness, task: Task) -> tuple[Any, ...]:
    """Return what distinguishes suspects: their weights; of those that only answer, some of their answers as well."""
    facts, files = harness.artifact(task)
    found = tuple(content(t) for t in files["weights"].values())
    if not harness.component.answers:
        return found
    state = WorkerState(harness.store, harness.registry)
    endpoint = rebuilt_endpoint(state.component, task.key, facts, files["weights"], state.device)
    x = torch.rand(8, *facts["shape"], generator=torch.Generator().manual_seed(0))
    return (*found, content(endpoint.answer(x)))


@applies_to(ComponentKind.ATTACK)
def has_no_variants_that_are_never_made(harness: Harness) -> str:
    """Name one variant only if it declares that it is deterministic: no other copy is made."""
    attack = harness.component
    if not attack.deterministic:
        raise Skipped("it does not declare that it is deterministic")
    first, second = (attack.variant(replicate) for replicate in (0, 1))
    if first == second:
        return ""
    return f"it is deterministic, so that one copy is made, but names variants ({first!r}, {second!r}): leave one out"


@applies_to(ComponentKind.ATTACK)
def varies_with_the_replicate(harness: Harness) -> str:
    """Make another suspect for another replicate, unless it is declared deterministic."""
    try:
        harness.registry.declaration(ComponentKind.ATTACK, harness.component.name, copies=COPIES)
    except BenchError as error:
        return f"{error}{harness.location(error.__cause__ or error)}"
    if harness.component.deterministic:
        raise Skipped("it declares that it is deterministic")
    seen: dict[Any, Task] = {}
    for task in harness.completed_tasks():
        weights = _content(harness, task)
        if weights in seen:
            both = f"steal: {task.name} and {seen[weights].name}"
            return f"{both} are the same network: write `deterministic = True` if it draws nothing at random"
        seen[weights] = task
    return ""


@applies_to(ComponentKind.ATTACK)
def is_deterministic_as_declared(harness: Harness) -> str:
    """Make the same suspect with another seed if it is declared deterministic."""
    if not harness.component.deterministic:
        raise Skipped("it does not declare that it is deterministic")
    for task in harness.completed_tasks():
        other = Task.of(task.kind, task.role, {**task.params, "again": 1}, task.inputs)
        harness.execute(other)
        one, again = (_content(harness, made) for made in (task, other))
        harness.store.forget(other.key)
        if one != again:
            return f"{task.name} gives another network with another seed: leave `deterministic` out"
    return ""
