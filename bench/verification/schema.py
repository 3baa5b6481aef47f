"""The schemas of `commitment.json` and `evidence.json`, as typed structs. Nothing here imports torch."""

from typing import Annotated, Any

from msgspec import Meta, Struct

from bench.verification.kinds import FindingKind, VerdictKind

FORMAT = 1
"""The format of both files."""

Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Share = Annotated[float, Meta(ge=0, le=1)]
Level = Annotated[float, Meta(gt=0, lt=1)]
Count = Annotated[int, Meta(ge=0)]


class FingerprintFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One draw of a method's fingerprint: its file in `fingerprints/`, the digest of its tensors, its task's seed."""

    file: str
    digest: Digest
    draw: Count
    seed: Count


class CommittedMethod(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A method that was chosen before anybody is accused. `queries` are those of all draws for one suspect."""

    name: str
    version: int
    params: dict[str, Any]
    access: str
    queries: Count
    source_digest: str
    distribution: str = ""
    fingerprints: list[FingerprintFile] = []


class CommittedData(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The dataset of a commitment, and its division; `digest` is of the tensors of all its parts."""

    name: str
    version: int
    params: dict[str, Any]
    classes: Count
    shape: tuple[int, int, int]
    label_names: list[str]
    label_space: str
    images: dict[str, Any]
    split_seed: int
    digest: Digest


class CommittedSource(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The model of the owner: its name, the digest of its tensors (or of its file), and its accuracy on `test`."""

    name: str
    architecture: str
    settings: dict[str, Any]
    format: str
    digest: Digest
    accuracy: float | None = None


class Commitment(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `commitment.json` holds. The tables beside it (`nulls.csv`, `copies.csv`, `transports.csv`) are in `files`.

    `files` has the SHA-256 of each other file of the folder. `made` has the time (UTC), versions and the machine.
    """

    format: int
    data: CommittedData
    source: CommittedSource
    seed: int
    methods: list[CommittedMethod]
    files: dict[str, Digest]
    made: dict[str, Any]
    spec: dict[str, Any]


class NullScore(Struct, frozen=True, kw_only=True):
    """A row of `nulls.csv`: an innocent, and the score of one method: the mean over the method's draws."""

    model: str
    family: str
    digest: str
    accuracy: float | None
    method: str
    score: float


class CopyScore(Struct, frozen=True, kw_only=True):
    """A row of `copies.csv`: a known copy, and the score of one method. It says what a verdict would find."""

    model: str
    attack: str
    digest: str
    accuracy: float | None
    method: str
    score: float


class TransportScore(Struct, frozen=True, kw_only=True):
    """A row of `transports.csv`: the score of the source itself when queries or answers are changed on the way.

    `p_value` is that of the source among the innocents, who were asked directly.
    """

    transport: str
    method: str
    score: float | None
    p_value: float | None


class Finding(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a check noticed. `blocks` names the methods (or "all") about which no verdict is possible because of it."""

    kind: FindingKind
    text: str
    blocks: list[str] = []
    figures: dict[str, Any] = {}


class MethodResult(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one method found. `reason` says why it has no score, or why its score is not used; empty: it is used.

    `p_value` holds if the suspect was made like one of the innocents, `p_unseen` if it is of a family that is not among
    them; `adjusted` is Holm's p-value over the methods that are used. `draws` has the score of each draw.
    """

    method: str
    queries: Count
    score: float | None = None
    draws: list[float] = []
    p_value: Share | None = None
    p_unseen: Share | None = None
    adjusted: Share | None = None
    adjusted_unseen: Share | None = None
    reason: str = ""


class Suspect(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The suspect: its description without paths, the digest of its content, and how accurate it is.

    `accuracy` is the share of `asked` labelled check images that it answers rightly.
    """

    name: str
    description: dict[str, Any]
    digest: str
    output: str
    accuracy: float | None = None
    asked: Count = 0


class Judgement(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What follows from scores and innocents alone: `bench verify --replay` computes it again.

    `reasons` has why there is no verdict, one sentence each. `unseen` is the verdict for families that are not
    among the innocents.
    """

    verdict: VerdictKind
    unseen: VerdictKind
    alpha: Level
    innocents: Count
    families: Count
    methods: list[MethodResult]
    reasons: list[str] = []


class Evidence(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `evidence.json` holds. `made` has the time (UTC), versions, runtime, precision and the machine."""

    format: int
    commitment: Digest
    suspect: Suspect
    judgement: Judgement
    findings: list[Finding]
    queries: Count
    seconds: float
    made: dict[str, Any]
