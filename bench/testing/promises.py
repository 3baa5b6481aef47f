"""What every component promises, a function each: it gives what was expected and what came, or nothing if all is well.

The first line of a function's docstring is the promise. A function raises `Unjudged` where it cannot tell.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench.catalogue import configured
from bench.components import fault, hyperparameters
from bench.download import absent
from bench.isolation import undisturbed
from bench.networks import Normalised, check, rebuild
from bench.parts import PARTS, cut, read
from bench.testing.ground import Ground, Unjudged
from bench.testing.watch import ENVIRONMENT, changes, content, surroundings
from bench.types import ACCESS, Component, Split, Task, fields_of

Promise = Callable[[Ground], str]

SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))
"""Shapes of the images of the shipped datasets."""
BIG = 1_000_000
"""Parameters from which on a network is only described on the meta device, unless time does not matter."""
COSTLY: set[Promise] = set()


def costly(promise: Promise) -> Promise:
    """Mark a promise that takes long for big networks or files."""
    COSTLY.add(promise)
    return promise


@functools.cache
def parameters(architecture: Any, shape: tuple[int, int, int] = SHAPES[-1]) -> int:
    """Count the parameters of an architecture's network, without making it."""
    with torch.device("meta"):
        return sum(p.numel() for p in architecture.build(10, shape).parameters())


def takes_long(component: Component, promise: Promise) -> bool:
    """Say whether a promise takes long to judge for a component: big files, big networks."""
    if promise not in COSTLY or fault(component):
        return False
    if component.kind == "dataset":
        return bool(component.checksums)  # type: ignore[attr-defined]
    return component.kind == "architecture" and parameters(component) >= BIG


# --- every component ----------------------------------------------------------------------------------------------


def has_the_form_of_a_component(ground: Ground) -> str:
    """Be a frozen dataclass of fields and declarations."""
    return fault(ground.component)


def says_what_it_is(ground: Ground) -> str:
    """Say in the first line of its docstring what it is."""
    cls = type(ground.component)
    text = (cls.__doc__ or "").strip()
    return f"class {cls.__name__} has no docstring" if not text or text.startswith(f"{cls.__name__}(") else ""


def survives_json(ground: Ground) -> str:
    """Have parameters that come back from JSON as they were."""
    component = ground.component
    back = configured(component, json.loads(json.dumps(hyperparameters(component))))
    for f in fields_of(component):
        was, now = getattr(component, f.name), getattr(back, f.name)
        if was != now or type(was) is not type(now):
            return f"field {f.name!r} was {was!r} and came back as {now!r}"
    return ""


# --- datasets -----------------------------------------------------------------------------------------------------


def _parts(ground: Ground) -> dict[bool, Split]:
    dataset: Any = ground.component
    missing = absent(dataset, ground.root)
    if missing:
        raise Unjudged(f"not there: {missing[0]} in {ground.root}")
    first = read(dataset, ground.root, True)
    return {True: first} if first.origin is not None else {True: first, False: read(dataset, ground.root, False)}


@costly
def loads_both_parts(ground: Ground) -> str:
    """Load uint8 images of its shape and int64 labels, both parts, with every class in each."""
    dataset: Any = ground.component
    for train, split in _parts(ground).items():
        present = torch.unique(split.labels).numel()
        if present != dataset.num_classes:
            return f"load(root, train={train}) gave images of {present} classes instead of {dataset.num_classes}"
    return ""


@costly
def loads_the_same_again(ground: Ground) -> str:
    """Load the same images again, drawing on no global generator and leaving the process alone."""
    seen = []
    for seed in (1, 2):
        with undisturbed(seed, ground.log):
            around, generator = surroundings(), torch.get_rng_state()
            seen.append(_parts(ground))
            changed = changes(around)  # those of the second time: the first may import a library that sets some
            drawn = not torch.equal(generator, torch.get_rng_state())
    if changed or drawn:
        return f"load changed {', '.join(changed) or 'the state of the global generator of torch'}"
    for train, split in seen[0].items():
        other = seen[1][train]
        if content(split.images) != content(other.images) or content(split.labels) != content(other.labels):
            return f"load(root, train={train}) gave other images or labels the second time"
    return ""


