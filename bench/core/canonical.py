"""Canonical JSON of plain data, from which keys and digests are computed."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, TypeAlias

JSON: TypeAlias = Any
"""None, bool, int, float, str, or lists and string-keyed dictionaries of these."""

SCALARS = frozenset({str, int, float, bool, type(None)})

DEEPEST = 16
"""Levels of lists and dictionaries in data that comes from plugins."""


def _plain(value: object) -> JSON:
    if type(value) in SCALARS or isinstance(value, str):
        return value
    if isinstance(value, dict | Mapping):  # `dict` first: a check of an abstract class takes ten times as long
        return {str(k): v if type(v) in SCALARS else _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    return value


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: object) -> str:
    """Return the canonical JSON of plain data: keys sorted, no spaces, tuples as lists; ValueError for NaN."""
    return _CANONICAL.encode(_plain(value))


def digest(value: object) -> str:
    """Return the SHA-256 of the canonical JSON of plain data, in hexadecimal."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def plain_data(value: Any, depth: int = DEEPEST) -> JSON:
    """Return plain data of its own: scalars of numpy and tensors without dimensions as Python's, tuples as lists.

    ValueError says what is no plain data: arrays, objects, NaN, integers beyond 64 bits, names that are no text.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # also of an Enum, whose own text is its name
    if not depth:
        raise ValueError(f"it has more than {DEEPEST} levels")
    if isinstance(value, Mapping):
        for name in value:
            if not isinstance(name, str):
                raise ValueError(f"the name {name!r:.40} is no text")
        return {str.__str__(name): plain_data(v, depth - 1) for name, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain_data(v, depth - 1) for v in value]
    if getattr(value, "ndim", None) == 0 and callable(getattr(value, "item", None)):
        try:
            return plain_data(value.item(), depth - 1)
        except RuntimeError:  # a tensor without memory
            raise ValueError(f"a {type(value).__name__} without a value is none") from None
    if isinstance(value, int):
        if abs(value) >> 64:
            raise ValueError("an integer beyond 64 bits is none")
        return int(value)
    if isinstance(value, Real):
        if not math.isfinite(value):
            raise ValueError(f"{float(value)} is none")
        return float(value)
    shape = f" of shape {list(value.shape)}" if hasattr(value, "shape") else ""
    raise ValueError(f"a {type(value).__name__}{shape} is none")


def seed_of(key: str) -> int:
    """Return the seed of a task: the first 60 bits of its key."""
    return int(key[:15], 16)
