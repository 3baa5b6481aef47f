"""Handwritten digits, 8x8: the 1,797 images that come with scikit-learn.

E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49 (its test part). Each pixel counts the black dots of a 4x4 block, 0 to 16.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import Dataset, Split, hookimpl

TRAIN_PER_CLASS = 120


def read() -> tuple[np.ndarray, np.ndarray]:
    """Read the images, int64 [1797, 8, 8] from 0 to 16, and their labels, int64 [1797]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.int64), bunch.target.astype(np.int64)


def divide(labels: np.ndarray, train: bool) -> np.ndarray:
    """Return the indices of the train part (120 of each class) or of the test part (the other 597)."""
    # numpy has frozen RandomState's streams: the division is the same in every version, on every platform.
    random = np.random.RandomState(0)
    chosen = np.zeros(len(labels), bool)
    for label in range(10):
        chosen[random.permutation(np.flatnonzero(labels == label))[:TRAIN_PER_CLASS]] = True
    return np.flatnonzero(chosen == train)


@dataclass(frozen=True)
class Digits(Dataset):
    """Handwritten digits, 8x8 grey, bundled: 1,200 train, 597 test."""

    name: str = "digits"
    version: int = 1

    num_classes = 10
    shape = (1, 8, 8)
    crop = 1

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part; `root` is not needed."""
        import torch

        counts, labels = read()
        part = divide(labels, train)
        images = ((counts[part] * 255 + 8) // 16).astype(np.uint8)
        return Split(torch.from_numpy(images[:, None]), torch.from_numpy(labels[part]))


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the dataset."""
    return [Digits()]