@costly
def can_be_divided(ground: Ground) -> str:
    """Have images of each class for the defender, the attacker, the probes and the test."""
    dataset, parts = ground.component, _parts(ground)
    tensors = cut(parts[True], parts.get(False), 0, 0)
    for part in PARTS:
        classes = torch.unique(tensors[f"{part}.labels"]).numel()
        if classes != dataset.num_classes:  # type: ignore[attr-defined]
            return f"its {part} part has images of {classes} classes only"
    return ""


def leads_to_images_of_equal_shape(ground: Ground) -> str:
    """Have related datasets whose images are of its own shape."""
    dataset: Any = ground.component
    for key, name in dataset.related.items():
        for other in (o for o in ground.needed if o.name == name):
            if tuple(other.shape) != tuple(dataset.shape):  # type: ignore[attr-defined]
                return f"{name}, its {key!r} dataset, has images of shape {other.shape}"  # type: ignore[attr-defined]
    return ""


# --- architectures ------------------------------------------------------------------------------------------------


def _device(ground: Ground) -> str:
    return "meta" if parameters(ground.component) >= BIG else "cpu"


def builds_for_every_shape(ground: Ground) -> str:
    """Build a network for each shape of images, which gives one logit per class."""
    architecture: Any = ground.component
    device = _device(ground)
    for shape in SHAPES:
        with undisturbed(1, ground.log), torch.device(device), torch.no_grad():
            answer = architecture.build(7, shape).eval()(torch.zeros(2, *shape))
        if tuple(answer.shape) != (2, 7) or answer.dtype != torch.float32:
            return f"build(7, {shape}) answers two images with {answer.dtype} {list(answer.shape)}, not float32 [2, 7]"
        if device == "cpu" and not bool(torch.isfinite(answer).all()):
            return f"build(7, {shape}) answers black images with {answer.tolist()}"
    return ""


def has_head_and_stages_inside(ground: Ground) -> str:
    """Have a head with parameters, and stages, that are parts of the network."""
    architecture: Any = ground.component
    with undisturbed(1, ground.log), torch.device(_device(ground)):
        model = architecture.build(7, SHAPES[0])
        head, stages = architecture.head(model), list(architecture.stages(model))
    inside = {id(m) for m in model.modules()}
    if id(head) not in inside or not list(head.parameters()):
        return f"head(model) gave {head!r:.60}, which is no part of the network with parameters"
    if not stages or any(id(s) not in inside for s in stages):
        return f"stages(model) gave {stages!r:.60}, not all of it parts of the network"
    return ""


def reloads_strictly(ground: Ground) -> str:
    """Take one network's weights strictly into another, which then answers alike."""
    architecture: Any = ground.component
    device, empty = _device(ground), (torch.zeros(1), torch.ones(1))
    with undisturbed(1, ground.log), torch.no_grad():
        with torch.device(device):
            one, other = (Normalised(architecture.build(7, SHAPES[0]), *empty).eval() for _ in range(2))
        if device == "meta":
            keys = ({k: v.shape for k, v in m.state_dict().items()} for m in (one, other))
            return "" if next(keys) == next(keys) else "two networks that it built have different entries"
        check(one, other, "build(7, (1, 8, 8))")
        again = rebuild(architecture, 7, SHAPES[0], {k: v.clone() for k, v in one.state_dict().items()}).eval()
        x = torch.rand(4, *SHAPES[0])
        return "" if torch.equal(one(x), again(x)) else "a network with the same weights answers differently"


@costly
def answers_each_image_alone(ground: Ground) -> str:
    """Answer an image in eval mode alike, whatever else is in the batch."""
    architecture: Any = ground.component
    with undisturbed(1, ground.log), torch.no_grad():
        model = architecture.build(7, SHAPES[0]).eval()
        x = torch.rand(5, *SHAPES[0])
        together, alone = model(x), torch.cat([model(x[i : i + 1]) for i in range(5)])
    gap = float((together - alone).abs().max())
    return "" if gap <= 1e-4 * (1 + float(together.abs().max())) else f"its answers differ by {gap:.2g}"


@costly
def starts_from_the_seed(ground: Ground) -> str:
    """Start from other weights for another seed, and from the same for the same."""
    architecture: Any = ground.component
    weights = []
    for seed in (1, 2, 1):
        with undisturbed(seed, ground.log):
            weights.append([content(p) for p in architecture.build(7, SHAPES[0]).parameters()])
    if weights[0] != weights[2]:
        return "the same seed gave other weights"
    return "the weights do not depend on the seed" if weights[0] == weights[1] else ""


