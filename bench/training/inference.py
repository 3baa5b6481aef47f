"""Compute logits in batches, and their accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from bench.training.augmentation import pixels
from bench.training.input_checks import logits_of
from bench.training.sharing import moved

BATCH = 512


@torch.no_grad()
def logits_in_batches(model: nn.Module, images: Tensor, device: torch.device, batch: int = BATCH) -> Tensor:
    """Compute float32 logits [N, K] of images (uint8, or float in [0, 1]) by a network that is on the device."""
    with torch.autocast(device.type, enabled=False):
        parts = [
            logits_of(model(pixels(part.to(device)).contiguous(memory_format=torch.channels_last))).float()
            for part in torch.split(images, batch)
        ]
    return torch.cat(parts)


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a network in eval mode inside, and restore the mode of each module."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def predict(model: nn.Module, images: Tensor, device: torch.device | str = "cpu", batch: int = BATCH) -> Tensor:
    """Move a network to the device and compute logits [N, K] in eval mode; each module's mode is restored."""
    moved(model, device)
    with eval_mode(model):
        return logits_in_batches(model, images, torch.device(device), batch)


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Return the share of images whose largest logit is that of their label."""
    return float((logits.argmax(1) == labels.to(logits.device)).double().mean())
