"""Checks of what plugin code returned, and of the data that it received."""

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.api.data import as_tensor
from bench.core.errors import BenchError
from bench.datasets.partition import Data
from bench.store.tensors import has_memory
from bench.training.input_checks import logits_of


def data_checksum(data: Data) -> tuple[int, ...]:
    """Return a checksum of images and labels.

    It detects changes through numpy or `.data`, which the tensors' version counters miss.
    """

    def of(tensor: Tensor) -> int:
        if tensor.device.type == "cpu":
            return zlib.crc32(tensor.numpy().data) if has_memory(tensor) else -1
        sums = tensor.reshape(len(tensor), -1).sum(1, dtype=torch.int64)
        return int((sums * torch.arange(1, len(sums) + 1, device=sums.device)).sum())

    return tuple(of(t) for part in data.parts.values() for t in (part.images, part.labels))


def check_readable(model: object, origin: str) -> object:
    """Return a network; BenchError names the first entry of its state without memory, which cannot be read."""
    for name, tensor in model.state_dict().items() if isinstance(model, nn.Module) else ():
        if isinstance(tensor, Tensor) and (tensor.is_meta or not has_memory(tensor)):
            raise BenchError(f"the network that {origin} returned holds no data for {name!r}, as on the meta device")
    return model


def check_fingerprint(fingerprint: object, method: str) -> Mapping[str, Tensor]:
    """Return what a method returned as its fingerprint, numpy's arrays as tensors.

    BenchError if it is no dictionary, or empty.
    """
    if not isinstance(fingerprint, Mapping) or not fingerprint:
        raise BenchError(f"method {method!r} must return a dictionary of named tensors, not {fingerprint!r:.80}")
    return {k: as_tensor(v) if _is_numeric(v) else v for k, v in fingerprint.items()}


def _is_numeric(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.dtype.itemsize <= 8


def check_fresh(model: nn.Module, shape: tuple[int, ...], num_classes: int, architecture: str) -> None:
    """Raise BenchError unless an untrained network has finite weights and answers with logits that can be trained.

    The network is changed: its batch statistics, gradients and mode. An error of its own code is raised as it is.
    """
    who = f"architecture {architecture!r}"
    check_readable(model, who)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if _is_unusable(tensor, may_be_infinite=not isinstance(tensor, nn.Parameter) and "running_" not in name):
            raise BenchError(f"{who}: a fresh build() holds NaN or infinity in {name!r}: initialise it")
    device = next(model.parameters()).device
    x = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(device)
    for part in model.modules():
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            part.momentum = 1.0  # eval mode answers from the statistics of these images, as after a training
    logits = _check_answers(model.train()(x), num_classes, f"{who}, in train mode")
    learns = logits.requires_grad
    if learns:
        torch.autograd.backward(functional.cross_entropy(logits.float(), torch.arange(2, device=device) % num_classes))
        learns = any(p.grad is not None for p in model.parameters())
    if not learns:
        raise BenchError(
            f"{who}: no gradient of its answers reaches its parameters (detached, an argmax, all of it frozen?)"
        )
    with torch.no_grad():
        answers = _check_answers(model.eval()(x), num_classes, f"{who}, in eval mode")
    if bool(torch.isfinite(logits).all()) and not bool(torch.isfinite(answers).all()):
        raise BenchError(f"{who}, in eval mode: forward answers images with NaN or infinity")


def _is_unusable(tensor: Tensor, may_be_infinite: bool) -> bool:
    """Return True if a tensor holds NaN or, unless it is a constant such as a mask of attention, infinity."""
    if tensor.layout is not torch.strided or not (tensor.is_floating_point() or tensor.is_complex()):
        return False
    values = tensor.detach().float() if tensor.element_size() == 1 else tensor.detach()
    return bool((torch.isnan(values) if may_be_infinite else ~torch.isfinite(values)).any())


def _check_answers(answers: object, num_classes: int, who: str) -> Tensor:
    """Return the logits of two images; BenchError says how they are none."""
    logits = logits_of(answers, who)
    if not logits.is_floating_point():
        raise BenchError(f"{who}: forward must return float logits, not {logits.dtype}")
    if list(logits.shape) != [2, num_classes]:
        raise BenchError(
            f"{who}: forward must answer two images with logits [2, {num_classes}], not {list(logits.shape)}"
        )
    return logits
