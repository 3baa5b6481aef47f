"""The closed sets of words of commitments and verdicts."""

from bench.core.kinds import _Word

ALPHA = 0.01
"""How often, at most, an innocent is accused, unless another level is asked for."""
DIRECT = "direct"
"""The row of `transports.csv` in which nothing was changed."""


class VerdictKind(_Word):
    """What a verdict states."""

    EVIDENCE = "evidence of copying"
    NO_EVIDENCE = "no evidence"
    CANNOT_TELL = "cannot tell"


class FindingKind(_Word):
    """What a check of a suspect, or of the way to it, noticed. Findings stand in the report."""

    ACCURACY = "accuracy"
    DAMAGE = "damage"
    PREPROCESSING = "preprocessing"
    BATCH = "batch"
    HISTORY = "history"
    TRANSPORT = "transport"
    ANSWERS = "answers"
    ENDPOINT = "endpoint"
    LABEL_SPACE = "label_space"
    IDENTITY = "identity"
    CODE = "code"


class Origin(_Word):
    """What `bench judge` found about a fingerprint, the best first."""

    EXACT = "regenerated exactly"
    ELSEWHERE = "regenerated elsewhere"
    """It is the same up to the rounding of another machine."""
    CANNOT_TELL = "cannot tell"
    REFUTED = "refuted"


class Ruling(_Word):
    """What `bench judge` found about evidence."""

    HOLDS = "holds"
    REFUTED = "refuted"
    CANNOT_TELL = "cannot tell"