# --- whatever is run in the toy world -----------------------------------------------------------------------------


@costly
def works_in_the_toy_world(ground: Ground) -> str:
    """Do all of its tasks in the toy world."""
    for task in ground.own():
        outcome = ground.outcomes[task.key]
        if outcome.status != "done":
            return f"{outcome.root or task.name} failed: {outcome.error}"
    return ""


@costly
def gives_the_same_again(ground: Ground) -> str:
    """Give the same result for the same seed, whatever ran before."""
    for key, difference in ground.repeated.items():
        if difference:
            return f"{ground.plan.tasks[key].name}, done twice: {difference}"
    return ""


def leaves_alone_what_it_is_given(ground: Ground) -> str:
    """Leave alone the images, and the source's weights, modes and gradients."""
    for task, call in ground.tried():
        if call.spoilt:
            return f"{call.method} ({task.name}) changed {', '.join(call.spoilt)}"
    return ""


def leaves_the_process_alone(ground: Ground) -> str:
    """Leave alone the global seed, environment, working directory, default dtype and flags."""
    for task, call in ground.tried():
        # a library may set variables when it is imported: of the environment, only the second time counts
        changed = [c for c in call.changed if c != ENVIRONMENT]
        if changed:
            return f"{call.method} ({task.name}) changed {', '.join(changed)}"
    for key in ground.repeated:
        for call in ground.during[key]:
            if ENVIRONMENT in call.changed:
                return f"{call.method} ({ground.plan.tasks[key].name}) changed {ENVIRONMENT}"
    return ""


def asks_within_the_range(ground: Ground) -> str:
    """Ask only with images in [0, 1]."""
    for task, call in ground.tried():
        for q in call.asked:
            if not (q.low >= -1e-6 and q.high <= 1 + 1e-6):
                return f"{call.method} ({task.name}) asked with values from {q.low:.3g} to {q.high:.3g}"
    return ""


def _told(ground: Ground, tasks: list[Task], method: str) -> Iterator[tuple[Task, dict[str, Any], int, str]]:
    for task in tasks:
        calls = [c for c in ground.during[task.key] if c.method == method]
        yield task, ground.artifact(task)[0], calls[-1].queries, calls[-1].strongest


# --- attacks ------------------------------------------------------------------------------------------------------


def keeps_to_its_access(ground: Ground) -> str:
    """Ask the source for no more than the access that it declares."""
    declared = ground.component.access  # type: ignore[attr-defined]
    for _, call in ground.tried():
        if call.strongest and ACCESS.index(call.strongest) > ACCESS.index(declared):
            return f"steal asked for {call.strongest}, but declares access = {declared!r}"
    return ""


def pays_for_what_it_asks(ground: Ground) -> str:
    """Have a row that says how many queries it asked of the source."""
    for task, facts, queries, _ in _told(ground, ground.done(), "steal"):
        if facts["queries"] != queries:
            return f"{task.name} asked {queries} queries, its row says {facts['queries']}"
    return ""


def returns_what_build_takes(ground: Ground) -> str:
    """Return a network that loads strictly into a fresh build(), and answers from the store as it did."""
    for task in ground.done():
        call = ground.during[task.key][-1]
        architecture = ground.catalogue.get("architecture", task.params["architecture"]["name"])
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


# --- methods ------------------------------------------------------------------------------------------------------


def keeps_to_its_budget(ground: Ground) -> str:
    """Ask a suspect no more queries than its budget."""
    method: Any = ground.component
    if not method.budget:
        raise Unjudged("it declares no budget")
    budget = ground.own()[0].params["method"]["params"][method.budget]
    for task, call in ground.tried():
        if call.method == "score" and call.queries > budget:
            return f"score ({task.name}) asked {call.queries} queries, but its budget is {method.budget} = {budget}"
    return ""


def says_what_it_asked(ground: Ground) -> str:
    """Have rows that say how many queries it asked of a suspect, and the strongest access."""
    for task, facts, queries, strongest in _told(ground, ground.done("score"), "score"):
        if (facts["queries"], facts["access"]) != (queries, strongest):
            told = f"its row says {facts['queries']} for {facts['access']}"
            return f"{task.name} asked {queries} queries for {strongest}, {told}"
    return ""


