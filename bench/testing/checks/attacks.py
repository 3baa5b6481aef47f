"""What attacks promise."""

from __future__ import annotations

from typing import Any

import torch

from bench.core.kinds import Access, ComponentKind, TaskKind
from bench.core.tasks import Task
from bench.testing.checks.runs import told
from bench.testing.harness import Ground, Unjudged
from bench.testing.recorder import content
from bench.training.networks import rebuild


def keeps_to_its_access(ground: Ground) -> str:
    """Ask the source for no more than the access that it declares."""
    declared = ground.component.access  # type: ignore[attr-defined]
    for _, call in ground.tried():
        if call.strongest and Access.rank(call.strongest) > Access.rank(declared):
            return f"steal asked for {call.strongest}, but declares access = {declared!r}"
    return ""


def asks_its_source(ground: Ground) -> str:
    """Ask the source something (who does not has trained an irrelevant model)."""
    if ground.component.starts_from:  # type: ignore[attr-defined]
        raise Unjudged("the attack that it starts from does")
    ground.done()
    for task, call in ground.tried():
        if not call.asked:
            return f"steal ({task.name}) returned a network without asking the source anything"
    return ""


def pays_for_what_it_asks(ground: Ground) -> str:
    """Have a row that says how many queries it asked of the source."""
    for task, facts, queries, _ in told(ground, ground.done(), TaskKind.STEAL):
        if facts["queries"] != queries:
            return f"{task.name} asked {queries} queries, its row says {facts['queries']}"
    return ""


def returns_what_build_takes(ground: Ground) -> str:
    """Return a network that loads strictly into a fresh build(), and answers from the store as it did."""
    for task in ground.done():
        call = ground.during[task.key][-1]
        architecture = ground.registry.get(ComponentKind.ARCHITECTURE, task.params["architecture"]["name"])
        facts, files = ground.artifact(task)
        again = rebuild(architecture, facts["num_classes"], tuple(facts["shape"]), files["weights"]).eval()
        x = torch.rand(8, *facts["shape"], generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            gap = float((again(x) - call.returned.eval()(x)).abs().max())
        if not gap <= 1e-5:
            return f"{task.name}: the network from the store differs by {gap:.2g} from the one that steal returned"
    return ""


def varies_with_the_replicate(ground: Ground) -> str:
    """Make another suspect for another replicate."""
    seen: dict[Any, Task] = {}
    for task in ground.done():
        weights = tuple(content(t) for t in ground.artifact(task)[1]["weights"].values())
        if weights in seen:
            return f"{task.name} and {seen[weights].name} are the same network"
        seen[weights] = task
    return ""
