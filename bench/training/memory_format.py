"""The memory format of images and weights on a CPU, and the convolutions that need another one."""

from __future__ import annotations

import copy
import random

import numpy as np
import torch
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.training.networks import Normalised

BLOCK = 16
"""Channels that oneDNN takes at once with the widest vectors there are."""

_relying: dict[tuple[Architecture, tuple[int, ...]], bool] = {}
"""Of the architectures that this process has seen, for images of a shape: whether they rely on torch's own layout."""


def laid_out(model: Normalised, architecture: Architecture, shape: tuple[int, int, int]) -> Normalised:
    """Let a network of an architecture have torch's own memory layout throughout where it relies on that.

    As a network does that calls `view` behind a convolution. It is tried once per process and architecture. In any
    other network, convolutions that `channels_last` is unsafe for are led around it.
    """
    if (architecture, shape) not in _relying:
        _relying[architecture, shape] = _relies_on_own_layout(model, shape)
    model.own_layout = _relying[architecture, shape]
    for part in () if model.own_layout else model.modules():
        if isinstance(part, nn.Conv2d) and _is_unsafe(part):
            part.register_forward_pre_hook(_to_safety)
            part.register_forward_hook(_and_back)
    return model


def _relies_on_own_layout(model: Normalised, shape: tuple[int, int, int]) -> bool:
    """Try a copy, and leave every generator as it was: no later task may be able to tell."""
    states = np.random.get_state(), random.getstate()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            copy.deepcopy(model.inner).eval()(channels_last(torch.zeros(2, *shape, device=model.mean.device)))
    except Exception as error:  # a stranger's network: whatever else is wrong shows where it is used
        return "view size is not compatible" in str(error)
    finally:
        np.random.set_state(states[0])
        random.setstate(states[1])
    return False


def _is_unsafe(part: nn.Conv2d) -> bool:
    """Say whether oneDNN may write beyond its buffer when it differentiates this convolution in `channels_last`.

    So it does for strided 1x1 convolutions of fewer channels than fit one of its blocks, mostly in several threads:
    https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    return part.kernel_size == (1, 1) and max(part.stride) > 1 and part.groups == 1 and part.in_channels < BLOCK


def _to_safety(part: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Give a convolution its images in torch's own layout, in which the library takes another way."""
    return tuple(x.contiguous() if x.device.type == "cpu" else x for x in given)


def _and_back(part: nn.Module, given: tuple[Tensor, ...], answer: Tensor) -> Tensor:
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
