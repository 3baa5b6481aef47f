"""Four bundled datasets of 8x8 grey images: handwritten digits, and digits and letters under noise.

`digits`: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49: its test part, the 1,797 images that come with scikit-learn.

`noisy_digits`: the same images and division under noise: hard enough that a small network errs on one image in seven.
Clean ones are too easy: fingerprints live on what networks get wrong.

`noisy_digits_c`: the images of `noisy_digits`, each corrupted in one of several ways, index for index. It is the
counterpart at 8x8 of the corruptions of D. Hendrycks, T. Dietterich: Benchmarking Neural Network Robustness to Common
Corruptions and Perturbations, ICLR 2019, https://arxiv.org/abs/1903.12261; the strengths are ours.

`noisy_letters`: the letters A to J in 23 faces, with the noise of `noisy_digits`, whose sources are transferred to
them. Rendered once by `docs/make_noisy_letters.py` from the fonts that come with matplotlib, with seeded shifts, turns
and widths; `noisy_letters.npz` holds the clean images, because font rasters change between versions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import Dataset, Split, hookimpl

LETTERS = Path(__file__).with_name("noisy_letters.npz")
TRAIN_PER_CLASS = 120


def digits() -> tuple[np.ndarray, np.ndarray]:
    """Read counts of the black dots in 4x4 blocks, int64 [1797, 8, 8] from 0 to 16, and labels, int64 [1797]."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return bunch.images.astype(np.int64), bunch.target.astype(np.int64)


def letters() -> tuple[np.ndarray, np.ndarray]:
    """Read the clean letters, uint8 [1800, 8, 8], and their labels, int64 [1800]: 0 is A, 9 is J."""
    with np.load(LETTERS, allow_pickle=False) as file:
        return file["images"], file["labels"].astype(np.int64)


def part(images: np.ndarray, labels: np.ndarray, train: bool, shuffled: bool = True) -> Split:
    """Return the train part (120 images of each class, the first or, if shuffled, any) or the test part (the others).

    images: [N, 8, 8] in 0 to 255.
    """
    import torch

    # numpy has frozen RandomState's streams: division and noise are the same in every version, on every platform.
    random = np.random.RandomState(0)
    chosen = np.zeros(len(labels), bool)
    for label in range(10):
        members = np.flatnonzero(labels == label)
        chosen[(random.permutation(members) if shuffled else members)[:TRAIN_PER_CLASS]] = True
    kept = chosen == train
    return Split(torch.from_numpy(images[kept, None].astype(np.uint8)), torch.from_numpy(labels[kept]))


def to_bytes(images: np.ndarray) -> np.ndarray:
    """Convert images to uint8, clipped to [0, 1] before."""
    return np.rint(255 * np.clip(images, 0, 1)).astype(np.uint8)


def noisy(images: np.ndarray, sigma: float, seed: int) -> np.ndarray:
    """Add Gaussian noise of deviation `sigma` to images in [0, 1]; clipped, uint8."""
    return to_bytes(images + sigma * np.random.RandomState(seed).standard_normal(images.shape))


class SmallImages(Dataset):
    """Bundled images: `root` is not needed to load them."""

    num_classes = 10
    shape = (1, 8, 8)
    crop = 1


@dataclass(frozen=True)
class Digits(SmallImages):
    """Handwritten digits, 8x8 grey, bundled: 1,200 train, 597 test."""

    name: str = "digits"
    version: int = 1

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part."""
        counts, labels = digits()
        return part((counts * 255 + 8) // 16, labels, train)


@dataclass(frozen=True)
class NoisyDigits(SmallImages):
    """Handwritten digits under Gaussian noise, 8x8 grey, bundled: 1,200 train, 597 test.

    `sigma` is the noise's deviation as a share of the pixel range, `seed` that of the noise.
    """

    name: str = "noisy_digits"
    version: int = 1
    sigma: float = 0.25
    seed: int = 1

    related = {"transfer": "noisy_letters", "corrupted": "noisy_digits_c"}

    def load(self, root: Path, train: bool) -> Split:
        """Compute the train or the test part."""
        counts, labels = digits()
        return part(noisy(counts / 16, self.sigma, self.seed), labels, train)


@dataclass(frozen=True)
class NoisyLetters(SmallImages):
    """Letters A-J in many faces under Gaussian noise, 8x8 grey, bundled: 1,200 train, 600 test.

    `sigma` is the noise's deviation as a share of the pixel range, `seed` that of the noise.
    """

    name: str = "noisy_letters"
    version: int = 1
    sigma: float = 0.25
    seed: int = 2

    def load(self, root: Path, train: bool) -> Split:
        """Compute the train or the test part."""
        clean, labels = letters()
        return part(noisy(clean / 255, self.sigma, self.seed), labels, train, shuffled=False)


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
class NoisyDigitsC(SmallImages):
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

    label_space = "noisy_digits"

    def __post_init__(self) -> None:
        if not self.corruptions or not set(self.corruptions) <= set(CORRUPTIONS):
            raise ValueError(f"corruptions takes at least one of {', '.join(CORRUPTIONS)}")
        if not 1 <= self.severity <= 5:
            raise ValueError("severity goes from 1 to 5")

    def load(self, root: Path, train: bool) -> Split:
        """Compute the train or the test part."""
        counts, labels = digits()
        x = noisy(counts / 16, self.sigma, self.seed) / 255
        random = np.random.RandomState(self.corruption_seed)
        drawn = random.randint(0, len(self.corruptions), len(x))
        for number, corruption in enumerate(self.corruptions):
            x[drawn == number] = CORRUPTIONS[corruption](x[drawn == number], self.severity, random)
        return part(to_bytes(x), labels, train)


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the four datasets."""
    return [Digits(), NoisyDigits(), NoisyDigitsC(), NoisyLetters()]
