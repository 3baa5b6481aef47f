"""Networks in pixel space: wrap what an architecture builds, put weights back in, and see whether they fit."""

from __future__ import annotations

import copy
import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.core.errors import BenchError, NonFiniteLoss
from bench.training.memory_format import and_back, channels_last, is_unsafe, per_pixel, to_safety


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
            x = channels_last(x)
            normal = channels_last((x - per_pixel(self.mean, x)) / per_pixel(self.std, x))
        else:
            normal = (x - self.mean) / self.std
        logits: Tensor = self.inner(normal)
        return logits


_relying: dict[tuple[Architecture, tuple[int, ...]], bool] = {}
"""Of the architectures that this process has seen, for images of a shape: whether they rely on torch's own layout."""


def with_memory_format(model: Normalised, architecture: Architecture, shape: tuple[int, int, int]) -> Normalised:
    """Let a network of an architecture have torch's own memory layout throughout where it relies on that.

    As a network does that calls `view` behind a convolution. It is tried once per process and architecture. In any
    other network, convolutions that `channels_last` is unsafe for are led around it.
    """
    if (architecture, shape) not in _relying:
        _relying[architecture, shape] = _relies_on_own_layout(model, shape)
    model.own_layout = _relying[architecture, shape]
    for part in () if model.own_layout else model.modules():
        if isinstance(part, nn.Conv2d) and is_unsafe(part):
            part.register_forward_pre_hook(to_safety)
            part.register_forward_hook(and_back)
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
    return with_memory_format(model, architecture, shape)


def _rebuilt(
    architecture: Architecture, num_classes: int, shape: tuple[int, int, int], weights: Mapping[str, Tensor]
) -> nn.Module:
    model = Normalised(architecture.build(num_classes, shape), weights["mean"], weights["std"])
    model.load_state_dict(weights, strict=True)
    return with_memory_format(model, architecture, shape)


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
