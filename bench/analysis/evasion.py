"""The test accuracy that a thief gives up until a method loses sight of his copies.

An attack with several strengths makes copies of each. At one source, a strength has a loss (the source's test accuracy
minus the copies', mean) and a TPR (at an FPR of at most FPR, mean over copies and draws of the fingerprint). Strengths
in their order, joined by straight lines, are the thief's choices; his price is the smallest loss on them at which the
TPR is below FOUND. It is infinite where that is never so: all that is known then is that no strength sufficed.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.analysis.groups import Matched, Sample, Samples
from bench.stats.medians import Median, median
from bench.stats.rates import NotReported, Rate, tpr_at_fpr

FPR, FOUND = 0.05, 0.5
"""The rate of false alarms, and the TPR below which a method has lost sight of the copies."""


@dataclass(frozen=True)
class Evasion:
    """The smallest losses of accuracy at which a method no longer finds copies, of each source.

    A loss is a share of the test images, negative where the copy is better than the source, and infinite where no
    strength sufficed; `most` is the largest loss that was tried, a mean over sources of that of each one.
    """

    losses: tuple[float, ...]
    most: float

    @property
    def median(self) -> Median:
        """Return the median over sources with its interval."""
        return median(self.losses)

    @property
    def never(self) -> int:
        """Count the sources at which no strength sufficed."""
        return sum(map(math.isinf, self.losses))


def price(points: Sequence[tuple[float, float]]) -> float:
    """Return the smallest loss at which the TPR is below FOUND; infinity: it never is.

    points: loss and TPR of each strength, weakest first; between two of them both change linearly.
    """
    losses = [loss for loss, tpr in points if tpr < FOUND]
    for (loss, tpr), (other, its) in itertools.pairwise(points):
        if (tpr < FOUND) != (its < FOUND):
            losses.append(loss + (tpr - FOUND) / (tpr - its) * (other - loss))
    return min(losses, default=math.inf)


def evasion(samples: Samples, matched: Matched | None, strengths: int) -> Evasion | NotReported | None:
    """Compute the losses of the sources of a cell; None if its attack has one strength, or no source has all of them.

    NotReported: too few irrelevant models for the TPR.
    """
    if matched is None or strengths < 2:
        return None
    found = [p for sample in matched.samples if (p := _points(samples, sample, strengths))]
    missing = [p for p in found if isinstance(p, NotReported)]
    if missing:
        return min(missing, key=lambda m: m.has)
    paths = [p for p in found if not isinstance(p, NotReported)]
    if not paths:
        return None
    most = sum(max(loss for loss, _ in path) for path in paths) / len(paths)
    return Evasion(tuple(map(price, paths)), most)


def _points(samples: Samples, sample: Sample, strengths: int) -> list[tuple[float, float]] | NotReported:
    """Return loss and TPR of each strength at one source, weakest first; nothing where one of them has no score."""
    number, points = samples.replicate[sample.stolen[0]] % strengths, []
    for strength in range(strengths):
        rows = sample.stolen[:, number == strength]
        if not rows.size:
            return []
        found = tpr_at_fpr(list(samples.score[rows]), list(samples.score[sample.irrelevant]), FPR)
        if not isinstance(found, Rate):
            return found
        points.append((float(samples.lost[rows[0]].mean()), found.rate))
    return points
