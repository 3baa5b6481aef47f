"""The columns of `trials.csv`."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from bench.core.canonical import JSON
from bench.core.kinds import Access, Status, SuspectKind
from bench.core.tasks import Trial

Kind: TypeAlias = type[str] | type[int] | type[float] | type[bool]
Record = TypeVar("Record")

DIGEST_LENGTH = 16
"""Hexadecimal digits of a digest in a row; the artifacts record all 64."""


@dataclass(frozen=True)
class Column(Generic[Record]):
    """A column of a CSV file: its name, the type of its values, and how a value is read from a record (None: empty).

    `absent` is the value in files that were written before the column existed; None: every file has it.
    No row leaves a `required` column empty; the values of a `share` are within 0 and 1. The columns of `identity`
    together identify a row; if there are `words`, every text is one of them or empty.
    """

    name: str
    type: Kind
    value: Callable[[Record], object]
    required: bool = False
    share: bool = False
    identity: bool = False
    words: tuple[str, ...] = ()
    absent: str | None = None


@dataclass(frozen=True)
class TrialRecord:
    """A trial with the outcome of its tasks; the facts of a task that is not done are empty."""

    trial: Trial
    status: str
    score: Mapping[str, JSON]
    source: Mapping[str, JSON]
    suspect: Mapping[str, JSON]
    fingerprint_seconds: float | None
    fingerprint_networks: int | None
    seconds: float | None
    note: str
    error: str


def _of_trial(
    name: str, kind: Kind, *, required: bool = False, identity: bool = True, words: tuple[str, ...] = ()
) -> Column[TrialRecord]:
    """Return a column whose value is the field of the trial with its name."""
    return Column(name, kind, lambda r: getattr(r.trial, name), required, identity=identity, words=words)


def _digest(what: str) -> Column[TrialRecord]:
    """Return the column of the digest of tensors that a score was computed from, cut to DIGEST_LENGTH.

    Results of older versions have none.
    """
    return Column(
        f"{what}_digest", str, lambda r: (r.score.get("digests") or {}).get(what, "")[:DIGEST_LENGTH], absent=""
    )


TRIAL_COLUMNS: tuple[Column[TrialRecord], ...] = (
    _of_trial("dataset", str, required=True),
    _of_trial("source_architecture", str, required=True),
    _of_trial("source_seed", int, required=True),
    _of_trial("method", str, required=True),
    _of_trial("method_version", int, required=True, identity=False),
    _of_trial("budget", int),
    Column("draw", int, lambda r: r.trial.draw, required=True, identity=True, absent="0"),
    _of_trial("suspect_kind", str, required=True, words=tuple(SuspectKind)),
    _of_trial("attack", str),
    _of_trial("attack_version", int, identity=False),
    _of_trial("variant", str, identity=False),
    _of_trial("suspect_dataset", str),
    _of_trial("suspect_architecture", str, required=True),
    _of_trial("replicate", int, required=True),
    Column("status", str, lambda r: r.status, required=True, words=tuple(s for s in Status if s != Status.BUSY)),
    Column("score", float, lambda r: r.score.get("score")),
    Column("queries", int, lambda r: r.score.get("queries")),
    Column("access", str, lambda r: r.score.get("access") or "", words=tuple(Access)),
    Column(
        "source_queries",
        int,
        lambda r: r.suspect.get("queries") if r.trial.suspect_kind == SuspectKind.STOLEN else None,
    ),
    Column("source_accuracy", float, lambda r: r.source.get("accuracy"), share=True),
    Column("suspect_accuracy", float, lambda r: r.suspect.get("accuracy"), share=True),
    Column("agreement", float, lambda r: r.score.get("agreement"), share=True),
    Column("fingerprint_seconds", float, lambda r: r.fingerprint_seconds),
    Column("fingerprint_networks", int, lambda r: r.fingerprint_networks),
    Column("seconds", float, lambda r: r.seconds),
    Column("key", str, lambda r: r.trial.score),
    _digest("suspect"),
    _digest("source"),
    _digest("fingerprint"),
    Column("note", str, lambda r: r.note),
    Column("error", str, lambda r: r.error),
    Column("origin", str, lambda _: "", absent=""),
)
"""The columns of `trials.csv`, in their order: the writer, the reader and `docs/results.md` follow from them."""

MODEL_COLUMNS: tuple[Column[TrialRecord], ...] = (
    Column("source_model", str, lambda r: r.trial.source_model, absent=""),
    Column("suspect_model", str, lambda r: r.trial.suspect_model, absent=""),
)
"""Further columns of files with described networks."""

COLUMNS = tuple(c.name for c in TRIAL_COLUMNS)
