"""The whole state of a network as named tensors, and back: a state dict, and what it leaves out."""

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.errors import BenchError
from bench.training.plain_data import decode, encode

RESERVED = "bench:"
"""What a state dict lacks, or no file of tensors can hold, is under names that begin so."""
VERSIONS, DATA, PART, COMPLEX, BUFFER = (f"{RESERVED}{k}:" for k in ("versions", "data", "part", "complex", "buffer"))
HOST_ONLY = (VERSIONS, DATA, PART, BUFFER, COMPLEX + BUFFER, COMPLEX + PART)
"""Beginnings of names that are no entries of the state dict."""
WIDE = (torch.complex128, torch.complex32)
"""Complex types that safetensors does not have: stored as pairs of real numbers."""


def network_state(model: nn.Module) -> dict[str, Tensor]:
    """Return all that a network needs to come back in a fresh `build()`: tensors that share memory with the network.

    The names are those of the state dict. Beside them, only where a network has them: buffers that are not persistent,
    complex numbers of another precision than the usual, plain data (what `get_extra_state` returns), and the versions
    of modules. BenchError names an entry that is neither a tensor nor plain data.
    """
    state = model.state_dict()
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if not isinstance(name, str) or name.startswith(RESERVED):
            raise BenchError(
                f"the network's state dict has an entry {name!r:.80}: names are text, not after {RESERVED!r}"
            )
        packed |= {name: value} if isinstance(value, Tensor) else _packed_data(DATA + name, name, value)
    for name, entries, key in _transient_buffers(model):
        if (buffer := entries[key]) is not None:
            packed[BUFFER + name] = buffer.detach()
    modules = dict(model.named_modules(remove_duplicate=False))
    records = {k: dict(v) for k, v in getattr(state, "_metadata", {}).items() if v != _implied(modules.get(k))}
    if records:
        packed |= _packed_data(VERSIONS, VERSIONS, records)
    return dict((COMPLEX + n, _as_pairs(t)) if _is_wide(t) else (n, t) for n, t in packed.items())


def load_network_state(model: nn.Module, packed: Mapping[str, Tensor], *, assign: bool = False) -> None:
    """Load what `network_state` returned into a fresh network, strictly; `assign` replaces its tensors.

    Modules learn the version of their entries, as torch's own loading has it, so that none takes new ones for old.
    """
    packed = {n.removeprefix(COMPLEX): _as_complex(t) if n.startswith(COMPLEX) else t for n, t in packed.items()}
    state: OrderedDict[str, Any] = OrderedDict((k, v) for k, v in packed.items() if not k.startswith(RESERVED))
    for name, value in packed.items():
        if name.startswith(DATA):
            state[name.removeprefix(DATA)] = _unpacked_data(name.removeprefix(DATA), value, packed)
    records = _unpacked_data(VERSIONS, packed[VERSIONS], packed) if VERSIONS in packed else {}
    versions = [(k, dict(records.get(k, _implied(m)))) for k, m in model.named_modules(remove_duplicate=False)]
    state._metadata = OrderedDict(versions)  # type: ignore[attr-defined]
    model.load_state_dict(state, strict=True, assign=assign)
    for name, entries, key in _transient_buffers(model):
        if (stored := packed.get(BUFFER + name)) is None:
            continue
        there = entries[key]
        if assign or there is None or (there.shape, there.dtype) != (stored.shape, stored.dtype):
            entries[key] = stored
        else:
            there.copy_(stored)


def _is_wide(tensor: Tensor) -> bool:
    return tensor.dtype in WIDE and tensor.layout is torch.strided


def _as_pairs(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor.detach().resolve_conj())


def _as_complex(pairs: Tensor) -> Tensor:
    return torch.view_as_complex(pairs)


def _packed_data(entry: str, name: str, value: object) -> dict[str, Tensor]:
    text, tensors = encode(value, f"the state dict of the network, under {name!r},")
    return {entry: text, **{f"{PART}{i}:{name}": tensor for i, tensor in enumerate(tensors)}}


def _unpacked_data(name: str, text: Tensor, packed: Mapping[str, Tensor]) -> Any:
    parts = (packed.get(f"{PART}{i}:{name}") for i in range(len(packed)))
    return decode(text, [part for part in parts if part is not None])


def _transient_buffers(model: nn.Module) -> Iterator[tuple[str, dict[str, Tensor | None], str]]:
    """Yield the name of each buffer that is not persistent, the dictionary that holds it, and its key in there."""
    for prefix, module in model.named_modules():
        for key in sorted({*module._non_persistent_buffers_set} & {*module._buffers.keys()}):
            yield f"{prefix}.{key}" if prefix else key, module._buffers, key


def _implied(module: nn.Module | None) -> dict[str, Any]:
    """Return the record of a module whose record is not stored: for modules of torch, that of the installed torch.

    A plugin's module is of the first version, so that the plugin may upgrade stored entries when it defines a second.
    """
    own = module is not None and type(module).__module__.startswith(("torch.", "torchvision."))
    return {"version": getattr(type(module), "_version", 1) if own else 1}
