"""The closed sets of words of a description."""

from bench.core.kinds import SuspectKind, _Word


class ModelRole(_Word):
    """What a described network is for."""

    SOURCE = "source"
    SUSPECT = "suspect"
    IRRELEVANT = SuspectKind.IRRELEVANT.value
    STOLEN = SuspectKind.STOLEN.value
    SURROGATE = "surrogate"
    REFERENCE = "reference"


class ModelFormat(_Word):
    """Formats of a described network."""

    SAFETENSORS = "safetensors"
    ONNX = "onnx"
    TORCHSCRIPT = "torchscript"
    PT2 = "pt2"
    ANSWERS = "answers"
    HTTP = "http"


class ModelOutput(_Word):
    """What a described network answers with."""

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    LOG_PROBABILITIES = "log_probabilities"
    LABELS = "labels"


class Rounding(_Word):
    """How the numbers of answers are rounded."""

    NONE = "none"
    DECIMALS = "decimals"
    LOGARITHMS = "logarithms"
    """The natural logarithms are decimals."""
    BFLOAT16 = "bfloat16"
    LABELS = "labels"
    """Only zeros and ones."""
