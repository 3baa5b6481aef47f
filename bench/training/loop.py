"""The training loop: data stay on the device and are augmented there, many batches at once.

Images are uint8 or float in [0, 1]; networks take float in [0, 1] and return logits.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.spec import SCHEDULES, Recipe
from bench.training.augmentation import augment, pixels
from bench.training.convolutions import pixel_by_pixel
from bench.training.input_checks import check_trained_images, logits_of
from bench.training.memory_format import set_weight_format
from bench.training.optimizer import Momenta, check_finite, clip_gradients, learning_rate, sgd_step
from bench.training.repeated_inputs import repeats_summed
from bench.training.sharing import moved
from bench.training.targets import Targets

Progress = Callable[[float, float, float], None]
"""Called after each epoch with the epochs done, the epochs in all and the mean loss of the epoch."""

CHUNK = 1 << 25
"""Bytes of images that are augmented at once."""


def cross_entropy(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Compute the default loss."""
    return functional.cross_entropy(logits_of(model(x)).float(), targets)


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
    """Train a network in place by SGD and return it in eval mode.

    images: uint8 [N, C, H, W], or float in [0, 1]. targets: int64 [N], probabilities [N, K], or a callable from a
    batch of augmented float images to either (it is called without gradients; an `Oracle` computes its answer to an
    image that is not augmented once). `loss(model, x, targets)` defaults to cross-entropy of `model(x)`. `length` is a
    share of the recipe's epochs, one step at least, and none if it is 0; `trainable` a part of the model, the rest is
    frozen and in eval mode. Parameters that are frozen already (`requires_grad` is False) and modules that the
    network's own `train()` leaves in eval mode stay so. `recipe_overrides` are fields of the recipe, such as `lr=1e-3`.
    flip and crop are the dataset's augmentation.
    The generator decides everything that is random, dropout included; torch's global generator is left as it was.
    Raises `BenchError` for other images or targets before anything is trained, and `NonFiniteLoss` as soon as a loss is
    NaN or infinite (on a GPU: within 50 steps).
    """
    recipe = _overridden(recipe, recipe_overrides)
    if not 0 <= length < math.inf:
        raise BenchError(f"fit(length=...) is a share of the recipe's epochs, from 0, not {length}")
    check_trained_images(images)
    device = torch.device(device)
    answers = Targets(targets, len(images), device, classified=loss is None)
    set_weight_format(moved(model, device), device, getattr(model, "contiguous_only", False))
    images = images.detach().to(device)
    batches = math.ceil(len(images) / recipe.batch)
    steps = max(1, round(recipe.epochs * length * batches)) if length else 0
    check_every = 1 if device.type == "cpu" else 50  # a check waits for the GPU
    with (
        torch.enable_grad(),  # also where a caller has none
        pixel_by_pixel(model, device),
        repeats_summed(model, device),
        _own_random_stream(generator, device),
        _trainable_only(model, trainable) as parameters,
    ):
        momenta: Momenta = {}
        step, total = 0, torch.zeros((), device=device)
        while step < steps:
            epoch_start = step
            total.zero_()
            plain = step >= steps * (1 - recipe.plain) or not (flip or crop)
            epoch = _epoch(images, batches, flip and not plain, 0 if plain else crop, generator, device)
            for x, indices in islice(epoch, steps - step):
                batch_targets = answers.of(x, indices, plain)
                with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                    value = (loss or cross_entropy)(model, x, batch_targets)
                _clear_gradients(parameters)  # those that the loss left behind
                torch.autograd.backward(value)
                if recipe.clip:
                    clip_gradients(parameters, recipe.clip)
                sgd_step(parameters, momenta, recipe, learning_rate(step, steps, recipe))
                _clear_gradients(parameters)  # as large as the network, and the next answers need memory
                total += value.detach().squeeze()  # one of shape [1] is a scalar to autograd, too
                step += 1
                if step % check_every == 0 or step == steps:
                    check_finite(total, step, steps)
            if progress is not None:
                progress(step / batches, steps / batches, float(total) / (step - epoch_start))
    return model


