"""Permutation tests of the difference of two methods' AUCs at given sources."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from bench.stats.auc import SLACK, BySource, Floats, by_source, placements

DRAWS = 10_000
"""Permutations that a test draws."""
BLOCK = 1_000
"""Permutations that are computed at a time."""


class Scores(NamedTuple):
    """One method's scores in one cell: vectors of one source, or by source."""

    stolen: BySource
    irrelevant: BySource


Pair: TypeAlias = tuple[Scores, Scores]
"""Method A and method B."""
Prepared = TypeVar("Prepared")


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

    def test(alike: Sequence[Floats]) -> list[Comparison]:
        weights = np.stack(alike, axis=1)
        observed = np.array([w.sum() for w in alike])
        return _comparisons(observed, (coins @ weights for coins in _coins(len(weights), draws, seed)))

    return _by_size([_swap_weights(_ranked(a), _ranked(b)) for a, b in pairs], len, test)


def _shared(scores: Scores) -> tuple[list[Floats], Floats]:
    """Return scores by source, the irrelevant models' as a matrix: they are shared by all sources."""
    stolen, irrelevant = by_source(*scores)
    if len({len(row) for row in irrelevant}) > 1:
        raise ValueError("every source needs the scores of the same irrelevant models")
    return stolen, np.stack(irrelevant)


def _ranked(scores: Scores) -> list[tuple[Floats, Floats]]:
    """Turn scores into ranks among all suspects of a source: of the stolen ones, of the irrelevant ones."""
    found = []
    for stolen, irrelevant in zip(*_shared(scores), strict=True):
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

    def test(alike: Sequence[_Dealt]) -> list[Comparison]:
        generator = np.random.default_rng([seed, 1])
        drawn = (_dealt(alike, coins, generator) for coins in _coins(alike[0].n, draws, seed))
        return _comparisons(np.array([d.observed for d in alike]), drawn)

    return _by_size([_Dealt.of(a, b) for a, b in pairs], lambda d: (d.sizes, d.n), test)


@dataclass(frozen=True)
class _Dealt:
    """What an unpaired test needs of a pair, for each source: the weights of deals, of coins, and of both together."""

    sizes: tuple[tuple[int, int], ...]
    n: int
    observed: float
    both: list[Floats]
    apart: list[Floats]

    @staticmethod
    def of(a: Scores, b: Scores) -> "_Dealt":
        (stolen_a, irrelevant_a), (stolen_b, irrelevant_b) = _shared(a), _shared(b)
        if irrelevant_a.shape != irrelevant_b.shape:
            raise ValueError("an unpaired test needs two methods that judged the same irrelevant models")
        sources, n = irrelevant_a.shape
        observed, both, apart = 0.0, [], []
        for x, u, y, v in zip(stolen_a, stolen_b, irrelevant_a, irrelevant_b, strict=True):
            own_a, own_b = placements(x, y), placements(u, v)
            observed += float(own_a.mean() - own_b.mean()) / sources
            dealt = np.concatenate([own_a, own_b])[:, None]
            over_a, over_b = (np.heaviside(dealt - placements(row, row), 0.5) for row in (y, v))
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


def _by_size(
    prepared: Sequence[Prepared], size: Callable[[Prepared], object], test: Callable[[list[Prepared]], list[Comparison]]
) -> list[Comparison]:
    """Test together what has one size; return the comparisons in the order of what was prepared."""
    groups: dict[object, list[int]] = {}
    for index, one in enumerate(prepared):
        groups.setdefault(size(one), []).append(index)
    found: dict[int, Comparison] = {}
    for alike in groups.values():
        found |= zip(alike, test([prepared[i] for i in alike]), strict=True)
    return [found[i] for i in range(len(prepared))]


def _coins(count: int, draws: int, seed: int) -> Iterator[Floats]:
    """Return the coins of all draws, +1 or -1, in blocks of rows that bound the memory: [some, count]."""
    tosses = _tosses(count, draws, seed)
    for start in range(0, draws, BLOCK):
        yield tosses[start : start + BLOCK].astype(np.float64) * 2 - 1


@lru_cache(maxsize=4)
def _tosses(count: int, draws: int, seed: int) -> NDArray[np.int8]:
    return np.random.default_rng([seed, 0, count]).integers(0, 2, (draws, count), dtype=np.int8)


def _comparisons(observed: Floats, blocks: Iterable[Floats]) -> list[Comparison]:
    """Count the draws in which the difference is as large as the one observed, for several tests at once.

    The observed order is one of the permutations: no p-value is 0.
    """
    draws, greater, two_sided = 1, np.ones(len(observed)), np.ones(len(observed))
    for drawn in blocks:
        draws += len(drawn)
        greater += (drawn >= observed - SLACK).sum(axis=0)
        two_sided += (np.abs(drawn) >= np.abs(observed) - SLACK).sum(axis=0)
    return list(map(Comparison, observed.tolist(), (greater / draws).tolist(), (two_sided / draws).tolist()))


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
