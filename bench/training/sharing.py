"""Parameters and buffers that a network knows under several names, and memory that several of them share."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


def _slots(model: nn.Module) -> Iterator[tuple[dict[str, Tensor | None], str, Tensor]]:
    """Yield the dictionary, the key and the tensor of each parameter and buffer of each module."""
    for module in model.modules():
        for entries in (module._parameters, module._buffers):
            for key, tensor in entries.items():
                if tensor is not None:
                    yield entries, key, tensor  # type: ignore[misc]  # a dictionary of parameters holds tensors


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a network, under every name that they have."""
    return {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }


def shared_names(model: nn.Module) -> list[list[str]]:
    """Return the groups of names, two or more, that mean one tensor (two layers that share a weight)."""
    groups: dict[int, list[str]] = {}
    for name, tensor in named_tensors(model).items():
        groups.setdefault(id(tensor), []).append(name)
    return sorted(sorted(names) for names in groups.values() if len(names) > 1)


def has_shared_memory(model: nn.Module) -> bool:
    """Return True if two parameters or buffers are one tensor, or views of one memory."""
    tensors = [tensor for _, _, tensor in _slots(model)]
    return len({tensor.untyped_storage()._cdata for tensor in tensors}) < len(tensors)


def has_overlaps(tensor: Tensor) -> bool:
    """Return True if several elements of a tensor are one number in memory, as in an expanded one."""
    if tensor.layout is not torch.strided:
        return False
    return any(n > 1 and not step for n, step in zip(tensor.shape, tensor.stride(), strict=True))


@contextmanager
def keeping_shared(model: nn.Module) -> Iterator[None]:
    """Let modules that share a tensor share it afterwards: `Module.to` converts the buffers of each one alone."""
    groups: dict[int, list[tuple[dict[str, Tensor | None], str]]] = {}
    for entries, key, tensor in _slots(model):
        groups.setdefault(id(tensor), []).append((entries, key))
    yield
    for (first, name), *others in groups.values():
        for entries, key in others:
            entries[key] = first[name]


def moved(model: nn.Module, device: torch.device | str) -> nn.Module:
    """Move a network to a device, in place."""
    with keeping_shared(model):
        return model.to(device)
