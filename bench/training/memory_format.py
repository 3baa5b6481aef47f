"""The memory format of images and weights on a CPU, and the convolutions that need another one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

BLOCK = 16
"""Channels that oneDNN takes at once with the widest vectors there are."""


def is_unsafe(part: nn.Conv2d) -> bool:
    """Say whether oneDNN may write beyond its buffer when it differentiates this convolution in `channels_last`.

    So it does for strided 1x1 convolutions of fewer channels than fit one of its blocks, mostly in several threads:
    https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    return part.kernel_size == (1, 1) and max(part.stride) > 1 and part.groups == 1 and part.in_channels < BLOCK


def to_safety(part: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Give a convolution its images in torch's own layout, in which the library takes another way."""
    return tuple(x.contiguous() if x.device.type == "cpu" else x for x in given)


def and_back(part: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
    """Give the answer the layout that the rest of the network is fastest in."""
    return answer.contiguous(memory_format=torch.channels_last) if answer.device.type == "cpu" else answer


def channels_last(x: Tensor) -> Tensor:
    """Give images the memory layout in which networks are fastest on a CPU, those of one channel included.

    Of the latter torch does not know which layout they have, and takes the slower one; their strides have to say it.
    """
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def per_pixel(values: Tensor, x: Tensor) -> Tensor:
    """Repeat a value per channel for each pixel: a CPU goes through `channels_last` images faster so."""
    if x.shape[1] == 1:
        return values
    return values.expand(1, *x.shape[1:]).contiguous(memory_format=torch.channels_last)
