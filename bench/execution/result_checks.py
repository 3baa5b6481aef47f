"""Checks of what plugin code returned, and of the data that it received."""

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bench.core.errors import BenchError
from bench.datasets.partition import Data
from bench.store.tensors import has_memory


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
    """Return what a method returned as its fingerprint; BenchError if it is no dictionary, or empty."""
    if not isinstance(fingerprint, Mapping) or not fingerprint:
        raise BenchError(f"method {method!r} must return a dictionary of named tensors, not {fingerprint!r:.80}")
    return fingerprint
