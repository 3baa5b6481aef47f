"""The score of a suspect by a method, checked."""

import math
import numbers

import numpy as np
from torch import Tensor

from bench.api.components import Method
from bench.core.errors import BenchError, NotApplicable
from bench.training.oracle import Suspect


class UnusableScore(BenchError):
    """A method returned a score that is no finite number."""


def budget(method: Method) -> int | None:
    """Return the number of queries that a method may ask; None if it declares no budget."""
    return int(getattr(method, method.budget)) if method.budget else None


def checked_score(method: Method, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
    """Return a method's score of a suspect; NotApplicable if it gives none, UnusableScore if it is no finite number."""
    score: object = method.score(fingerprint, suspect)
    if score is None:
        raise NotApplicable(f"{method.name} gives no score for this suspect")
    if isinstance(score, Tensor | np.ndarray) and score.nbytes == score.itemsize:  # one number
        score = score.item()
    if isinstance(score, bool) or not isinstance(score, numbers.Real):
        raise UnusableScore(f"method {method.name!r}: score must return a float, not {score!r:.80}")
    if not math.isfinite(score):
        raise UnusableScore(f"method {method.name!r}: the score of this suspect is {float(score)}")
    return float(score)
