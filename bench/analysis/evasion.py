"""The test accuracy that a thief gives up until a method loses sight of his copies.

An attack with several strengths makes copies of each. At one source, a strength has a loss (the source's test accuracy
minus the copies', mean) and, for each copy and draw of the fingerprint, a margin: the score minus the threshold at an
FPR of at most FPR. Between strengths that follow each other the thief may choose: there loss and margins change
linearly. The TPR is the share of positive margins, and his price the smallest loss at which it is below FOUND. It is
infinite where that is never so: all that is known then is that no strength sufficed.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.analysis.groups import Matched, Sample, Samples
from bench.stats.auc import SLACK, Floats
from bench.stats.medians import Median, median
from bench.stats.rates import NotReported, threshold_at

FPR, FOUND = 0.05, 0.5
"""The rate of false alarms, and the TPR below which a method has lost sight of the copies."""


@dataclass(frozen=True)
class Evasion:
    """The smallest losses of accuracy at which a method no longer finds copies, of each source.

    A loss is a share of the test images, negative where the copy is better than the source, and infinite where no
    strength sufficed; `most` is the largest loss that was tried, a mean over sources of that of each one. At
    `at_weakest` sources the weakest strength sufficed already: a weaker one might do, for less.
    """

    losses: tuple[float, ...]
    most: float
    at_weakest: int = 0

    @property
    def median(self) -> Median:
        """Return the median over sources with its interval."""
        return median(self.losses)

    @property
    def never(self) -> int:
        """Count the sources at which no strength sufficed."""
        return sum(map(math.isinf, self.losses))


def price(losses: Sequence[float], margins: Sequence[Floats]) -> float:
    """Return the smallest loss at which the TPR is below FOUND; infinity: it never is.

    losses: of each strength, weakest first; margins: of each strength, those of its copies and draws, in one order.
    """
    found = [loss for loss, margin in zip(losses, margins, strict=True) if _tpr(margin) < FOUND]
    for (loss, margin), (other, its) in itertools.pairwise(zip(losses, margins, strict=True)):
        crossing = (margin > 0) != (its > 0)
        changes = sorted({0.0, 1.0, *(margin[crossing] / (margin - its)[crossing]).tolist()})
        for start, end in itertools.pairwise(changes):
            middle = (start + end) / 2
            if _tpr((1 - middle) * margin + middle * its) < FOUND:
                found += [(1 - share) * loss + share * other for share in (start, end)]
    return min(found, default=math.inf)


def _tpr(margins: Floats) -> float:
    return float((margins > 0).mean())


def evasion(samples: Samples, matched: Matched | None, strengths: int) -> Evasion | NotReported | None:
    """Compute the losses of the sources of a cell; None if its attack has one strength, or no source has all of them.

    NotReported: too few irrelevant models for the TPR.
    """
    if matched is None or strengths < 2:
        return None
    least = min(sample.irrelevant.shape[1] for sample in matched.samples)
    if least < (needs := math.ceil(1 / FPR - SLACK)):
        return NotReported(needs, least)
    paths = [path for sample in matched.samples if (path := _path(samples, sample, strengths))]
    if not paths:
        return None
    most = sum(max(losses) for losses, _ in paths) / len(paths)
    at_weakest = sum(_tpr(margins[0]) < FOUND for _, margins in paths)
    return Evasion(tuple(price(*path) for path in paths), most, at_weakest)


def _path(samples: Samples, sample: Sample, strengths: int) -> tuple[list[float], list[Floats]] | None:
    """Return the losses and the margins of the strengths at one source, weakest first; None if one of these is missing.

    Where some strengths have more copies of an architecture than others, those that all have count.
    """
    copy, number = np.divmod(samples.replicate[sample.stolen[0]], strengths)
    copy += samples.architecture[sample.stolen[0]] * (copy.max() + 1)
    whole = [c for c in np.unique(copy) if (copy == c).sum() == strengths]
    if not whole:
        return None
    kept = np.isin(copy, whole)
    thresholds = np.array([[threshold_at(scores, FPR)] for scores in samples.score[sample.irrelevant]])
    columns = [np.flatnonzero(kept & (number == n)) for n in range(strengths)]
    ordered = [sample.stolen[:, c[np.argsort(copy[c])]] for c in columns]
    losses = [float(samples.lost[rows[0]].mean()) for rows in ordered]
    if any(map(math.isnan, losses)):
        return None
    return losses, [(samples.score[rows] - thresholds).ravel() for rows in ordered]
