"""Which answers to the same images differ, and how far."""

import torch
from torch import Tensor

from bench.models.granularity import granularity

MOVED = 1e-3
"""Largest difference of two answers to one image that counts as none, relative to the largest answer, and absolute."""


def moved(one: Tensor, other: Tensor) -> int:
    """Return the number of rows of answers, [N, K] or labels [N], that differ by more than MOVED or their rounding."""
    if one.dim() == 1:
        return int((one != other).sum())
    one, other = one.double(), other.double()
    step = 2.01 * granularity(one.numpy()).error
    allowed = torch.maximum(MOVED * (1 + torch.maximum(one.abs(), other.abs()).amax(1)), torch.tensor(step))
    return int(((one - other).abs().amax(1) > allowed).sum())


def difference(one: Tensor, other: Tensor) -> float:
    """Return the largest difference of two answers to one image; of labels, the share of images that differ."""
    if one.dim() == 1:
        return float((one != other).double().mean())
    return float((one.double() - other.double()).abs().max())
