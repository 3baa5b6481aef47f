"""The closed sets of words of commitments and verdicts."""

from bench.core.kinds import _Word


class VerdictKind(_Word):
    """What a verdict states."""

    EVIDENCE = "evidence of copying"
    NO_EVIDENCE = "no evidence"
    CANNOT_TELL = "cannot tell"


class FindingKind(_Word):
    """What a check of a suspect, or of the way to it, noticed. Findings stand in the report."""

    ACCURACY = "accuracy"
    PREPROCESSING = "preprocessing"
    BATCH = "batch"
    HISTORY = "history"
    TRANSPORT = "transport"
    ANSWERS = "answers"
    ENDPOINT = "endpoint"
    LABEL_SPACE = "label_space"
    POPULATION = "population"
