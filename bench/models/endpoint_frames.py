"""Frames between a process and the one that asks an endpoint for it.

Each is eight bytes of length, big-endian, a JSON object, then eight bytes of length and the bytes of an array.
"""

import json
import struct
from typing import IO, Any

import numpy as np

from bench.core.canonical import JSON

LENGTH = struct.Struct(">Q")


def write_frame(stream: IO[bytes], head: dict[str, JSON], values: Any = None) -> None:
    """Write an object and, if there is one, an array of float32, float64 or int64."""
    raw = b"" if values is None else np.ascontiguousarray(values).tobytes()
    kind = {} if values is None else {"shape": list(values.shape), "kind": values.dtype.str}
    text = json.dumps({**head, **kind}).encode()
    stream.write(LENGTH.pack(len(text)) + text + LENGTH.pack(len(raw)) + raw)
    stream.flush()


def read_frame(stream: IO[bytes]) -> tuple[dict[str, JSON], Any] | None:
    """Read an object and its array, if it has one; None at the end of the stream."""
    parts = []
    for _ in range(2):
        size = stream.read(LENGTH.size)
        if len(size) < LENGTH.size:
            return None
        (length,) = LENGTH.unpack(size)
        parts.append(stream.read(length))
        if len(parts[-1]) < length:
            return None
    head = json.loads(parts[0])
    values = np.frombuffer(parts[1], head.pop("kind")).reshape(head.pop("shape")) if "kind" in head else None
    return head, values
