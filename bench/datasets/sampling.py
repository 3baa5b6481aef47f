"""Divide labelled images: class-balanced, seeded, disjoint, equal on every platform."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def halve(labels: Indices, seed: int, purpose: str) -> tuple[Indices, Indices]:
    """Divide the indices of labelled images into two class-balanced halves, each in increasing order.

    It depends only on the labels, the seed and `purpose` (`train`, `test`, ...). The odd image of a class goes to the
    first half for even classes and to the second for odd ones.
    """
    halves: tuple[list[Indices], list[Indices]] = ([], [])
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        members = members[_random(seed, purpose, int(label)).permutation(len(members))]
        middle = (len(members) + (1 if label % 2 == 0 else 0)) // 2
        halves[0].append(members[:middle])
        halves[1].append(members[middle:])
    return _joined(halves[0]), _joined(halves[1])


def balanced(labels: Indices, count: int, seed: int, purpose: str) -> Indices:
    """Choose `count` indices, in increasing order, with equal numbers per class if possible; all if count is 0."""
    if count <= 0 or count >= len(labels):
        return np.arange(len(labels))
    queues = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        queues.append(members[_random(seed, purpose, int(label)).permutation(len(members))])
    rounds = max(len(q) for q in queues)
    in_turn = [q[i] for i in range(rounds) for q in queues if i < len(q)]
    return np.sort(np.asarray(in_turn[:count], dtype=np.int64))


def _random(seed: int, purpose: str, label: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([seed, *purpose.encode(), label]))


def _joined(parts: list[Indices]) -> Indices:
    return np.sort(np.concatenate(parts)).astype(np.int64) if parts else np.zeros(0, np.int64)
