"""Summarise the scores behind a cell, small enough for a page; those of different sources are never pooled."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from bench.analysis.groups import Matched, Rows, Samples
from bench.core.canonical import JSON
from bench.stats.auc import Floats

Curves: TypeAlias = dict[tuple[str, ...], list[Floats]]
"""The ROCs of cells, the mean first, in all detail."""


class Detail(NamedTuple):
    """How much is shown: up to `dots` models as dots, more in `bins`; so many `corners` of a ROC, and `sources`."""

    dots: int
    bins: int
    corners: int
    sources: int


LEVELS = (Detail(64, 32, 48, 10), Detail(24, 16, 24, 5), Detail(0, 12, 12, 2))
"""From the most to the least detail; a page takes the first with which it stays small enough."""


@dataclass
class Distributions:
    """The scores behind cells. `models` numbers the names of suspects, `irrelevant` the lists that cells share.

    `names` are those of described suspects by row; nothing where there are none.
    """

    samples: Samples
    variants: Sequence[str]
    detail: Detail
    names: Sequence[str] = ()
    models: dict[str, int] = field(default_factory=dict)
    irrelevant: dict[tuple[float, ...], int] = field(default_factory=dict)
    known: dict[bytes, int] = field(default_factory=dict)
    """The numbers of lists in `irrelevant`, by their rows."""
    curves: Curves = field(default_factory=dict)

    def of(self, dataset: str, source: str, method: str, attack: str) -> JSON:
        """Summarise the scores of one cell; return None if it has no AUC. Of several draws, the first is shown."""
        matched = self.samples.matched(self.samples.of(dataset, source, method, attack))
        if matched is None:
            return None
        dots = max(rows.shape[1] for s in matched.samples for rows in s[1:]) <= self.detail.dots
        lines = [(s.stolen[0], s.irrelevant[0]) for s in matched.samples[: self.detail.sources]]
        spread = {"dots": [[self._named(s), self._shared(i)] for s, i in lines]} if dots else self._bins(lines)
        draws = max(len(s.stolen) for s in matched.samples)
        rocs = self._rocs((dataset, source, method, attack), matched)
        return {**spread, "seeds": list(matched.seeds), "roc": rocs, **({"draws": draws} if draws > 1 else {})}

    def _shared(self, rows: Rows) -> int:
        """Return the number of a list of irrelevant models, which the attacks of a method share."""
        key = rows.tobytes()
        if key not in self.known:
            self.known[key] = self.irrelevant.setdefault(tuple(self._named(rows)), len(self.irrelevant))
        return self.known[key]

    def _bins(self, lines: Sequence[tuple[Rows, Rows]]) -> dict[str, JSON]:
        """Count the scores of a source in bins of equal width from the lowest to the highest score shown."""
        scores = [(self.samples.score[s], self.samples.score[i]) for s, i in lines]
        low = min(float(min(s.min(), i.min())) for s, i in scores)
        high = max(float(max(s.max(), i.max())) for s, i in scores)
        top = high if high > low else low + 1.0
        edges = 4 * np.linspace(low / 4, top / 4, self.detail.bins + 1)  # the whole range may be above all floats
        counts = [[np.histogram(kind, edges)[0].tolist() for kind in pair] for pair in scores]
        return {"from": _short(low), "to": _short(float(edges[-1])), "bins": counts}

    def _named(self, rows: Rows) -> list[float]:
        """Return scores in ascending order, each followed by the number of its model."""
        result: list[float] = []
        for row in rows[np.argsort(self.samples.score[rows], kind="stable")]:
            architecture = self.samples.architectures[self.samples.architecture[row]]
            variant = f" {self.variants[row]}" if self.variants[row] else ""
            described = self.names[row] if self.names else ""
            name = described or f"{architecture} {self.samples.replicate[row]}{variant}"
            result += [_short(float(self.samples.score[row])), self.models.setdefault(name, len(self.models))]
        return result

    def _rocs(self, cell: tuple[str, ...], matched: Matched) -> list[list[float]]:
        """Return ROCs as FPR, TPR, FPR, TPR, …: the mean over sources, and each one if there are several.

        That of a source is the mean over the draws of its fingerprint.
        """
        if cell not in self.curves:
            score = self.samples.score
            draws = [zip(s.stolen, s.irrelevant, strict=True) for s in matched.samples]
            each = [mean_roc([roc(score[s], score[i]) for s, i in by_draw]) for by_draw in draws]
            self.curves[cell] = [mean_roc(each), *(each if len(each) > 1 else [])]
        return [self._flat(curve) for curve in self.curves[cell][: 1 + self.detail.sources]]

    def _flat(self, curve: Floats) -> list[float]:
        if len(curve) > self.detail.corners:
            curve = curve[np.unique(np.linspace(0, len(curve) - 1, self.detail.corners).round().astype(int))]
        return list(curve.round(3).ravel().tolist())


def roc(stolen: Floats, irrelevant: Floats) -> Floats:
    """Return the corners of a ROC, [n, 2] of FPR and TPR from (0, 0) to (1, 1); equal scores are one slanting step."""
    values = np.unique(np.concatenate([stolen, irrelevant]))[::-1]
    above = [1 - np.searchsorted(np.sort(kind), values, "left") / len(kind) for kind in (irrelevant, stolen)]
    corners = np.concatenate([[[0.0, 0.0]], np.stack(above, axis=1)])
    steps = np.diff(corners, axis=0)
    straight = np.abs(steps[1:, 0] * steps[:-1, 1] - steps[1:, 1] * steps[:-1, 0]) < 1e-12
    kept: Floats = corners[np.concatenate([[True], ~straight, [True]])]
    return kept


def mean_roc(curves: Sequence[Floats]) -> Floats:
    """Average the TPRs of ROCs at each FPR at which one has a corner: [n, 2]. The area is the mean of theirs."""
    if len(curves) == 1:
        return curves[0]
    fprs = np.unique(np.concatenate([c[:, 0] for c in curves]))
    ends = [np.mean([_height(c, fprs, upper) for c in curves], axis=0) for upper in (False, True)]
    both = np.stack([np.repeat(fprs, 2), np.stack(ends, axis=1).ravel()], axis=1)
    different = np.concatenate([[True], (np.abs(np.diff(both, axis=0)) > 1e-12).any(axis=1)])
    corners: Floats = both[different]
    return corners


def _height(curve: Floats, fprs: Floats, upper: bool) -> Floats:
    """Return the TPRs at some FPRs: the upper or the lower end of a vertical step."""
    x, y = curve.T
    after, before = np.searchsorted(x, fprs, "left"), np.searchsorted(x, fprs, "right") - 1
    width = x[after] - x[before]
    share = np.where(width > 0, (fprs - x[before]) / np.where(width > 0, width, 1), 0)
    between = y[before] + share * (y[after] - y[before])
    heights: Floats = np.where(before >= after, y[before if upper else after], between)
    return heights


def _short(value: float) -> float:
    """Return a number with five digits, or all of them where it would be rounded to infinity."""
    rounded = float(f"{value:.5g}")
    return rounded if math.isfinite(rounded) else value
