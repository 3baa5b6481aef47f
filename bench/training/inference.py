"""Answer images with logits, in eval mode and in batches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.training.augmentation import pixels


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
