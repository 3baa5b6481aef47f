"""Networks in pixel space: wrap what an architecture builds, put weights back in, and see whether they fit."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from bench.errors import BenchError, NonFiniteLoss
from bench.types import Architecture

BLOCK = 16
"""Channels that oneDNN takes at once with the widest vectors there are."""


class Normalised(nn.Module):
    """A network in pixel space: takes [0, 1], normalises with its own buffers `mean` and `std`, returns logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, inner: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.own_layout = False
        """Whether the inner network gets images in torch's own memory layout; else, on a CPU, in `channels_last`."""
        self.register_buffer("mean", mean.detach().clone().float().reshape(1, -1, 1, 1))
        self.register_buffer("std", std.detach().clone().float().reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Answer float images [N, C, H, W] in [0, 1] with logits [N, K]."""
        if self.own_layout:
            normal = (x.contiguous() - self.mean) / self.std
        elif x.device.type == "cpu":
            x = _channels_last(x)
            normal = _channels_last((x - _spread(self.mean, x)) / _spread(self.std, x))
        else:
            normal = (x - self.mean) / self.std
        logits: Tensor = self.inner(normal)
        return logits


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
            copy.deepcopy(model.inner).eval()(_channels_last(torch.zeros(2, *shape, device=model.mean.device)))
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


def _channels_last(x: Tensor) -> Tensor:
    """Give images the memory layout in which networks are fastest on a CPU, those of one channel included.

    Of the latter torch does not know which layout they have, and takes the slower one; their strides have to say it.
    """
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def _spread(values: Tensor, x: Tensor) -> Tensor:
    """Repeat a value per channel for each pixel: a CPU goes through `channels_last` images faster so."""
    if x.shape[1] == 1:
        return values
    return values.expand(1, *x.shape[1:]).contiguous(memory_format=torch.channels_last)


def rebuild(
    architecture: Architecture, num_classes: int, shape: tuple[int, int, int], weights: Mapping[str, Tensor]
) -> nn.Module:
    """Make a network and put weights in; on the meta device where the architecture allows it (four times faster)."""
    empty = torch.zeros(1), torch.ones(1)
    try:
        with torch.device("meta"):
            model = Normalised(architecture.build(num_classes, shape), *empty)
        model.load_state_dict(weights, strict=True, assign=True)
    except Exception:  # what an architecture does on the meta device is its own: then the ordinary way
        return _rebuilt(architecture, num_classes, shape, weights)
    left = [t for m in model.modules() for t in (*vars(m).values(), *m._buffers.values()) if isinstance(t, Tensor)]
    if any(t.is_meta for t in left):
        return _rebuilt(architecture, num_classes, shape, weights)
    return laid_out(model, architecture, shape)


def _rebuilt(
    architecture: Architecture, num_classes: int, shape: tuple[int, int, int], weights: Mapping[str, Tensor]
) -> nn.Module:
    model = Normalised(architecture.build(num_classes, shape), weights["mean"], weights["std"])
    model.load_state_dict(weights, strict=True)
    return laid_out(model, architecture, shape)


def check(model: object, fresh: nn.Module, who: str) -> nn.Module:
    """See that a network loads strictly into a fresh one; BenchError names the first entry that does not fit."""
    if not isinstance(model, nn.Module):
        raise BenchError(f"{who} returned a {type(model).__name__}, not a network")
    wanted, given = fresh.state_dict(), model.state_dict()
    for name in (*wanted, *given):
        if name not in given or name not in wanted:
            side = "lacks" if name not in given else "has, beyond a fresh build(),"
            raise BenchError(f"the network that {who} returned {side} {name!r}: it must load strictly into build()")
        a, b = wanted[name], given[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise BenchError(
                f"the network that {who} returned holds {name!r} as {b.dtype} {list(b.shape)}, "
                f"but a fresh build() has {a.dtype} {list(a.shape)}"
            )
        if b.is_floating_point() and not bool(torch.isfinite(b).all()):
            raise NonFiniteLoss(f"the network that {who} returned holds NaN or infinity in {name!r}")
    return model.eval()