def keeps_its_fingerprint(ground: Ground) -> str:
    """Get from the store the tensors that it put there."""
    for task in ground.done("embed", "fingerprint"):
        returned = ground.during[task.key][-1].returned
        tensors = returned[1] if task.kind == "embed" else returned
        stored = ground.artifact(task)[1]["fingerprint"]
        for name, tensor in tensors.items():
            if content(tensor) != content(stored[name]):
                return f"{name!r} of its fingerprint comes back from the store changed"
    return ""


def gives_finite_scores(ground: Ground) -> str:
    """Give one finite float for every suspect."""
    for task in ground.own("score"):
        for call in ground.during.get(task.key, ()) if task.key in ground.outcomes else ():
            if call.method == "score" and not _finite(call.returned):
                return f"score ({task.name}) returned {call.returned!r:.60}"
    return ""


def _finite(score: Any) -> bool:
    try:
        return score is None or math.isfinite(score)  # None: it raised, which another promise tells
    except (TypeError, ValueError):
        return False


def knows_its_source(ground: Ground) -> str:
    """Score the source itself not below an irrelevant model."""
    ground.done()
    for task in ground.own("embed", "fingerprint"):
        source = task.key if task.kind == "embed" else task.inputs["source"]
        scores = [t for t in ground.own("score") if t.inputs["fingerprint"] == task.key]
        asked = Task.of("score", "score", scores[0].params, {**scores[0].inputs, "suspect": source})
        ground.store.forget(asked.key)
        outcome = ground.execute(asked)
        if outcome.status != "done":
            return f"the score of the source itself failed: {outcome.error}"
        irrelevant = {t.score for t in ground.plan.trials if t.suspect_kind == "irrelevant"}
        highest = max(ground.outcomes[t.key].facts["score"] for t in scores if t.key in irrelevant)
        if outcome.facts["score"] < highest:
            return f"the source itself scores {outcome.facts['score']:.4g}, an irrelevant model {highest:.4g}"
    return ""


def judges_where_it_can(ground: Ground) -> str:
    """Be not applicable across label spaces, or score there too if it declares any_label_space."""
    foreign = [t for t in ground.plan.trials if t.attack == "toy_move"]
    method: Any = ground.component
    if not method.any_label_space:
        return "" if all(t.reason for t in foreign) else "it is asked about suspects of another label space"
    for trial in foreign:
        outcome = ground.outcomes[trial.score]
        if outcome.status != "done":
            return f"a suspect of another label space: {outcome.error}"
    return ""


EVERY: tuple[Promise, ...] = (has_the_form_of_a_component, says_what_it_is, survives_json)
RUN: tuple[Promise, ...] = (
    works_in_the_toy_world, gives_the_same_again, leaves_alone_what_it_is_given, leaves_the_process_alone,
    asks_within_the_range,
)  # fmt: skip
PROMISES: dict[str, tuple[Promise, ...]] = {
    "dataset": (*EVERY, loads_both_parts, loads_the_same_again, can_be_divided, leads_to_images_of_equal_shape),
    "architecture": (
        *EVERY, builds_for_every_shape, has_head_and_stages_inside, reloads_strictly, answers_each_image_alone,
        starts_from_the_seed, works_in_the_toy_world, gives_the_same_again,
    ),
    "attack": (*EVERY, *RUN, keeps_to_its_access, pays_for_what_it_asks, returns_what_build_takes,
               varies_with_the_replicate),
    "method": (*EVERY, *RUN, keeps_to_its_budget, says_what_it_asked, keeps_its_fingerprint, gives_finite_scores,
               knows_its_source, judges_where_it_can),
}  # fmt: skip
"""What a component of each kind promises, in the order of telling."""


def needed(component: Component, among: Any) -> list[Component]:
    """List what a component relies on in a catalogue: an attack it starts from, helpers' networks, datasets."""
    found: list[Component] = []
    before = getattr(component, "starts_from", "")
    if before:
        found.append(among.get("attack", before))
        found += needed(found[0], among)
    found += [among.get("architecture", n) for n in getattr(component, "helper_architectures", ())]
    related = getattr(component, "related", {})
    found += [among.get("dataset", n) for n in related.values() if n in among.names("dataset")]
    return found
