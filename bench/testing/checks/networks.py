"""Checks of the networks that architectures build: they come back from the store, and they see every pixel."""

import copy
import functools
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.core.kinds import ComponentKind, TaskKind
from bench.core.spec import Recipe
from bench.sandbox.torch_state import isolated, seed_everything
from bench.testing.harness import Harness, applies_to
from bench.testing.subject import Passed, Skipped
from bench.testing.trial_networks import SHAPES
from bench.training.loop import fit
from bench.training.network_state import network_state
from bench.training.networks import Normalised, rebuild, with_memory_format, wrapped
from bench.training.round_trip import detached, difference, random_images
from bench.training.sharing import named_tensors

STEP = Recipe(epochs=1, batch=4, lr=0.01, precision="fp32")
"""One step of training on four images."""
ROUNDS, SAMPLE = 12, 128
"""Most draws of weights and images until every pixel was seen, and values that are changed one by one afterwards."""
ENOUGH = 0.9
"""Least share of an image that a network has to see; a border that a stride leaves out is reported only."""


def _network(harness: Harness, shape: tuple[int, int, int]) -> Normalised:
    model = wrapped(harness.component, 7, shape, torch.full((shape[0],), 0.5), torch.full((shape[0],), 0.5))
    return with_memory_format(model, harness.component, shape)


def _train(model: nn.Module, shape: tuple[int, int, int], seed: int) -> dict[str, float]:
    """Train a network for a step; return how far each entry of its state moved."""
    before = detached(network_state(model))
    labels = torch.arange(STEP.batch) % 7
    fit(model, random_images(shape), labels, recipe=STEP, generator=torch.Generator().manual_seed(seed))
    return {n: _distance(t, before.get(n)) for n, t in detached(network_state(model)).items()}


def _distance(tensor: Tensor, before: Tensor | None) -> float:
    if before is not None and torch.equal(tensor, before):
        return 0.0
    if before is None or tensor.shape != before.shape or not tensor.is_floating_point():
        return math.inf
    return float((tensor - before).abs().max())


def _moved_otherwise(moves: dict[str, float], others: dict[str, float]) -> str:
    """Return the name of an entry that one training moves and the other does not; empty: none.

    A bias in front of a normalisation moves by rounding alone, here and not there: small moves do not count.
    """
    noise = 1e-3 * max((m for m in (*moves.values(), *others.values()) if m < math.inf), default=0.0)
    for name in sorted({*moves, *others}):
        near, far = sorted((moves.get(name, 0.0), others.get(name, 0.0)))
        if near == 0 and far > noise:
            return name
    return ""


@applies_to(ComponentKind.ARCHITECTURE, costly=True)
def comes_back_as_it_was(harness: Harness) -> str:
    """Come back from the store and from a copy as it was: answers, frozen parts, shared weights, what is trained."""
    shape = harness.shape
    with isolated(1, harness.log):
        model = _network(harness, shape)
        _train(model, shape, 0)
        ways: dict[str, nn.Module] = {"after it was stored and loaded": _loaded(harness, model, shape)}
        try:
            ways["after copy.deepcopy"] = copy.deepcopy(model)
        except Exception as error:  # third-party code
            return f"copy.deepcopy, which attacks call, fails: {type(error).__name__}: {error}"
        originals = {id(tensor) for tensor in named_tensors(model).values()}
        for when, again in ways.items():
            for name in (n for n, tensor in named_tensors(again).items() if id(tensor) in originals):
                return f"{when}, its {name!r} is still that of the original"
            if text := difference(model, again.eval(), random_images(shape)):
                return f"{when}, {text}"
        moved = _train(model, shape, 1)
        for when, again in ways.items():
            moved_again = _train(again, shape, 1)
            if name := _moved_otherwise(moved, moved_again):
                verb = "no longer moves" if moved.get(name) else "now moves"
                return f"{when}, a training step {verb} {name!r}"
            if text := difference(model, again, random_images(shape)):
                return f"{when} and one more training step, {text}"
    return ""


def _loaded(harness: Harness, model: nn.Module, shape: tuple[int, int, int]) -> nn.Module:
    """Return the network that comes back from a file of the store."""
    key = "0" * 64
    harness.store.forget(key)
    try:
        harness.store.save(key, TaskKind.TRAIN, {}, {"weights": network_state(model)}, {})
        return rebuild(harness.component, 7, shape, harness.store.load(key, "weights"))
    finally:
        harness.store.forget(key)


@applies_to(ComponentKind.ARCHITECTURE, costly=True)
def sees_every_pixel(harness: Harness) -> str:
    """Use every pixel: the logits depend on each value of an image, for each shape."""
    shares = {}
    for shape in SHAPES:
        with isolated(1, harness.log):
            try:
                _network(harness, shape).eval()(random_images(shape))
            except Exception:  # a shape that it does not take, which another check reports
                continue
            shares[shape] = share_seen(functools.partial(_network, harness, shape), shape)
    if not shares:
        raise Skipped("it builds a network for none of the shapes")
    text = "; ".join(f"it sees {share:.1%} of a {shape} image" for shape, share in shares.items() if share < 1)
    if text and min(shares.values()) >= ENOUGH:
        raise Passed(text)
    return f"{text}: its logits do not depend on the rest, whatever the image" if text else ""


def share_seen(build: Callable[[], nn.Module], shape: tuple[int, int, int]) -> float:
    """Return the share of the values of an image on which the logits depend, in [0, 1].

    A value is seen if the gradient of the logits is not zero there for one of several draws of weights and images, in
    eval or train mode: a single draw may meet dead units. Of the values that are left, which a network without a
    gradient leaves, some are changed one by one.
    """
    seen = torch.zeros(shape, dtype=torch.bool)
    for draw in range(ROUNDS):
        seed_everything(draw)
        model = _disturbed(build()).train(draw % 2 == 1)
        x = torch.rand(8, *shape).requires_grad_()
        logits = model(x)
        if logits.requires_grad:
            (gradient,) = torch.autograd.grad((logits * torch.randn_like(logits)).sum(), x, allow_unused=True)
            seen |= torch.zeros(shape, dtype=torch.bool) if gradient is None else gradient.ne(0).any(0)
        if bool(seen.all()):
            return 1.0
    left = (~seen).flatten().nonzero()[:, 0]
    chosen = left[torch.randperm(len(left))[:SAMPLE]]
    answered = torch.stack([_responses(_disturbed(build()).eval(), x, chosen) for x in torch.rand(2, *shape)]).any(0)
    return 1 - len(left) / seen.numel() * (1 - float(answered.double().mean()))


@torch.no_grad()
def _responses(model: nn.Module, x: Tensor, chosen: Tensor) -> Tensor:
    """Return for each chosen value of an image [C, H, W] whether 0 or 1 in its place changes the logits."""
    found = []
    for indices in chosen.split(32):
        count = len(indices)
        changed = x.flatten().repeat(2 * count + 1, 1)
        changed[torch.arange(count), indices], changed[count + torch.arange(count), indices] = 0.0, 1.0
        logits = model(changed.reshape(-1, *x.shape))
        far = (logits[:-1] - logits[-1]).abs().amax(1) > 1e-6 * (1 + logits.abs().max())
        found.append(far[:count] | far[count:])
    return torch.cat(found)


@torch.no_grad()
def _disturbed(model: nn.Module) -> nn.Module:
    """Add noise to what is trained, in place: layers may start from zeros, behind which no gradient is left."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.add_(
                torch.randn_like(parameter), alpha=max(0.02, 0.3 * float(parameter.abs().mean().nan_to_num()))
            )
    return model
