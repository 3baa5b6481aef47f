"""Plain data with tensors in them as JSON and a list of tensors, and back: never a pickle."""

import json
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.core.canonical import JSON
from bench.core.errors import BenchError

CONTAINERS: dict[str, type] = {cls.__name__: cls for cls in (list, tuple, set, frozenset, dict, OrderedDict)}
"""What may hold plain data, by its name in the JSON."""
ACCEPTED = "numbers, text, bytes, tensors, and lists, tuples, sets and dictionaries of these"


def encode(value: object, what: str) -> tuple[Tensor, list[Tensor]]:
    """Return plain data as JSON in a uint8 tensor [bytes], and its tensors. BenchError names what is not plain."""
    tensors: list[Tensor] = []
    try:
        text = json.dumps(_packed(value, tensors), separators=(",", ":"))
    except RecursionError:
        raise BenchError(f"{what} holds data that contain themselves: the store takes {ACCEPTED}") from None
    except TypeError as error:
        raise BenchError(f"{what} holds {error}: the store takes {ACCEPTED}, and never a pickle") from None
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8), tensors


def decode(text: Tensor, tensors: Sequence[Tensor] = ()) -> Any:
    """Return the data that `encode` returned as JSON and tensors."""
    return _unpacked(json.loads(text.cpu().numpy().tobytes()), tensors)


def _packed(value: object, tensors: list[Tensor]) -> JSON:
    kind = type(value)
    if value is None or kind in (bool, int, float, str):
        return value
    if isinstance(value, Tensor):
        tensors.append(value.detach())
        return {"tensor": len(tensors) - 1}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if CONTAINERS.get(kind.__name__) is not kind:
        raise TypeError(f"a {kind.__module__}.{kind.__qualname__}")
    items: Any = value
    if isinstance(value, dict):
        return {kind.__name__: [[_packed(k, tensors), _packed(v, tensors)] for k, v in value.items()]}
    packed = [_packed(v, tensors) for v in items]
    return {kind.__name__: sorted(packed, key=json.dumps) if isinstance(value, set | frozenset) else packed}


def _unpacked(packed: JSON, tensors: Sequence[Tensor]) -> Any:
    if not isinstance(packed, dict):
        return packed
    ((kind, content),) = packed.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "bytes":
        return bytes.fromhex(content)
    if issubclass(CONTAINERS[kind], dict):
        return CONTAINERS[kind]((_unpacked(k, tensors), _unpacked(v, tensors)) for k, v in content)
    return CONTAINERS[kind](_unpacked(v, tensors) for v in content)
