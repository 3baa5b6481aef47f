"""Permutation tests of the difference of two methods' AUCs, and Holm's correction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.stats.auc import SLACK, BySource, Floats, by_source, placements

DRAWS = 10_000
"""Permutations that a test draws."""

BLOCK = 1_000
"""Of them at a time."""


class Scores(NamedTuple):
    """One method's scores in one cell: vectors of one source, or by source."""

    stolen: BySource
    irrelevant: BySource


Pair: TypeAlias = tuple[Scores, Scores]
"""Method A and method B."""


@dataclass(frozen=True)
class Comparison:
    """AUC of A minus AUC of B, and the p-values of "A is better" and of "A and B differ"."""

    difference: float
    greater: float
    two_sided: float


def paired_permutation(a: Scores, b: Scores, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Test two methods that judged the same suspects, in the same order.

    Within each source scores become ranks among its suspects. Were the methods alike, a suspect's two ranks could be
    swapped: each stolen suspect's are, by the toss of a coin, and each irrelevant model's, for all sources at once,
    being one model. Bandos, Rockette, Gur, A permutation test sensitive to differences in areas for comparing ROC
    curves from a paired design, Statistics in Medicine 24, 2005. ValueError where the suspects differ in number.
    """
    return paired_permutations([(a, b)], draws, seed)[0]


def unpaired_permutation(a: Scores, b: Scores, draws: int = DRAWS, seed: int = 0) -> Comparison:
    """Test two methods with stolen suspects of their own (a watermark's) that share the irrelevant models.

    Within each source a score becomes its place among that method's irrelevant scores, which means the same for any
    number of stolen suspects. Were the methods alike, an irrelevant model's two places could be swapped (for all
    sources at once), and the stolen suspects of both be dealt again to A and B, within their source.
    ValueError where the irrelevant models or the sources differ in number.
    """
    return unpaired_permutations([(a, b)], draws, seed)[0]


def paired_permutations(pairs: Sequence[Pair], draws: int = DRAWS, seed: int = 0) -> list[Comparison]:
    """Make many paired tests, those of the same number of suspects with the same coins, in one matrix product.

    Swapping needs no recomputed AUCs: in psi(stolen, irrelevant) = 1, 1/2, 0 the difference of the AUCs is linear in
    the coins, with the placements among both methods' ranks as weights.
    """
    ranks = {id(scores): scores for pair in pairs for scores in pair}
    ranked = {key: _ranked(scores) for key, scores in ranks.items()}
    weights = [_swap_weights(ranked[id(a)], ranked[id(b)]) for a, b in pairs]
    found: list[Comparison] = [Comparison(0.0, 1.0, 1.0)] * len(pairs)
    for alike in _alike(map(len, weights)):
        each = np.stack([weights[i] for i in alike], axis=1)
        tally = _Tally(np.array([weights[i].sum() for i in alike]))
        for coins in _coins(len(each), draws, seed):
            tally.add(coins @ each)
        for i, comparison in zip(alike, tally.comparisons(), strict=True):
            found[i] = comparison
    return found


def _ranked(scores: Scores) -> list[tuple[Floats, Floats]]:
    """Turn scores into ranks among all suspects of a source: of the stolen ones, of the irrelevant ones."""
    found = []
    for stolen, irrelevant in zip(*by_source(*scores), strict=True):
        everybody = np.concatenate([stolen, irrelevant])
        found.append((placements(stolen, everybody), placements(irrelevant, everybody)))
    return found


def _swap_weights(a: Sequence[tuple[Floats, Floats]], b: Sequence[tuple[Floats, Floats]]) -> Floats:
    """Return the weight of each coin in the difference of the AUCs, for stolen suspects and irrelevant models."""
    if [(len(x), len(y)) for x, y in a] != [(len(u), len(v)) for u, v in b]:
        raise ValueError("a paired test needs two methods that judged the same suspects")
    n = len(a[0][1])
    weights, shared = [], np.zeros(n)
    for (x, y), (u, v) in zip(a, b, strict=True):
        innocents, suspects = np.concatenate([y, v]), np.concatenate([x, u])
        weights.append((placements(x, innocents) - placements(u, innocents)) / len(x))
        shared += (placements(v, suspects) - placements(y, suspects)) / n
    each: Floats = np.concatenate([*weights, shared]) / len(a)
    return each


def unpaired_permutations(pairs: Sequence[Pair], draws: int = DRAWS, seed: int = 0) -> list[Comparison]:
    """Make many unpaired tests, those of the same numbers of suspects with the same coins and deals."""
    prepared = [_Dealt.of(a, b) for a, b in pairs]
    found: list[Comparison] = [Comparison(0.0, 1.0, 1.0)] * len(pairs)
    for alike in _alike((*d.sizes, d.n) for d in prepared):
        group = [prepared[i] for i in alike]
        tally = _Tally(np.array([d.observed for d in group]))
        generator = np.random.default_rng([seed, 1])
        for coins in _coins(group[0].n, draws, seed):
            tally.add(_dealt(group, coins, generator))
        for i, comparison in zip(alike, tally.comparisons(), strict=True):
            found[i] = comparison
    return found


@dataclass(frozen=True)
class _Dealt:
    """What an unpaired test needs of a pair, for each source: the weights of deals, of coins, and of both together."""

    sizes: tuple[tuple[int, int], ...]
    n: int
    observed: float
    both: list[Floats]
    apart: list[Floats]

    @staticmethod
    def of(a: Scores, b: Scores) -> _Dealt:
        (stolen_a, irrelevant_a), (stolen_b, irrelevant_b) = by_source(*a), by_source(*b)
        if irrelevant_a.shape != irrelevant_b.shape:
            raise ValueError("an unpaired test needs two methods that judged the same irrelevant models")
        sources, n = irrelevant_a.shape
        observed, both, apart = 0.0, [], []
        for s in range(sources):
            places = [placements(stolen_a[s], irrelevant_a[s]), placements(stolen_b[s], irrelevant_b[s])]
            observed += float(places[0].mean() - places[1].mean()) / sources
            dealt = np.concatenate(places)
            over_a, over_b = (_psi(dealt, placements(row, row)) for row in (irrelevant_a[s], irrelevant_b[s]))
            both.append((over_a + over_b).mean(axis=1) / 2)
            apart.append((over_a - over_b) / (2 * n))
        sizes = tuple(zip(map(len, stolen_a), map(len, stolen_b), strict=True))
        return _Dealt(sizes, n, observed, both, apart)


def _dealt(group: Sequence[_Dealt], coins: Floats, generator: np.random.Generator) -> Floats:
    """Return the differences of the AUCs after one deal a row of coins: [draws, tests]."""
    drawn = np.zeros((len(coins), len(group)))
    for s, (m, k) in enumerate(group[0].sizes):
        both = np.stack([d.both[s] for d in group], axis=1)
        apart = np.stack([d.apart[s].sum(axis=0) for d in group], axis=1)
        keys = generator.random((len(coins), m + k))
        to_a = (keys <= np.partition(keys, m - 1, axis=1)[:, m - 1 : m]).astype(np.float64)
        drawn += to_a @ both * (1 / m + 1 / k) - both.sum(axis=0) / k + coins @ apart / k
        if m != k:
            for t, d in enumerate(group):
                drawn[:, t] += np.einsum("bn,bn->b", to_a @ d.apart[s], coins) * (1 / m - 1 / k)
    return drawn / len(group[0].sizes)


def _alike(sizes: Iterable[object]) -> list[list[int]]:
    """Put the numbers of things of one size together."""
    groups: dict[object, list[int]] = {}
    for index, size in enumerate(sizes):
        groups.setdefault(size, []).append(index)
    return list(groups.values())


def _psi(values: Floats, others: Floats) -> Floats:
    higher: Floats = (np.sign(values[:, None] - others[None, :]) + 1) / 2
    return higher


def _coins(count: int, draws: int, seed: int) -> Iterator[Floats]:
    """Return the coins of all draws, +1 or -1, in blocks of rows that bound the memory: [some, count]."""
    tosses = _tosses(count, draws, seed)
    for start in range(0, draws, BLOCK):
        yield tosses[start : start + BLOCK].astype(np.float64) * 2 - 1


@lru_cache(maxsize=4)
def _tosses(count: int, draws: int, seed: int) -> NDArray[np.int8]:
    return np.random.default_rng([seed, 0, count]).integers(0, 2, (draws, count), dtype=np.int8)


class _Tally:
    """Counts the draws in which the difference is as large as the one observed, for several tests at once."""

    def __init__(self, observed: Floats) -> None:
        self.observed, self.draws = observed, 0
        self.greater, self.two_sided = np.zeros(len(observed), np.int64), np.zeros(len(observed), np.int64)

    def add(self, drawn: Floats) -> None:
        self.draws += len(drawn)
        self.greater += (drawn >= self.observed - SLACK).sum(axis=0)
        self.two_sided += (np.abs(drawn) >= np.abs(self.observed) - SLACK).sum(axis=0)

    def comparisons(self) -> list[Comparison]:
        # The order at hand is one of the permutations: no p-value is 0.
        return [
            Comparison(float(d), (1 + int(g)) / (1 + self.draws), (1 + int(t)) / (1 + self.draws))
            for d, g, t in zip(self.observed, self.greater, self.two_sided, strict=True)
        ]


def beats_baselines(
    method: Scores, baselines: Sequence[Scores], paired: bool = True, draws: int = DRAWS, seed: int = 0
) -> float:
    """Return the p-value of "better than every baseline": the largest against one of them, one-sided.

    An intersection–union test, which needs no correction for the number of baselines (Berger, Technometrics 24, 1982).
    paired: whether the method judged the baselines' stolen suspects, or has its own (a watermark).
    """
    if not baselines:
        raise ValueError("there is no baseline to beat")
    test = paired_permutation if paired else unpaired_permutation
    return max(test(method, baseline, draws, seed).greater for baseline in baselines)


def holm(pvalues: ArrayLike) -> Floats:
    """Adjust the p-values of one table so that all of them hold at once: [k], same order, at most 1.

    Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    p = np.asarray(pvalues, dtype=np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values are a vector of numbers in [0, 1]")
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted
