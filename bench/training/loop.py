"""The host's training loop and its counterpart for answers: data resident on the device, augmented there in one piece.

Images are uint8 or float in [0, 1]; networks take float in [0, 1] and return logits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.spec import Recipe
from bench.training.augmentation import augment, pixels
from bench.training.optimizer import check_finite, clip_gradients, rate, sgd_step

Progress = Callable[[float, float, float], None]
"""Told after each epoch: epochs done, epochs in all, mean loss of the epoch."""

CHUNK = 1 << 25
"""Bytes of images that are augmented at once."""

SCHEDULES = ("linear", "cosine", "constant")
"""How the learning rate falls after its rise."""


@contextmanager
def _only(model: nn.Module, trainable: nn.Module | None) -> Iterator[list[nn.Parameter]]:
    """Put `trainable` (or all) in train mode with gradients, everything else in eval mode and frozen."""
    wanted = {id(p): p.requires_grad for p in model.parameters()}
    part = model if trainable is None else trainable
    inside = {id(p) for p in part.parameters()}
    if not inside or not inside <= set(wanted):
        raise BenchError("fit(trainable=...) takes a part of the model that is trained, such as context.head(model)")
    model.train(trainable is None)
    part.train()
    try:
        for p in model.parameters():
            p.requires_grad_(id(p) in inside)
        yield [p for p in model.parameters() if id(p) in inside]
    finally:
        for p in model.parameters():
            p.requires_grad_(wanted[id(p)])
        model.eval()


@contextmanager
def _own_randomness(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Let dropout and the callers' functions draw from a stream that the generator alone decides; restore it after."""
    seed = int(torch.randint(1 << 62, (1,), device=generator.device, generator=generator))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def _cross_entropy(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    return functional.cross_entropy(model(x).float(), targets)


def fit(
    model: nn.Module,
    images: Tensor,
    targets: Tensor | Callable[[Tensor], Tensor],
    *,
    recipe: Recipe,
    generator: torch.Generator,
    device: torch.device | str = "cpu",
    flip: bool = False,
    crop: int = 0,
    length: float = 1.0,
    loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
    trainable: nn.Module | None = None,
    progress: Progress | None = None,
    **recipe_overrides: JSON,
) -> nn.Module:
    """Train a network in place by SGD and give it back in eval mode.

    images: uint8 [N, C, H, W], or float in [0, 1]. targets: int64 [N], probabilities [N, K], or a callable from a
    batch of augmented float images to either (it is called without gradients). `loss(model, x, targets)` defaults
    to cross-entropy of `model(x)`. `length` is a share of the recipe's epochs; `trainable` a part of the model, the
    rest is frozen and in eval mode; `recipe_overrides` are fields of the recipe, such as `lr=1e-3`. flip and crop
    are the dataset's augmentation. The generator decides everything that is random, dropout included; torch's global
    generator is left as it was. Raises `NonFiniteLoss` as soon as a loss is NaN or infinite (on a GPU: within 50
    steps).
    """
    try:
        recipe = dataclasses.replace(recipe, **recipe_overrides)
    except TypeError:
        known = ", ".join(f.name for f in dataclasses.fields(Recipe))
        raise BenchError(f"fit() takes fields of the recipe ({known}), not {', '.join(recipe_overrides)}") from None
    if recipe.schedule not in SCHEDULES:
        raise BenchError(f"recipe.schedule is one of {', '.join(SCHEDULES)}, not {recipe.schedule!r}")
    if len(images) == 0:
        raise BenchError("fit() was given no images")
    device = torch.device(device)
    loss = loss or _cross_entropy
    _lay_out(model.to(device), device)
    images = images.to(device)
    if isinstance(targets, Tensor):
        targets = targets.to(device)
    n = len(images)
    batches = math.ceil(n / recipe.batch)
    epochs = recipe.epochs * length
    steps = max(1, round(epochs * batches))
    bf16 = recipe.precision == "bf16"
    watch = 1 if device.type == "cpu" else 50
    with _own_randomness(generator, device), _only(model, trainable) as parameters:
        momenta: dict[nn.Parameter, Tensor | None] = {}
        step, total = 0, torch.zeros((), device=device)
        while step < steps:
            first = step
            total.zero_()
            for x, picked in _batches(images, batches, flip, crop, generator, device):
                if callable(targets):
                    with torch.no_grad():
                        wanted = targets(x)
                else:
                    wanted = targets[picked]
                with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                    value = loss(model, x, wanted)
                for p in parameters:
                    p.grad = None
                torch.autograd.backward(value)
                if recipe.clip:
                    clip_gradients(parameters, recipe.clip)
                sgd_step(parameters, momenta, recipe, rate(step, steps, recipe))
                total += value.detach()
                step += 1
                if step % watch == 0 or step == steps:
                    check_finite(total, step, steps)
                if step == steps:
                    break
            if progress is not None:
                progress(step / batches, steps / batches, float(total) / (step - first))
    return model


def _lay_out(model: nn.Module, device: torch.device) -> None:
    """Give the weights the memory layout that trains fastest: `channels_last`, but for dense convolutions on a CPU.

    Those are brought into a layout of the library's own in each step, and their gradients back into theirs. A network
    that relies on torch's own layout has it throughout.
    """
    if getattr(model, "own_layout", False):
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    for part in model.modules() if device.type == "cpu" else ():
        if isinstance(part, nn.Conv2d) and part.groups == 1:
            part.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]


def _batches(
    images: Tensor, batches: int, flip: bool, crop: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Walk one epoch: float batches of nearly equal size, augmented, with the indices of their images."""
    order = torch.randperm(len(images), generator=generator, device=generator.device).to(device)
    parts = order.tensor_split(batches)
    each = max(1, CHUNK // max(1, images[0].numel() * images.element_size() * len(parts[0])))
    for at in range(0, batches, each):
        chunk = parts[at : at + each]
        seen = augment(images.index_select(0, torch.cat(chunk)), flip, crop, generator)
        seen = seen.contiguous(memory_format=torch.channels_last)
        for part, x in zip(chunk, torch.split(seen, [len(p) for p in chunk]), strict=True):
            yield pixels(x), part
