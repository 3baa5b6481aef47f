"""Handwritten digits, 8x8, under noise: hard enough that a small network errs on one image in seven.

The images and their division are those of `digits` (Alpaydin, Kaynak, 1998, https://doi.org/10.24432/C50P49).
Clean ones are too easy: fingerprints live on what networks get wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import Dataset, Split, hookimpl

TRAIN_PER_CLASS = 120


def read() -> tuple[np.ndarray, np.ndarray]:
    """Read the images, float64 [1797, 8, 8] in [0, 1], and their labels, int64 [1797]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images / 16, bunch.target.astype(np.int64)


def divide(labels: np.ndarray, train: bool) -> np.ndarray:
    """Return the indices of the train part (120 of each class) or of the test part (the other 597)."""
    # numpy has frozen RandomState's streams: division and noise are the same in every version, on every platform.
    random = np.random.RandomState(0)
    chosen = np.zeros(len(labels), bool)
    for label in range(10):
        chosen[random.permutation(np.flatnonzero(labels == label))[:TRAIN_PER_CLASS]] = True
    return np.flatnonzero(chosen == train)


def noisy(images: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Add Gaussian noise of deviation `sigma` to images in [0, 1]; clipped, uint8."""
    noise = np.random.RandomState(seed).standard_normal(images.shape)
    return np.rint(255 * np.clip(images + sigma * noise, 0, 1)).astype(np.uint8)


@dataclass(frozen=True)
class NoisyDigits(Dataset):
    """Handwritten digits under Gaussian noise, 8x8 grey, bundled: 1,200 train, 597 test.

    `sigma` is the noise's deviation as a share of the pixel range, `seed` that of the noise.
    """

    name: str = "noisy_digits"
    version: int = 1
    sigma: float = 0.25
    seed: int = 1

    num_classes = 10
    shape = (1, 8, 8)
    crop = 1
    related = {"transfer": "noisy_letters", "corrupted": "noisy_digits_c"}

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part; `root` is not needed."""
        import torch

        clean, labels = read()
        part = divide(labels, train)
        images = noisy(clean, self.sigma, self.seed)[part]
        return Split(torch.from_numpy(images[:, None]), torch.from_numpy(labels[part]))


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the dataset."""
    return [NoisyDigits()]
