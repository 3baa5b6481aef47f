"""The letters A to J in 23 faces, 8x8, with the noise of `noisy_digits`, whose sources are transferred to them.

Rendered once by `make_noisy_letters.py` from the fonts that come with matplotlib, with seeded shifts, turns and
widths; `noisy_letters.npz` holds the clean images, because font rasters change between versions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import Dataset, Split, hookimpl

FILE = Path(__file__).with_name("noisy_letters.npz")
TRAIN_PER_CLASS = 120


def read() -> tuple[np.ndarray, np.ndarray]:
    """Read the clean letters, uint8 [1800, 8, 8], and their labels, int64 [1800]: 0 is A, 9 is J."""
    with np.load(FILE, allow_pickle=False) as file:
        return file["images"], file["labels"].astype(np.int64)


def divide(labels: np.ndarray, train: bool) -> np.ndarray:
    """Return the indices of the train part (the first 120 of each letter) or of the test part (the other 60)."""
    chosen = np.zeros(len(labels), bool)
    for label in range(10):
        chosen[np.flatnonzero(labels == label)[:TRAIN_PER_CLASS]] = True
    return np.flatnonzero(chosen == train)


def noisy(images: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Add Gaussian noise of deviation `sigma` to images in [0, 1]; clipped, uint8."""
    noise = np.random.RandomState(seed).standard_normal(images.shape)
    return np.rint(255 * np.clip(images + sigma * noise, 0, 1)).astype(np.uint8)


@dataclass(frozen=True)
class NoisyLetters(Dataset):
    """Letters A-J in many faces under Gaussian noise, 8x8 grey, bundled: 1,200 train, 600 test.

    `sigma` is the noise's deviation as a share of the pixel range, `seed` that of the noise.
    """

    name: str = "noisy_letters"
    version: int = 1
    sigma: float = 0.25
    seed: int = 2

    num_classes = 10
    shape = (1, 8, 8)
    crop = 1

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part; `root` is not needed."""
        import torch

        clean, labels = read()
        part = divide(labels, train)
        images = noisy(clean / 255, self.sigma, self.seed)[part]
        return Split(torch.from_numpy(images[:, None]), torch.from_numpy(labels[part]))


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the dataset."""
    return [NoisyLetters()]