def _clear_gradients(parameters: list[nn.Parameter]) -> None:
    for p in parameters:
        p.grad = None


def _overridden(recipe: Recipe, overrides: Mapping[str, JSON]) -> Recipe:
    """Return a recipe with some fields replaced; BenchError names what it cannot be."""
    known = [f.name for f in dataclasses.fields(Recipe) if f.name not in Recipe.SIZES]
    if unknown := [name for name in overrides if name not in known]:
        raise BenchError(f"fit() takes fields of the recipe ({', '.join(known)}), not {', '.join(unknown)}")
    try:
        recipe = dataclasses.replace(recipe, **overrides)
        wrong = [name for name in recipe.impossible() if name in overrides and name != "schedule"]
    except (TypeError, ValueError):  # text or None in the place of a number
        raise BenchError(f"fit() takes numbers for fields of the recipe, not {overrides!r:.200}") from None
    if recipe.schedule not in SCHEDULES:
        raise BenchError(f"recipe.schedule is one of {', '.join(SCHEDULES)}, not {recipe.schedule!r}")
    if "precision" in overrides and recipe.precision not in ("fp32", "bf16"):
        raise BenchError(f"fit(precision=...) is fp32 or bf16, not {recipe.precision!r}")
    if wrong:
        raise BenchError(
            f"fit({wrong[0]}=...) cannot be {getattr(recipe, wrong[0])!r}: a network is not trained by that"
        )
    return recipe


def _epoch(
    images: Tensor, batches: int, flip: bool, crop: int, generator: torch.Generator, device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield float batches of nearly equal size, shuffled and augmented, with the indices of their images."""
    order = torch.randperm(len(images), generator=generator, device=generator.device).to(device)
    parts = order.tensor_split(batches)
    at_once = max(1, CHUNK // max(1, images[0].numel() * images.element_size() * len(parts[0])))
    for start in range(0, batches, at_once):
        chunk = parts[start : start + at_once]
        views = augment(images.index_select(0, torch.cat(chunk)), flip, crop, generator)
        views = views.contiguous(memory_format=torch.channels_last)
        for indices, x in zip(chunk, torch.split(views, [len(p) for p in chunk]), strict=True):
            yield pixels(x), indices


@contextmanager
def _trainable_only(model: nn.Module, trainable: nn.Module | None) -> Iterator[list[nn.Parameter]]:
    """Put `trainable` (or all) in train mode with gradients, everything else in eval mode and frozen.

    What is frozen already, and modules that the network's own `train()` leaves in eval mode, stay so.
    """
    flags = {id(p): p.requires_grad for p in model.parameters()}
    part = model if trainable is None else trainable
    inside = {id(p) for p in part.parameters()}
    if not inside or not inside <= set(flags):
        raise BenchError("fit(trainable=...) takes a part of the model that is trained, such as context.head(model)")
    chosen = {number for number in inside if flags[number]}
    if not chosen:
        what = "the model" if trainable is None else "the part to train"
        raise BenchError(f"fit() has nothing to train: each parameter of {what} is frozen (requires_grad is False)")
    model.train()
    if trainable is not None:
        held = [module for module in part.modules() if not module.training]
        model.eval()
        part.train()
        for module in held:
            module.training = False
    try:
        for p in model.parameters():
            p.requires_grad_(id(p) in chosen)
        yield [p for p in model.parameters() if id(p) in chosen]
        if made := [name for name, p in model.named_parameters() if id(p) not in flags]:
            raise BenchError(
                f"fit() did not train {made[0]!r}, which the network made meanwhile: make all layers before, in "
                "build() or as lazy modules such as nn.LazyLinear"
            )
    finally:
        for p in model.parameters():
            p.requires_grad_(flags.get(id(p), p.requires_grad))
        model.eval()


@contextmanager
def _own_random_stream(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Seed torch's global generators, which dropout uses, from the generator alone; restore them after."""
    seed = int(torch.randint(1 << 62, (1,), device=generator.device, generator=generator))
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if device.type == "cpu":
            torch.default_generator.manual_seed(seed)  # `torch.manual_seed` would seed GPUs, too
        else:
            torch.manual_seed(seed)
        yield
