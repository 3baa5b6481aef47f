"""Memory formats of images and weights, and the networks and convolutions that need a certain one."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.training.duplicates import DetachedCopies
from bench.training.own_forward import with_torchs_forward
from bench.training.randomness import unchanged_generators
from bench.training.sharing import keeping_shared

BLOCK = 16
"""Channels that oneDNN processes at once with the widest vector instructions."""


def channels_last(x: Tensor) -> Tensor:
    """Return images in the memory format in which networks are fastest on a CPU.

    With one channel, torch cannot distinguish the formats and assumes the slower one, so the strides have to state it.
    """
    if x.shape[1] == 1:
        return x.reshape(x.shape[0], *x.shape[2:], 1).permute(0, 3, 1, 2)
    return _pixels_first(x)


def _pixels_first(x: Tensor) -> Tensor:
    """Return `x.contiguous(memory_format=torch.channels_last)`, at which `torch.func.vmap` fails."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def per_pixel(values: Tensor, x: Tensor) -> Tensor:
    """Repeat a value per channel for each pixel: on a CPU, arithmetic with `channels_last` images is faster then."""
    if x.shape[1] == 1:
        return values
    return _pixels_first(values.expand(1, *x.shape[1:]))


def set_weight_format(model: nn.Module, device: torch.device, contiguous_only: bool) -> None:
    """Bring the weights of torch's convolutions into the memory format that trains fastest.

    It is `channels_last`, but on a CPU dense ones stay contiguous: oneDNN converts their weights and gradients in every
    step. Other parameters stay as they were built: a module may call `view` on its own, or give them five dimensions.
    A network that runs on contiguous images only is contiguous throughout.
    """
    formats = (torch.contiguous_format, torch.channels_last)
    with keeping_shared(model):
        if contiguous_only:
            model.to(memory_format=formats[0])  # type: ignore[call-overload]  # torch's stubs lack it
            return
        for part in with_torchs_forward(model, nn.Conv2d):
            if "weight" in part._parameters:  # and no parametrization computes it
                dense = device.type == "cpu" and part.groups == 1
                part.to(memory_format=formats[not dense])  # type: ignore[call-overload]


def needs_contiguous(network: nn.Module, shape: tuple[int, int, int], device: torch.device) -> bool:
    """Return True if a network fails on `channels_last` images and runs on contiguous ones.

    Such a network calls `view` on the output of a convolution, for example.
    """
    return not _runs(network, shape, device, channels_last) and _runs(network, shape, device, Tensor.contiguous)


def _runs(
    network: nn.Module, shape: tuple[int, int, int], device: torch.device, layout: Callable[[Tensor], Tensor]
) -> bool:
    """Try a copy of a network, and restore every random generator: no later task may depend on the trial."""
    try:
        with torch.no_grad(), unchanged_generators():
            with DetachedCopies():
                trial = copy.deepcopy(network).eval()
            trial(layout(torch.zeros(2, *shape, device=device)))
    except Exception:  # third-party code; a fault of another kind is reported where the network is used
        return False
    return True


def guard_convolutions(network: nn.Module) -> None:
    """Compute the convolutions at which oneDNN fails in `channels_last` on contiguous images."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and needs_guard(part):
            part.register_forward_pre_hook(_to_contiguous)
            part.register_forward_hook(_to_channels_last)


def needs_guard(part: nn.Conv2d) -> bool:
    """Return True for convolutions whose gradient oneDNN may write beyond its buffer in `channels_last`.

    The upstream issue: https://github.com/uxlfoundation/oneDNN/issues/6035
    """
    return part.kernel_size == (1, 1) and part.stride != (1, 1) and part.groups == 1 and part.in_channels < BLOCK


def _to_contiguous(part: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(x.contiguous() if x.device.type == "cpu" else x for x in inputs)


def _to_channels_last(part: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return _pixels_first(output) if output.device.type == "cpu" else output
