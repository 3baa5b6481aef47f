"""The closed sets of words that the host compares. Every member is a `str`: it is written and hashed as its value."""

from enum import StrEnum


class _Word(StrEnum):
    """A word that messages quote as any other string."""

    __repr__ = str.__repr__


class Status(_Word):
    """State of a task, and of a row of `trials.csv`."""

    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    """An input failed."""
    NOT_APPLICABLE = "not_applicable"
    """Rows only: there can be no score, for a reason that the planner knew or a plugin gave."""
    NOT_RUN = "not_run"
    """Rows only: the run ended before this trial."""
    BUSY = "busy"
    """Tasks only, never final: another process is computing it."""


class FailureCause(_Word):
    """Causes of a failure that the scheduler acts on."""

    NONE = ""
    MEMORY = "memory"
    DEVICE = "device"
    """The process lost its device, or can open no more files: another process can go on."""
    WORKER = "worker"
    """The process cannot execute this task; another one may."""
    STORE = "store"
    """The store cannot be read or written."""
    DAMAGED = "damaged"
    """An input is damaged or missing."""


class CellStatus(_Word):
    """State of a cell of a table."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    """Some trials have no score, or there are none at all."""
    NOT_APPLICABLE = "not_applicable"
    NOT_TRAINED = "not_trained"
    """No stolen suspect is better than chance: it has no AUC."""


class Verdict(_Word):
    """Verdicts on the AUC that a paper reports, in the order of every count."""

    AGREES = "agrees"
    DIFFERS = "differs"
    TOO_FEW = "too few models to tell"
    ONE_SOURCE = "one source: no verdict"
    NO_FIGURE = "no figure"
    AGREES_ELSEWHERE = "agrees (other networks)"
    DIFFERS_ELSEWHERE = "differs (other networks)"

    def elsewhere(self) -> "Verdict":
        """Return the verdict for networks other than the paper's, which neither confirms nor contradicts it."""
        others = {Verdict.AGREES: Verdict.AGREES_ELSEWHERE, Verdict.DIFFERS: Verdict.DIFFERS_ELSEWHERE}
        return others.get(self, self)


class SuspectKind(_Word):
    """What a suspect is in truth."""

    STOLEN = "stolen"
    IRRELEVANT = "irrelevant"
    UNDECIDED = "undecided"
    """A described network that is to be judged."""


class ComponentKind(_Word):
    """Kinds of component, in the order of every list."""

    DATASET = "dataset"
    ARCHITECTURE = "architecture"
    ATTACK = "attack"
    METHOD = "method"


class TaskKind(_Word):
    """Kinds of task."""

    DATA = "data"
    TRAIN = "train"
    MODEL = "model"
    """Measures a described network."""
    EMBED = "embed"
    STEAL = "steal"
    FINGERPRINT = "fingerprint"
    SCORE = "score"


class Role(_Word):
    """Roles of a task's result."""

    DATA = "data"
    SOURCE = "source"
    STOLEN = "stolen"
    IRRELEVANT = "irrelevant"
    SURROGATE = "surrogate"
    REFERENCE = "reference"
    FINGERPRINT = "fingerprint"
    SCORE = "score"


class Evidence(_Word):
    """Kinds of evidence of a method, in the order of every list."""

    FINGERPRINT = "fingerprint"
    """Read off a finished source, and compared with other networks."""
    WATERMARK = "watermark"
    """Put into the source while it is trained, and compared with other networks."""
    EXACT_TEST = "exact test"
    """A p-value of each suspect by itself."""


class Accuser(_Word):
    """What a malicious accuser may commit to."""

    HONEST = "honest"
    TUNED = "tuned"
    """A fingerprint that he tuned on an innocent."""
    REGENERATED = "regenerated"
    """A tuned fingerprint that `bench judge` does not refute."""


class Access(_Word):
    """What a network may be asked for, weakest first."""

    LABELS = "labels"
    PROBABILITIES = "probabilities"
    LOGITS = "logits"
    WEIGHTS = "weights"

    @staticmethod
    def rank(access: str) -> int:
        """Return the position of an access in this order; -1 if it is empty, ValueError if it is unknown."""
        return tuple(Access).index(Access(access)) if access else -1
