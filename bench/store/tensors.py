"""Tensors as safetensors files: checked, saved, read."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor

ALIGNMENT = 64
"""Bytes to which torch aligns a tensor's memory on a CPU."""
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")
"""What safetensors writes of an error of the operating system."""


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tensor_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, types, shapes and bytes of tensors on the CPU: the same in any file format."""
    import torch

    hashed = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode())
        flat = tensor.flatten()
        if flat.stride() != (1,):  # a view in bytes needs a step of one, which one or no element need not have
            flat = flat.clone(memory_format=torch.contiguous_format)
        hashed.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    return hashed.hexdigest()


def has_memory(tensor: Tensor) -> bool:
    """Return True if a tensor's memory is allocated: reading one whose storage was freed would kill the process."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_nested or tensor.is_meta or not tensor.numel():
        return True
    last = tensor.storage_offset() + sum((n - 1) * step for n, step in zip(tensor.shape, tensor.stride(), strict=True))
    storage = tensor.untyped_storage()
    return storage.nbytes() >= (last + 1) * tensor.element_size() and storage.data_ptr() != 0


def savable(tensors: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """Return tensors in the form of safetensors: on the CPU, contiguous, not sharing memory. BenchError for others."""
    import torch

    result: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        if not isinstance(name, str) or name == "__metadata__" or not name.isprintable():
            raise BenchError(f"{what} holds an entry under the name {name!r:.80}: it must be text that can be printed")
        if not isinstance(tensor, torch.Tensor):
            raise BenchError(f"{what} holds {name!r}, a {type(tensor).__name__}: it must be a tensor")
        if odd := _unsupported(tensor):
            raise BenchError(f"{what} holds {name!r:.80}, a tensor {odd}: it must be an ordinary one")
        plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
        storage = plain.untyped_storage()
        if storage.nbytes() > plain.nbytes or (plain.numel() and storage.data_ptr() in seen):
            plain = plain.clone()
        seen.add(plain.untyped_storage().data_ptr())
        result[name] = plain
    return result


def _unsupported(tensor: Tensor) -> str:
    """Return what prevents a tensor from being saved, or an empty text."""
    import torch

    if tensor.layout is not torch.strided or tensor.is_nested:
        return "that is sparse or nested"
    if tensor.is_quantized or tensor.dtype in (torch.complex32, torch.complex128):
        return f"of {tensor.dtype}"
    return "without memory" if tensor.is_meta or not has_memory(tensor) else ""


def read_tensors(path: Path, device: str = "cpu") -> dict[str, Tensor]:
    """Read a file of tensors into memory that is aligned as torch's own. SafetensorError if its header is not valid.

    safetensors maps the file, so a tensor's address follows from the length of the header, and matrix products add in
    another order at another address: the same weights answered differently in their last digits
    (`findings/safetensors_header_moves_answers.sh`). Any tensor that is not copied keeps the map of the whole file in
    memory, so all are copied or none.
    """
    from safetensors import SafetensorError

    try:
        tensors = _loaded(path, device)
    except TypeError as error:  # safetensors compares shapes with sizes, but torch's integers end at 2**63
        raise SafetensorError("a shape is too large") from error
    if all(tensor.data_ptr() % ALIGNMENT == 0 for tensor in tensors.values()):
        return tensors
    return {name: tensor.clone() for name, tensor in tensors.items()}


def _loaded(path: Path, device: str) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load, load_file

    try:
        return load_file(path, device=device)
    except (OSError, SafetensorError) as error:
        if not isinstance(error, OSError) and not SYSTEM_ERROR.search(str(error)):
            raise
        # a file system without memory maps; OSError if it cannot be read either
        return {name: tensor.to(device) for name, tensor in load(path.read_bytes()).items()}


def write_tensors(tensors: dict[str, Tensor], path: Path, what: str) -> None:
    """Write a file of tensors. BenchError if they cannot be saved, OSError if the disk cannot take them."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(tensors, path)
    except (SafetensorError, KeyError) as error:
        # safetensors wraps the operating system's errors in text; all others are caused by the tensors
        number = SYSTEM_ERROR.search(str(error))
        if number is None:
            raise BenchError(f"{what} cannot be saved: {str(error).splitlines()[0]}") from error
        raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
