"""Checks of architectures."""

import torch

from bench.core.errors import BenchError, describe_error
from bench.core.kinds import ComponentKind
from bench.sandbox.torch_state import isolated
from bench.testing.harness import Harness, applies_to
from bench.testing.recorder import content
from bench.testing.trial_networks import SHAPES
from bench.training.input_checks import logits_of
from bench.training.network_state import network_state
from bench.training.networks import check, rebuild, with_memory_format, wrapped
from bench.training.round_trip import detached


@applies_to(ComponentKind.ARCHITECTURE)
def builds_for_every_shape(harness: Harness) -> str:
    """Build a network for each shape of images, which gives one logit per class."""
    device, refusals = harness.device, list[str]()
    for shape in SHAPES:
        try:
            with isolated(1, harness.log), torch.device(device), torch.no_grad():
                answer = logits_of(harness.component.build(7, shape).eval()(torch.zeros(2, *shape)))
        except BenchError as error:  # a shape that it does not take
            refusals.append(f"build(7, {shape}): {error}")
            continue
        except (Exception, SystemExit) as error:  # a plugin may raise anything
            text = f"{describe_error(error)}{harness.location(error)}"
            advice = (
                "" if shape == harness.shape else ". If it takes other shapes only, let build raise bench.BenchError"
            )
            return f"build(7, {shape}), asked about two images: {text}{advice}"
        if tuple(answer.shape) != (2, 7) or answer.dtype != torch.float32:
            return f"build(7, {shape}) answers two images with {answer.dtype} {list(answer.shape)}, not float32 [2, 7]"
        if device == "cpu" and not bool(torch.isfinite(answer).all()):
            return f"build(7, {shape}) answers black images with {answer.tolist()}"
        if device == "cpu" and bool((answer >= 0).all()) and bool(((answer.sum(1) - 1).abs() < 1e-4).all()):
            return f"build(7, {shape}) answers with probabilities, not logits: leave the softmax out"
    return refusals[0] if len(refusals) == len(SHAPES) else ""


@applies_to(ComponentKind.ARCHITECTURE)
def has_head_and_stages_inside(harness: Harness) -> str:
    """Have a head with parameters for each class, and stages, that are parts of the network."""
    architecture, shapes = harness.component, []
    with isolated(1, harness.log), torch.device(harness.device):
        for classes in (11, 7):
            with torch.no_grad():
                model = architecture.build(classes, harness.shape).eval()
                model(torch.zeros(2, *harness.shape))  # lazy layers get their weights with the first images
            head, stages = architecture.head(model), list(architecture.stages(model))
            shapes.append([p.shape for p in head.parameters()])
    inside = {id(m) for m in model.modules()}
    if id(head) not in inside or not shapes[-1]:
        return f"head(model) gave {head!r:.60}, which is no part of the network with parameters"
    if shapes[0] == shapes[1]:
        return (
            f"head(model) gave {head!r:.60}, whose parameters do not depend on the number of classes: write "
            "def head(self, model), which returns the layer that gives the logits"
        )
    if not stages or any(id(s) not in inside for s in stages):
        return f"stages(model) gave {stages!r:.60}, not all of it parts of the network"
    return ""


@applies_to(ComponentKind.ARCHITECTURE)
def reloads_strictly(harness: Harness) -> str:
    """Take one network's weights strictly into another, which then answers alike."""
    device, empty = harness.device, (torch.zeros(1), torch.ones(1))
    with isolated(1, harness.log), torch.no_grad():
        with torch.device(device):
            one, other = (wrapped(harness.component, 7, harness.shape, *empty).eval() for _ in range(2))
            for model in (one, other) if device != "meta" else ():
                with_memory_format(model, harness.component, harness.shape)
        if device == "meta":
            keys = ({k: getattr(v, "shape", None) for k, v in m.state_dict().items()} for m in (one, other))
            return "" if next(keys) == next(keys) else "two networks that it built have different entries"
        check(one, other, "build(7, (1, 8, 8))")
        again = rebuild(harness.component, 7, harness.shape, detached(network_state(one))).eval()
        x = torch.rand(4, *harness.shape)
        return "" if torch.equal(one(x), again(x)) else "a network with the same weights answers differently"


@applies_to(ComponentKind.ARCHITECTURE, costly=True)
def answers_each_image_alone(harness: Harness) -> str:
    """Answer an image in eval mode alike, whatever else is in the batch."""
    with isolated(1, harness.log), torch.no_grad():
        model = harness.component.build(7, harness.shape).eval()
        x = torch.rand(5, *harness.shape)
        together, alone = model(x), torch.cat([model(x[i : i + 1]) for i in range(5)])
    gap = float((together - alone).abs().max())
    return "" if gap <= 1e-4 * (1 + float(together.abs().max())) else f"its answers differ by {gap:.2g}"


@applies_to(ComponentKind.ARCHITECTURE, costly=True)
def starts_from_the_seed(harness: Harness) -> str:
    """Start from other weights for another seed, and from the same for the same."""
    weights = []
    for seed in (1, 2, 1):
        with isolated(seed, harness.log), torch.no_grad():
            model = harness.component.build(7, harness.shape).eval()
            model(torch.zeros(2, *harness.shape))  # lazy layers get their weights with the first images
            weights.append([content(p) for p in model.parameters()])
    if weights[0] != weights[2]:
        return "the same seed gave other weights"
    return "the weights do not depend on the seed" if weights[0] == weights[1] else ""
