"""The host's training loop and its counterpart for answers: data resident on the device, augmented there in one piece.

Images are uint8 or float in [0, 1]; networks take float in [0, 1] and return logits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.sgd import sgd

from bench.errors import BenchError, NonFiniteLoss
from bench.types import JSON, Recipe

Progress = Callable[[float, float, float], None]
"""Told after each epoch: epochs done, epochs in all, mean loss of the epoch."""

CHUNK = 1 << 25
"""Bytes of images that are augmented at once."""

SCHEDULES = ("linear", "cosine", "constant")
"""How the learning rate falls after its rise."""


def augment(images: Tensor, flip: bool, crop: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `crop` pixels (filled with black) and mirror half of them.

    images: [N, C, H, W], any dtype and device. Gives a tensor of the same shape and dtype. Draws on the generator's
    device, so that a generator on the CPU gives the same views everywhere.
    """
    if not flip and not crop:
        return images
    n, _, h, w = images.shape
    mirrored = torch.rand(n, device=generator.device, generator=generator) < 0.5 if flip else torch.zeros(n).bool()
    shift = torch.zeros(2, n, dtype=torch.int64)
    if crop:
        images = functional.pad(images, (crop, crop, crop, crop))
        shift = torch.randint(2 * crop + 1, (2, n, 1), device=generator.device, generator=generator)[:, :, 0]
    cut = _copied if images.device.type == "cpu" and images.dtype != torch.bfloat16 else _gathered  # numpy lacks it
    return cut(images.detach(), shift.to(images.device), mirrored.to(images.device), h, w)


def _copied(images: Tensor, shift: Tensor, mirrored: Tensor, h: int, w: int) -> Tensor:
    """Cut a window of [h, w] out of each image, row by row, and mirror some of them."""
    windows = sliding_window_view(images.numpy(), (h, w), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    seen = torch.from_numpy(windows[np.arange(len(images)), shift[0].numpy(), shift[1].numpy()])
    which = mirrored.nonzero()[:, 0]
    seen[which] = seen[which].flip(3)
    return seen


def _gathered(images: Tensor, shift: Tensor, mirrored: Tensor, h: int, w: int) -> Tensor:
    """Do as `_copied`, pixel by pixel: a GPU does so in one piece."""
    n, c = images.shape[:2]
    rows = torch.arange(h, device=images.device) + shift[0, :, None]
    columns = torch.arange(w, device=images.device).expand(n, w)
    columns = torch.where(mirrored[:, None], w - 1 - columns, columns) + shift[1, :, None]
    index = rows[:, :, None] * images.shape[3] + columns[:, None, :]
    flat = images.reshape(n, c, -1)
    return flat.gather(2, index.reshape(n, 1, h * w).expand(n, c, h * w)).reshape(n, c, h, w)


def pixels(images: Tensor) -> Tensor:
    """Give uint8 images as float32 in [0, 1]; float ones stay as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()


def rate(step: int, steps: int, recipe: Recipe) -> float:
    """Give the learning rate of a step: a linear rise over `warmup`, then the recipe's fall to 0."""
    rise = recipe.warmup * steps
    if step < rise:
        return recipe.lr * (step + 1) / (rise + 1)
    if recipe.schedule == "constant":
        return recipe.lr
    done = (step - rise) / max(1.0, steps - rise)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
    return recipe.lr * (1 - done)


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
                    _clip(parameters, recipe.clip)
                _descend(parameters, momenta, recipe, rate(step, steps, recipe))
                total += value.detach()
                step += 1
                if step % watch == 0 or step == steps:
                    _finite(total, step, steps)
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


@torch.no_grad()
def _descend(
    parameters: list[nn.Parameter], momenta: dict[nn.Parameter, Tensor | None], recipe: Recipe, lr: float
) -> None:
    """Take a step of SGD with momentum, in place.

    By torch's function rather than its class, whose first step in a process imports torch's compiler for a second.
    """
    moved = [p for p in parameters if p.grad is not None]
    for part in ([p for p in moved if p in momenta], [p for p in moved if p not in momenta]):
        held = [momenta.get(p) for p in part]
        sgd(
            list[Tensor](part), [p.grad for p in part if p.grad is not None], held, fused=True,
            weight_decay=recipe.weight_decay, momentum=recipe.momentum, lr=lr, dampening=0, nesterov=False,
            maximize=False,
        )  # fmt: skip
        momenta.update(zip(part, held, strict=True))


def _clip(parameters: list[nn.Parameter], most: float) -> None:
    """Scale the gradients so that their norm is at most `most`."""
    given = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(given)
    if norm.device.type != "cpu" or norm > most:  # looking at it would wait for a GPU
        nn.utils.clip_grads_with_norm_(parameters, most, norm)


def _finite(total: Tensor, step: int, steps: int) -> None:
    if not math.isfinite(float(total)):
        raise NonFiniteLoss(f"the training loss became {float(total)} at step {step} of {steps}")


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


@torch.no_grad()
def predict(model: nn.Module, images: Tensor, device: torch.device | str = "cpu", batch: int = 512) -> Tensor:
    """Answer images (uint8, or float in [0, 1]) with float32 logits [N, K] on the device; eval mode, in batches."""
    model.to(device)
    was = model.training
    model.eval()
    try:
        with torch.autocast(torch.device(device).type, enabled=False):
            parts = [
                model(pixels(part.to(device)).contiguous(memory_format=torch.channels_last)).float()
                for part in torch.split(images, batch)
            ]
    finally:
        model.train(was)
    return torch.cat(parts)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Give the share of images whose largest logit is at their label."""
    return float((logits.argmax(1) == labels.to(logits.device)).double().mean())
