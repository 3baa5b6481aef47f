"""Canonical JSON of plain data, from which keys and digests are computed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeAlias

JSON: TypeAlias = Any
"""None, bool, int, float, str, or lists and string-keyed dictionaries of these."""

SCALARS = frozenset({str, int, float, bool, type(None)})


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


def seed_of(key: str) -> int:
    """Return the seed of a task: the first 60 bits of its key."""
    return int(key[:15], 16)
