"""Networks in pixel space: wrap what an architecture builds, load weights, and check what a plugin returned."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.core.errors import BenchError, NonFiniteLoss
from bench.training.memory_format import channels_last, guard_convolutions, needs_contiguous, per_pixel


class Normalised(nn.Module):
    """A network in pixel space: takes [0, 1], normalises with its own buffers `mean` and `std`, returns logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, inner: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.contiguous_only = False
        """Whether the inner network gets contiguous images; else, on a CPU, it gets `channels_last`."""
        self.register_buffer("mean", mean.detach().clone().float().reshape(1, -1, 1, 1))
        self.register_buffer("std", std.detach().clone().float().reshape(1, -1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Compute logits [N, K] of float images [N, C, H, W] in [0, 1]."""
        if self.contiguous_only:
            normal = (x.contiguous() - self.mean) / self.std
        elif x.device.type == "cpu":
            x = channels_last(x)
            normal = channels_last((x - per_pixel(self.mean, x)) / per_pixel(self.std, x))
        else:
            normal = (x - self.mean) / self.std
        logits: Tensor = self.inner(normal)
        return logits


_contiguous_only: dict[tuple[Architecture, tuple[int, int, int]], bool] = {}
"""Cache of `needs_contiguous`, by architecture and image shape: each is tried once per process."""


def with_memory_format(model: Normalised, architecture: Architecture, shape: tuple[int, int, int]) -> Normalised:
    """Choose the memory format in which a network of an architecture runs, and guard convolutions that need it."""
    key = architecture, shape
    if key not in _contiguous_only:
        _contiguous_only[key] = needs_contiguous(model.inner, shape, model.mean.device)
    model.contiguous_only = _contiguous_only[key]
    if not model.contiguous_only:
        guard_convolutions(model)
    return model


def rebuild(
    architecture: Architecture, num_classes: int, shape: tuple[int, int, int], weights: Mapping[str, Tensor]
) -> nn.Module:
    """Build a network and load weights; on the meta device where the architecture allows it (four times faster)."""
    try:
        with torch.device("meta"):
            model = Normalised(architecture.build(num_classes, shape), torch.zeros(1), torch.ones(1))
        model.load_state_dict(weights, strict=True, assign=True)
        complete = not any(t.is_meta for m in model.modules() for t in _tensors(m))
    except Exception:  # third-party code, which need not work on the meta device
        complete = False
    if not complete:
        model = Normalised(architecture.build(num_classes, shape), weights["mean"], weights["std"])
        model.load_state_dict(weights, strict=True)
    return with_memory_format(model, architecture, shape)


def _tensors(module: nn.Module) -> list[Tensor]:
    """List the buffers and plain tensor attributes of a module."""
    return [t for t in (*vars(module).values(), *module._buffers.values()) if isinstance(t, Tensor)]


def check(model: object, fresh: nn.Module, who: str) -> nn.Module:
    """Return a network if it loads strictly into a fresh one; BenchError names the first entry that does not fit."""
    if not isinstance(model, nn.Module):
        raise BenchError(f"{who} returned a {type(model).__name__}, not a network")
    expected, found = fresh.state_dict(), model.state_dict()
    for name in (*expected, *found):
        if name not in found or name not in expected:
            side = "lacks" if name not in found else "has, beyond a fresh build(),"
            raise BenchError(f"the network that {who} returned {side} {name!r}: it must load strictly into build()")
        a, b = expected[name], found[name]
        if a.shape != b.shape or a.dtype != b.dtype:
            raise BenchError(
                f"the network that {who} returned holds {name!r} as {b.dtype} {list(b.shape)}, "
                f"but a fresh build() has {a.dtype} {list(a.shape)}"
            )
        if b.is_floating_point() and not bool(torch.isfinite(b).all()):
            raise NonFiniteLoss(f"the network that {who} returned holds NaN or infinity in {name!r}")
    return model.eval()
