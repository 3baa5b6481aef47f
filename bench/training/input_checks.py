"""Checks of what plugins pass to networks and to the training loop, and of what networks answer."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from bench.core.errors import BenchError

TOLERANCE = 1e-6
"""How far a pixel may be outside [0, 1]: rounding does that."""
ROUNDED = 1e-2
"""How far a probability may be outside [0, 1]: that of bfloat16, or a sum of several."""
IGNORED = -100
"""The label that torch's cross-entropy leaves out."""


def extremes(x: Tensor) -> Tensor:
    """Return the lowest and the highest pixel of images, as a tensor on their device; NaN if one is NaN."""
    low, high = (x.detach() if x.element_size() >= 4 else x.detach().float()).aminmax()
    return torch.stack([low, high]).float()


def is_outside(found: Tensor) -> bool:
    """Return True if pixels with these extremes are not all in [0, 1]; waits for the device."""
    low, high = found.tolist()
    return not (low >= -TOLERANCE and high <= 1 + TOLERANCE)


def check_trained_images(images: Any) -> None:
    """Raise BenchError unless images can be trained on: uint8 [N, C, H, W], or float in [0, 1]."""
    if not isinstance(images, Tensor):
        raise BenchError(f"fit() takes images as a tensor [N, C, H, W], not as a {type(images).__name__}")
    if not len(images):
        raise BenchError("fit() was given no images")
    if images.dim() != 4 or not (images.dtype == torch.uint8 or images.is_floating_point()):
        found = f"{images.dtype} {list(images.shape)}"
        raise BenchError(f"fit() takes images [N, C, H, W] as uint8, or as float in [0, 1], not {found}")
    if images.dtype != torch.uint8 and is_outside(range_ := extremes(images)):
        low, high = range_.tolist()
        advice = ": pass them as uint8, or divide them by 255" if 1 < high <= 255 and low >= 0 else ""
        raise BenchError(f"fit() takes float images in [0, 1], not from {low:.4g} to {high:.4g}{advice}")


def check_targets(targets: Any, count: int, classified: bool) -> Any:
    """Return the targets of `count` images as the loss takes them; BenchError for others.

    `classified` is True for the default loss: labels become int64 [N], probabilities are float [N, K]. A function from
    images to targets is not called.
    """
    if callable(targets):
        return targets
    if not isinstance(targets, Tensor) or not targets.dim():
        raise BenchError(f"fit() takes targets as a tensor or a function, not as a {type(targets).__name__}")
    if len(targets) != count:
        raise BenchError(f"fit() was given {count} images, but {len(targets)} targets")
    if not classified:
        return targets
    if targets.is_complex() or targets.dim() != (2 if targets.is_floating_point() else 1):
        found = f"{targets.dtype} {list(targets.shape)}"
        raise BenchError(f"fit() takes labels as int64 [N] or probabilities as float [N, K], not {found}")
    if targets.is_floating_point():
        low, high = extremes(targets).tolist()
        if low < -ROUNDED or high > 1 + ROUNDED:
            advice = "logits need a softmax, or a loss of their own: fit(loss=...)"
            raise BenchError(f"fit() takes probabilities in [0, 1], not from {low:.4g} to {high:.4g}: {advice}")
        return targets.detach()
    labels = targets.long()
    if bool(((labels < 0) & (labels != IGNORED)).any()):
        raise BenchError(f"fit() takes labels from 0, not {int(labels.min())}")
    return labels


def logits_of(answers: object, network: str = "a network") -> Tensor:
    """Return the answers of a network if they are a tensor; BenchError says what they are instead."""
    if isinstance(answers, Tensor):
        return answers
    parts = _parts(answers)
    tensors = [name for name, part in parts.items() if isinstance(part, Tensor)]
    kind = type(answers).__name__
    what = f"a {kind} of {', '.join(parts)}" if parts else f"a {kind}"
    advice = f": return {tensors[0]} alone" if len(tensors) == 1 else ""
    if len(tensors) > 1:
        advice = (
            ". Networks with auxiliary outputs are not supported: return the main logits alone, or build it without "
            "the others (in torchvision: aux_logits=False)"
        )
    raise BenchError(f"{network}: forward must return logits, a tensor [N, K], not {what}{advice}")


def _parts(answers: Any) -> dict[str, Any]:
    """Return the parts of an answer by name: of a dictionary, a tuple or list, a dataclass."""
    if isinstance(answers, Mapping):
        return {repr(name)[:40]: part for name, part in answers.items()}
    if isinstance(answers, tuple | list):
        names = getattr(answers, "_fields", None) or [f"item {i}" for i in range(len(answers))]
        return dict(zip(names, answers, strict=False))
    if dataclasses.is_dataclass(answers) and not isinstance(answers, type):
        return {f.name: getattr(answers, f.name) for f in dataclasses.fields(answers)}
    return {}
