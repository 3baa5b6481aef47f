"""The schema of artifact records that come from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from bench.core.canonical import JSON
from bench.core.kinds import Access, TaskKind
from bench.store.store import KEY

FILES = {
    TaskKind.DATA: {"data"},
    TaskKind.TRAIN: {"weights", "answers"},
    TaskKind.EMBED: {"weights", "answers", "fingerprint"},
    TaskKind.STEAL: {"weights", "answers"},
    TaskKind.FINGERPRINT: {"fingerprint"},
    TaskKind.SCORE: set[str](),
}
"""The files of each kind of artifact."""


def _count(value: JSON) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _real(value: JSON) -> bool:
    return _count(abs(value)) if type(value) is int else type(value) is float and math.isfinite(value)


def _duration(value: JSON) -> bool:
    return _real(value) and value >= 0


def _share(value: JSON) -> bool:
    return _real(value) and 0 <= value <= 1


def _text(value: JSON) -> bool:
    return isinstance(value, str) and len(value) <= 1000 and value.isprintable()


def _named(value: JSON) -> bool:
    return isinstance(value, dict)


def _key(value: JSON) -> bool:
    return isinstance(value, str) and KEY.fullmatch(value) is not None


def _classes(value: JSON) -> bool:
    return _count(value) and 2 <= value <= 1_000_000


def _shape(value: JSON) -> bool:
    good = isinstance(value, list) and len(value) == 3 and all(_count(n) and 0 < n <= 100_000 for n in value)
    return good and math.prod(value) <= 1 << 30


def _identity(value: JSON) -> bool:
    good = isinstance(value, dict) and value.keys() == {"name", "version", "params"}
    return good and _text(value["name"]) and _count(value["version"]) and _named(value["params"])


_NETWORK: dict[str, Callable[[JSON], bool]] = {
    "accuracy": _share, "architecture": _identity, "num_classes": _classes, "shape": _shape, "data": _key,
    "notes": _named,
}  # fmt: skip

FACTS: dict[str, dict[str, Callable[[JSON], bool]]] = {
    TaskKind.DATA: {
        "dataset": _text, "num_classes": _classes, "shape": _shape, "label_space": _text,
        "flip": lambda v: isinstance(v, bool), "crop": _count,
        "defender": _count, "attacker": _count, "probe": _count, "test": _count,
    },
    TaskKind.TRAIN: _NETWORK,
    TaskKind.EMBED: _NETWORK,
    TaskKind.STEAL: {**_NETWORK, "queries": _count},
    TaskKind.FINGERPRINT: {"notes": _named, "networks": _count, "helper_seconds": _duration},
    TaskKind.SCORE: {
        "score": _real, "queries": _count, "access": lambda v: v in ("", *Access),
        "agreement": lambda v: v is None or _share(v), "fingerprint_seconds": _duration,
        "fingerprint_networks": _count, "notes": _named,
    },
}  # fmt: skip
"""What the facts of each kind of artifact are, as `execute` makes them."""

MADE: dict[str, Callable[[JSON], bool]] = {
    "name": _text, "seconds": _duration, "device": _text, "threads": _count, "torch": _text, "machine": _text,
    "inputs": lambda v: _named(v) and all(_text(r) and _key(k) for r, k in v.items()),
    "sources": lambda v: _named(v) and all(_text(x) for pair in v.items() for x in pair),
}  # fmt: skip


def as_written(record: Mapping[str, JSON]) -> bool:
    """Say whether a record is one that bench writes: what it says is believed by whoever reads it later."""
    if record.keys() != {"key", "kind", "facts", "files", "made", "dropped"}:
        return False
    facts, files, dropped = FACTS.get(record["kind"]), record["files"], record["dropped"]
    if facts is None or files.keys() != {f"{n}.safetensors" for n in FILES[record["kind"]]}:
        return False
    return (
        all(f.keys() == {"bytes", "sha256"} and _count(f["bytes"]) and _key(f["sha256"]) for f in files.values())
        and isinstance(dropped, list)
        and all(isinstance(n, str) and n in files for n in dropped)
        and record["facts"].keys() == facts.keys()
        and all(good(record["facts"][name]) for name, good in facts.items())
        and record["made"].keys() == MADE.keys()
        and all(good(record["made"][name]) for name, good in MADE.items())
    )
