"""Networks in pixel space: wrap what an architecture builds, load weights, and check what a plugin returned."""

import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.overrides import TorchFunctionMode

from bench.api.components import Architecture
from bench.core.errors import BenchError, NonFiniteLoss
from bench.training.duplicates import duplicate_attributes
from bench.training.inference import eval_mode
from bench.training.memory_format import channels_last, guard_convolutions, needs_contiguous, per_pixel
from bench.training.network_state import COMPLEX, DATA, HOST_ONLY, load_network_state, network_state
from bench.training.randomness import unchanged_generators
from bench.training.sharing import has_overlaps, has_shared_memory, moved, named_tensors, shared_names


class Normalised(nn.Module):
    """A network in pixel space: takes [0, 1], normalises with its own buffers `mean` and `std`, returns logits."""

    mean: Tensor
    std: Tensor

    def __init__(self, inner: nn.Module, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.inner = inner
        self.contiguous_only = False
        """Whether the inner network gets contiguous images; else, on a CPU, it gets `channels_last`."""
        self.recreate: Callable[[Mapping[str, Tensor]], nn.Module] | None = None
        """Builds the network once more, with the given state."""
        self.architecture: Architecture | None = None
        """The architecture that built the inner network, where that is known."""
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

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Module:
        """Return an independent copy; where a module cannot be copied, build the network once more.

        torch copies a ScriptModule, but the gradients of the copy do not reach its parameters.
        """
        duplicate: nn.Module = type(self).__new__(type(self))
        try:
            if self.recreate is not None and any(isinstance(m, torch.jit.ScriptModule) for m in self.modules()):
                raise TypeError("a ScriptModule cannot be copied")
            memo[id(self)] = duplicate
            memo |= {id(shared): shared for shared in (self.recreate, self.architecture)}  # no part of the network
            vars(duplicate).update(duplicate_attributes(self, memo))
        except Exception:  # third-party code, which may hold anything
            if self.recreate is None:
                raise
            duplicate = memo[id(self)] = self._recreated()
        return duplicate

    def _recreated(self) -> nn.Module:
        assert self.recreate is not None
        again = self.recreate({name: tensor.detach().clone() for name, tensor in network_state(self).items()})
        for module, original in zip(again.modules(), self.modules(), strict=True):
            module.training = original.training
        for parameter, own in zip(again.parameters(), self.parameters(), strict=True):
            parameter.requires_grad_(own.requires_grad)
        return moved(again, self.mean.device)


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


def _make_buffers_plain(network: nn.Module) -> None:
    """Replace the buffers that a training step cannot write to: those that want gradients, and expanded ones.

    Some loaders put a parameter in place of a buffer, and torch refuses batch normalisation with it.
    """
    parameters, plain = {id(p) for p in network.parameters()}, dict[Tensor, Tensor]()
    for module in network.modules():
        for name, buffer in module._buffers.items():
            if buffer is None or id(buffer) in parameters:
                continue
            if buffer.requires_grad or isinstance(buffer, nn.Parameter):
                module._buffers[name] = plain.setdefault(buffer, buffer.detach())  # one with two names stays one
            elif has_overlaps(buffer):
                module._buffers[name] = buffer.contiguous()


def wrapped(
    architecture: Architecture, num_classes: int, shape: tuple[int, int, int], mean: Tensor, std: Tensor
) -> Normalised:
    """Build a network in pixel space; BenchError if `build` returned none, or parameters without a shape.

    Lazy modules get their shapes from a batch of black images.
    """
    inner: object = architecture.build(num_classes, shape)
    if not isinstance(inner, nn.Module) or next(inner.parameters(), None) is None:
        what = "one without parameters" if isinstance(inner, nn.Module) else f"a {type(inner).__name__}"
        raise BenchError(f"architecture {architecture.name!r}: build must return a network, not {what}")
    model = Normalised(inner, mean, std)
    if _lazy_names(inner):
        with torch.no_grad(), eval_mode(model):
            model(torch.zeros(2, *shape))
        if lazy := _lazy_names(inner):
            raise BenchError(
                f"architecture {architecture.name!r}: {lazy[0]!r} has no shape, even after a forward pass on images "
                f"{list(shape)}: use a module that is not lazy"
            )
    _make_buffers_plain(inner)
    model.recreate = functools.partial(rebuild, architecture, num_classes, shape)
    model.architecture = architecture
    return model


def _lazy_names(inner: nn.Module) -> list[str]:
    return [name for name, tensor in named_tensors(inner).items() if is_lazy(tensor)]


def rebuild(
    architecture: Architecture, num_classes: int, shape: tuple[int, int, int], weights: Mapping[str, Tensor]
) -> nn.Module:
    """Build a network and load its state (see `network_state`), in train mode; the random generators stay as they were.

    On the meta device where that makes the same network (four times faster), otherwise in memory. Weights are not
    copied on the meta device.
    """
    mean, std = weights["mean"].cpu(), weights["std"].cpu()  # as the rest of a network that is just built
    build = functools.partial(wrapped, architecture, num_classes, shape, mean, std)
    with unchanged_generators():
        model = _without_memory(build, weights) or _in_memory(build, weights)
        return with_memory_format(model, architecture, shape)


def _without_memory(build: Callable[[], Normalised], weights: Mapping[str, Tensor]) -> Normalised | None:
    """Build a network on the meta device and replace its tensors; None if it refers to other tensors than these.

    It does if it shares tensors or memory, or if a list, a function or an attribute of a module refers to a tensor.
    """
    try:
        with torch.device("meta"), _Created() as created:
            model = build()
        created.add(*named_tensors(model).values())
        if has_shared_memory(model):
            return None
        load_network_state(model, weights, assign=True)
    except Exception:  # third-party code, which need not work on the meta device
        return None
    return None if created.remain() else model


def _in_memory(build: Callable[[], Normalised], weights: Mapping[str, Tensor]) -> Normalised:
    """Build a network and copy its state into it."""
    model = build()
    load_network_state(model, weights)
    return model


class _Created(TorchFunctionMode):
    """Remembers the tensors that are created on the meta device, without keeping them alive."""

    def __init__(self) -> None:
        super().__init__()
        self.tensors: list[weakref.ref[Tensor]] = []

    def add(self, *tensors: object) -> None:
        """Remember tensors."""
        self.tensors += [weakref.ref(t) for t in tensors if isinstance(t, Tensor) and t.is_meta]

    def remain(self) -> bool:
        """Return True if something still refers to one of the tensors."""
        return any(reference() is not None for reference in self.tensors)

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.add(*(result if isinstance(result, tuple | list) else [result]))
        return result


def check(model: object, fresh: nn.Module, who: str) -> nn.Module:
    """Return a network if it loads strictly into a fresh one; BenchError names the first entry that does not fit."""
    if not isinstance(model, nn.Module):
        raise BenchError(f"{who} returned a {type(model).__name__}, not a network")
    expected, found = _comparable(fresh), _comparable(model)
    for name in (*expected, *found):
        if name not in found or name not in expected:
            side = "lacks" if name not in found else "has, beyond a fresh build(),"
            raise BenchError(f"the network that {who} returned {side} {name!r}: it must load strictly into build()")
        a, b = expected[name], found[name]
        if a is None or b is None:
            continue
        if a.shape != b.shape or a.dtype != b.dtype:
            raise BenchError(
                f"the network that {who} returned holds {name!r} as {b.dtype} {list(b.shape)}, "
                f"but a fresh build() has {a.dtype} {list(a.shape)}"
            )
        if not is_finite(b, a):
            raise NonFiniteLoss(f"the network that {who} returned holds NaN or infinity in {name!r}")
    tensors = named_tensors(model)
    for first, *others in shared_names(fresh):
        for name in others:
            if first in tensors and name in tensors and not torch.equal(tensors[first], tensors[name]):
                raise BenchError(
                    f"the network that {who} returned holds different values in {first!r} and {name!r}, which are one "
                    "tensor in a fresh build()"
                )
    return model.eval()


def _comparable(model: nn.Module) -> dict[str, Tensor | None]:
    """Return the entries of a state dict that a fresh network has as well; None for data, which may have any size."""
    state = network_state(model)
    data = {name.removeprefix(DATA): None for name in state if name.startswith(DATA)}
    return {**{n.removeprefix(COMPLEX): t for n, t in state.items() if not n.startswith(HOST_ONLY)}, **data}


def is_finite(tensor: Tensor, fresh: Tensor) -> bool:
    """Return True if a tensor is finite, or infinite only where a fresh one is, as the mask of an attention may be."""
    if not (tensor.is_floating_point() or tensor.is_complex()) or tensor.layout is not torch.strided:
        return True
    values = tensor.float() if tensor.element_size() == 1 else tensor
    finite = torch.isfinite(values)
    return bool(finite.all()) or torch.equal(finite, torch.isfinite(fresh.to(values)))
