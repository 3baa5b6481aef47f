"""The images of `noisy_digits`, each corrupted in one of several ways, index for index: same labels, same order.

The counterpart at 8x8 of the corruptions of D. Hendrycks, T. Dietterich: Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations, ICLR 2019, https://arxiv.org/abs/1903.12261; the strengths are ours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import Dataset, Split, hookimpl

TRAIN_PER_CLASS = 120


def read() -> tuple[np.ndarray, np.ndarray]:
    """Read the clean digits, float64 [1797, 8, 8] in [0, 1], and their labels, int64 [1797]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images / 16, bunch.target.astype(np.int64)


def divide(labels: np.ndarray, train: bool) -> np.ndarray:
    """Return the indices of the train part (120 of each class) or of the test part, as `noisy_digits` does."""
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


def impulse_noise(x: np.ndarray, severity: int, random: np.random.RandomState) -> np.ndarray:
    """Make 3 % of the pixels per step of severity black or white."""
    hit = random.random_sample(x.shape) < 0.03 * severity
    return np.where(hit, random.randint(0, 2, x.shape).astype(float), x)


def blur(x: np.ndarray, severity: int, random: np.random.RandomState) -> np.ndarray:
    """Move each pixel towards the mean of its 3x3 surroundings, by 0.15 per step."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)), mode="edge")
    total = np.zeros_like(x)
    for row in range(3):
        for column in range(3):
            total = total + padded[:, row : row + x.shape[1], column : column + x.shape[2]]
    return x + 0.15 * severity * (total / 9 - x)


def brightness(x: np.ndarray, severity: int, random: np.random.RandomState) -> np.ndarray:
    """Add 0.08 per step."""
    return x + 0.08 * severity


def contrast(x: np.ndarray, severity: int, random: np.random.RandomState) -> np.ndarray:
    """Move all pixels towards mid-grey, by 0.15 per step."""
    return x + 0.15 * severity * (0.5 - x)


CORRUPTIONS: dict[str, Callable[[np.ndarray, int, np.random.RandomState], np.ndarray]] = {
    f.__name__: f for f in (impulse_noise, blur, brightness, contrast)
}


@dataclass(frozen=True)
class NoisyDigitsC(Dataset):
    """Corrupted images of `noisy_digits`, 8x8 grey, bundled: 1,200 train, 597 test.

    Each image gets one of `corruptions`, drawn by `corruption_seed`, at `severity` 1 to 5. `sigma` and `seed` are
    those of `noisy_digits`: set them in both.
    """

    name: str = "noisy_digits_c"
    version: int = 1
    corruptions: tuple[str, ...] = ("impulse_noise", "blur", "brightness", "contrast")
    severity: int = 3
    corruption_seed: int = 3
    sigma: float = 0.25
    seed: int = 1

    num_classes = 10
    shape = (1, 8, 8)
    crop = 1
    label_space = "noisy_digits"

    def __post_init__(self) -> None:
        if not self.corruptions or not set(self.corruptions) <= set(CORRUPTIONS):
            raise ValueError(f"corruptions takes at least one of {', '.join(CORRUPTIONS)}")
        if not 1 <= self.severity <= 5:
            raise ValueError("severity goes from 1 to 5")

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part; `root` is not needed."""
        import torch

        clean, labels = read()
        x = noisy(clean, self.sigma, self.seed) / 255
        random = np.random.RandomState(self.corruption_seed)
        drawn = random.randint(0, len(self.corruptions), len(x))
        for number, corruption in enumerate(self.corruptions):
            x[drawn == number] = CORRUPTIONS[corruption](x[drawn == number], self.severity, random)
        images = np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)
        part = divide(labels, train)
        return Split(torch.from_numpy(images[part][:, None]), torch.from_numpy(labels[part]))


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the dataset."""
    return [NoisyDigitsC()]
