"""The schema of artifact records that come from elsewhere."""

import math
import sys
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from bench.core.canonical import JSON
from bench.core.kinds import Access, TaskKind
from bench.core.tasks import NOT_APPLICABLE

FILES = {
    TaskKind.DATA: {"data"},
    TaskKind.TRAIN: {"weights", "answers"},
    TaskKind.EMBED: {"weights", "answers", "fingerprint"},
    TaskKind.STEAL: {"weights", "answers"},
    TaskKind.FINGERPRINT: {"fingerprint"},
    TaskKind.SCORE: set[str](),
}
"""The files of each kind of artifact."""
OPTIONAL = {TaskKind.DATA: {"files"}, TaskKind.MODEL: {"answers"}}
"""Files that some artifacts of a kind have."""

LARGEST = 1 << 53

Count = Annotated[int, Meta(ge=0, lt=LARGEST)]
Real = (
    Annotated[int, Meta(gt=-LARGEST, lt=LARGEST)]
    | Annotated[float, Meta(ge=-sys.float_info.max, le=sys.float_info.max)]
)
Duration = Count | Annotated[float, Meta(ge=0, le=sys.float_info.max)]
Share = Annotated[float, Meta(ge=0, le=1)]
Text = Annotated[str, Meta(max_length=1000)]
Key = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Classes = Annotated[int, Meta(ge=2, le=1_000_000)]
Side = Annotated[int, Meta(gt=0, le=100_000)]
Shape = tuple[Side, Side, Side]


class _Strict(Struct, forbid_unknown_fields=True):
    """A JSON object with exactly these names, whose texts can be printed."""

    def __post_init__(self) -> None:
        _require_printable(v for n in self.__struct_fields__ if isinstance(v := getattr(self, n), str))


def _require_printable(texts: Iterable[str]) -> None:
    if not all(text.isprintable() for text in texts):
        raise ValueError("a text holds control characters")


class _Identity(_Strict):
    name: Text
    version: Count
    params: dict[str, Any]


class _ImageFacts(_Strict):
    num_classes: Classes
    shape: Shape

    def __post_init__(self) -> None:
        super().__post_init__()
        if math.prod(self.shape) > 1 << 30:
            raise ValueError("the shape is too large")


class _DataFacts(_ImageFacts):
    dataset: Text
    label_space: Text
    flip: bool
    crop: Count
    defender: Count
    attacker: Count
    probe: Count
    test: Count


class _NetworkFacts(_ImageFacts):
    accuracy: Share
    architecture: _Identity
    data: Key
    notes: dict[str, Any]


class _ModelFacts(_ImageFacts):
    accuracy: Share | None
    architecture: _Identity | None
    data: Key
    notes: dict[str, Any]
    model: dict[str, Any]


class _Rebuilt(_Strict):
    attack: _Identity
    answers: Annotated[str, Meta(pattern=rf"\A({'|'.join(a for a in Access if a != Access.WEIGHTS)})\Z")]
    mean: list[float]
    std: list[float]


class _StolenFacts(_NetworkFacts):
    queries: Count
    rebuilt: _Rebuilt | None = None


class _FingerprintFacts(_Strict):
    notes: dict[str, Any]
    networks: Count
    helper_seconds: Duration


class _ScoreFacts(_Strict):
    score: Real
    queries: Count
    access: Annotated[str, Meta(pattern=rf"\A({'|'.join(Access)})?\Z")]
    agreement: Share | None
    fingerprint_seconds: Duration
    fingerprint_networks: Count
    notes: dict[str, Any]
    digests: dict[Text, Key] = {}


class _Inapplicable(_Strict):
    not_applicable: Text


FACTS: dict[TaskKind, type[_Strict]] = {
    TaskKind.DATA: _DataFacts,
    TaskKind.TRAIN: _NetworkFacts,
    TaskKind.MODEL: _ModelFacts,
    TaskKind.EMBED: _NetworkFacts,
    TaskKind.STEAL: _StolenFacts,
    TaskKind.FINGERPRINT: _FingerprintFacts,
    TaskKind.SCORE: _ScoreFacts,
}
"""The facts of each kind of artifact, as `execution` writes them."""


class _Made(_Strict):
    name: Text
    seconds: Duration
    device: Text
    threads: Count
    torch: Text
    machine: Text
    inputs: dict[Text, Key]
    sources: dict[Text, Text]

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_printable([*self.inputs, *self.sources, *self.sources.values()])


class _File(_Strict):
    bytes: Count
    sha256: Key
    tensors: Key | None = None


class _Record(_Strict):
    key: Key
    kind: TaskKind
    facts: dict[str, Any]
    files: dict[str, _File]
    made: _Made
    dropped: list[str]


def is_valid(record: Mapping[str, JSON]) -> bool:
    """Return True if a record is one that bench writes: its readers rely on its content."""
    try:
        found = convert(record, _Record)
        applicable = NOT_APPLICABLE not in found.facts
        convert(found.facts, FACTS[found.kind] if applicable else _Inapplicable)
    except (ValidationError, ValueError, RecursionError):  # ValueError: a text that is not Unicode
        return False
    names = {name.removesuffix(".safetensors") for name in found.files if name.endswith(".safetensors")}
    expected = FILES.get(found.kind, set()) | (names & OPTIONAL.get(found.kind, set())) if applicable else set()
    return names == expected and len(names) == len(found.files) and found.files.keys() >= set(found.dropped)
