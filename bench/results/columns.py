"""The columns of `trials.csv`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

Kind: TypeAlias = type[str] | type[int] | type[float] | type[bool]
Record = TypeVar("Record")


@dataclass(frozen=True)
class Column(Generic[Record]):
    """A column of a CSV file: its name, the type of its values, and how a value is read from a record (None: empty)."""

    name: str
    type: Kind
    value: Callable[[Record], object]


COLUMNS = (
    "dataset", "source_architecture", "source_seed", "method", "method_version", "budget", "suspect_kind", "attack",
    "attack_version", "variant", "suspect_dataset", "suspect_architecture", "replicate", "status", "score", "queries",
    "access", "source_queries", "source_accuracy", "suspect_accuracy", "agreement", "fingerprint_seconds",
    "fingerprint_networks", "seconds", "key", "note", "error",
)  # fmt: skip
"""The columns of `trials.csv`, in their order; `docs/results.md` describes each."""

COUNTS = ("source_seed", "method_version", "budget", "attack_version", "replicate", "queries", "source_queries",
          "fingerprint_networks")  # fmt: skip

SHARES = ("source_accuracy", "suspect_accuracy", "agreement")

REALS = ("score", *SHARES, "fingerprint_seconds", "seconds")
