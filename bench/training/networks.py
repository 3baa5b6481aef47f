"""Networks in pixel space: wrap what an architecture builds, put weights back in, and see whether they fit."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.core.errors import BenchError, NonFiniteLoss
from bench.training.memory_format import channels_last, laid_out, per_pixel


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
