"""CIFAR10, CIFAR100 and two datasets made from them: colour pictures, 32x32.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Files, layout and checksums are torchvision's.

`cifar100` has the fine labels, `cifar100_first10` the fine labels 0 to 9 (apple to bottle, in alphabetical order): the
target of Transfer-A and -L in J. Guan, J. Liang, R. He: Are You Stealing My Model? Sample Correlation for
Fingerprinting Deep Neural Networks, NeurIPS 2022, https://arxiv.org/abs/2210.15427.

`cifar10_c` holds the pictures of `cifar10` under common corruptions, same labels, same order; or the published
CIFAR-10-C. D. Hendrycks, T. Dietterich: Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations, ICLR 2019, https://arxiv.org/abs/1903.12261. The published pictures are all *test* pictures. So the
default computes its own from both parts of CIFAR10: one seeded corruption per picture, with strengths after theirs.
"""

import hashlib
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import BenchError, Dataset, Download, Split, hookimpl

TRAIN10 = {
    "cifar-10-batches-py/data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
    "cifar-10-batches-py/data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
    "cifar-10-batches-py/data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
    "cifar-10-batches-py/data_batch_4": "md5:634d18415352ddfa80567beed471001a",
    "cifar-10-batches-py/data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST10 = {"cifar-10-batches-py/test_batch": "md5:40351d587109b95175f43aff81a1287e"}
TRAIN100 = {"cifar-100-python/train": "md5:16019d7e3df5f24257cddd939b257f8d"}
TEST100 = {"cifar-100-python/test": "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"}


def archive(url: str, checksum: str) -> tuple[Download, ...]:
    """Declare the archive at an address, with its members below the data root."""
    return (Download(url, url.rpartition("/")[2], checksum, "."),)


CLEAN10 = archive("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "md5:c58f30108f718f92721af3b95e74349a")
CLEAN100 = archive("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "md5:eb9058c3a382ffc7106e4002c42a8d85")
CORRUPTED = archive("https://zenodo.org/records/2535967/files/CIFAR-10-C.tar", "md5:56bf5dcef84df0e2308c6dcbcbbd8499")


class CIFAR(Dataset):
    """Colour pictures of things."""

    shape = (3, 32, 32)
    flip = True
    crop = 4

    def read(self, root: Path, files: Mapping[str, str], labels: str) -> tuple[np.ndarray, np.ndarray]:
        """Read uint8 [N, 3, 32, 32] and int64 [N] of files (paths and checksums).

        A pickle can run code: its checksum has to match first.
        """
        batches = []
        for path, checksum in files.items():
            content = (root / path).read_bytes()
            if f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}" != checksum:
                raise BenchError(f"{root / path} is damaged. Type: bench data fetch {self.name}")
            batches.append(pickle.loads(content, encoding="latin1"))
        images = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        return images, np.concatenate([batch[labels] for batch in batches]).astype(np.int64)


@dataclass(frozen=True)
class CIFAR10(CIFAR):
    """Pictures of ten kinds of things, 32x32 colour: 50,000 train, 10,000 test."""

    name: str = "cifar10"
    version: int = 1

    num_classes = 10
    related = {"transfer": "cifar100_first10", "corrupted": "cifar10_c"}
    checksums = {**TRAIN10, **TEST10}
    downloads = CLEAN10

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part."""
        import torch

        images, labels = self.read(root, TRAIN10 if train else TEST10, "labels")
        return Split(torch.from_numpy(images), torch.from_numpy(labels))


@dataclass(frozen=True)
class CIFAR100(CIFAR):
    """Pictures of a hundred kinds of things, 32x32 colour: 50,000 train, 10,000 test."""

    name: str = "cifar100"
    version: int = 1

    num_classes = 100
    checksums = {**TRAIN100, **TEST100}
    downloads = CLEAN100

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part."""
        import torch

        images, labels = self.read(root, TRAIN100 if train else TEST100, "fine_labels")
        kept = labels < self.num_classes
        return Split(torch.from_numpy(images[kept]), torch.from_numpy(labels[kept]))


@dataclass(frozen=True)
class CIFAR100First10(CIFAR100):
    """The first ten labels of CIFAR100, 32x32 colour: 5,000 train, 1,000 test."""

    name: str = "cifar100_first10"
    version: int = 1

    num_classes = 10


def read_published(path: Path, severity: int) -> np.ndarray:
    """Read one severity of a file of CIFAR-10-C: 10,000 of its 50,000 rows. Raises ValueError or EOFError."""
    rows = np.load(path, mmap_mode="r", allow_pickle=False)
    if rows.shape != (50_000, 32, 32, 3)[: 1 if path.stem == "labels" else 4] or rows.dtype.kind not in "iu":
        raise ValueError(f"it holds {rows.dtype} {rows.shape}")
    return rows[10_000 * (severity - 1) : 10_000 * severity]


def blurred(x: np.ndarray, sigma: float) -> np.ndarray:
    """Blur images with a Gaussian of deviation `sigma`."""
    from scipy import ndimage

    return ndimage.gaussian_filter(x, (0, 0, sigma, sigma), mode="nearest")


CORRUPTIONS = {  # strengths at severity 1 to 5; x is [N, 3, 32, 32] in [0, 1], r draws random numbers
    "gaussian_noise": ((0.04, 0.06, 0.08, 0.09, 0.10), lambda x, c, r: x + c * r.standard_normal(x.shape)),
    "shot_noise": ((500, 250, 100, 75, 50), lambda x, c, r: r.poisson(x * c) / c),
    "impulse_noise": (
        (0.01, 0.02, 0.03, 0.05, 0.07),
        lambda x, c, r: np.where(r.random_sample(x.shape) < c, r.randint(0, 2, x.shape), x),
    ),
    "gaussian_blur": ((0.4, 0.6, 0.7, 0.8, 1.0), lambda x, c, r: blurred(x, c)),
    "brightness": ((0.05, 0.10, 0.15, 0.20, 0.30), lambda x, c, r: x + c),
    "contrast": ((0.75, 0.50, 0.40, 0.30, 0.15), lambda x, c, r: c * x + (1 - c) * x.mean((2, 3), keepdims=True)),
}


@dataclass(frozen=True)
class CIFAR10C(CIFAR):
    """Corrupted pictures of CIFAR10, 32x32 colour: 50,000 train, 10,000 test.

    `files="seeded"` applies one of `corruptions`, drawn by `seed`, to each CIFAR10 picture at `severity` 1 to 5.
    `files="published"` reads the files of CIFAR-10-C that `corruptions` names, at that severity.
    """

    name: str = "cifar10_c"
    version: int = 1
    files: str = "seeded"
    corruptions: tuple[str, ...] = tuple(CORRUPTIONS)
    severity: int = 3
    seed: int = 0

    num_classes = 10
    label_space = "cifar10"

    def __post_init__(self) -> None:
        if self.files not in ("seeded", "published") or not 1 <= self.severity <= 5 or not self.corruptions:
            raise ValueError("files takes seeded or published, severity 1 to 5, corruptions at least one")

    @property
    def checksums(self) -> dict[str, str]:
        """Map CIFAR10's files, or those of CIFAR-10-C, to their checksums; for the latter none are published."""
        if self.files == "seeded":
            return {**TRAIN10, **TEST10}
        return {f"CIFAR-10-C/{name}.npy": "" for name in ("labels", *self.corruptions)}

    @property
    def downloads(self) -> tuple[Download, ...]:
        """Return the archive that contains these files."""
        return CLEAN10 if self.files == "seeded" else CORRUPTED

    def check(self, root: Path) -> list[str]:
        """List published files of a wrong shape and unknown corruptions, one line each."""
        lines = []
        for path in self.checksums if self.files == "published" else ():
            try:
                read_published(root / path, self.severity)
            except (ValueError, EOFError) as error:
                lines.append(f"{path}: damaged ({error})")
        unknown = sorted(set(self.corruptions) - set(CORRUPTIONS)) if self.files == "seeded" else []
        return lines + [f"{name}: unknown corruption; known: {', '.join(CORRUPTIONS)}" for name in unknown]

    def load(self, root: Path, train: bool) -> Split:
        """Read or compute the train or the test part; published pictures are all train, with their `origin`."""
        import torch

        if wrong := self.check(root):
            raise BenchError(f"{self.name}: {wrong[0]}")
        if self.files == "published":
            names = self.corruptions if train else ()  # the host makes the test part itself
            parts = [read_published(root / f"CIFAR-10-C/{name}.npy", self.severity) for name in names]
            images = np.concatenate([np.zeros((0, 32, 32, 3), np.uint8), *parts]).transpose(0, 3, 1, 2).copy()
            labels = np.tile(read_published(root / "CIFAR-10-C/labels.npy", self.severity), len(names)).astype(np.int64)
            return Split(torch.from_numpy(images), torch.from_numpy(labels), torch.arange(10_000).repeat(len(names)))
        images, labels = self.read(root, TRAIN10 if train else TEST10, "labels")
        self.corrupt(images, np.random.RandomState([self.seed, int(train)]))
        return Split(torch.from_numpy(images), torch.from_numpy(labels))

    def corrupt(self, images: np.ndarray, random: np.random.RandomState) -> None:
        """Corrupt pictures in place, uint8 [N, 3, 32, 32], each in one way."""
        drawn = random.randint(0, len(self.corruptions), len(images))
        for number, corruption in enumerate(self.corruptions):
            strengths, change = CORRUPTIONS[corruption]
            chosen = np.flatnonzero(drawn == number)
            for at in np.split(chosen, range(1000, len(chosen), 1000)):  # a thousand at a time, to save memory
                x = change(images[at] / 255, strengths[self.severity - 1], random)
                images[at] = np.rint(255 * np.clip(x, 0, 1)).astype(np.uint8)


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the four datasets."""
    return [CIFAR10(), CIFAR10C(), CIFAR100(), CIFAR100First10()]
