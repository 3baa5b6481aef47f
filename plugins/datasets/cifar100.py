"""CIFAR100: 60,000 colour pictures, 32x32, a hundred kinds of things; and its first ten labels.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Files, layout and checksums are torchvision's; labels are the fine ones.

`cifar100_first10` holds the fine labels 0 to 9 (apple to bowl, in alphabetical order): the target of Transfer-A and -L
in J. Guan, J. Liang, R. He: Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural Networks,
NeurIPS 2022, https://arxiv.org/abs/2210.15427.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import BenchError, Dataset, Download, Split, hookimpl

TRAIN = ("cifar-100-python/train", "md5:16019d7e3df5f24257cddd939b257f8d")
TEST = ("cifar-100-python/test", "md5:f0ef6b0ae62326f3e7ffdfab6717acfc")


def read(path: Path, checksum: str, dataset: str) -> tuple[np.ndarray, np.ndarray]:
    """Read uint8 [N, 3, 32, 32] and fine labels, int64 [N]. A pickle can run code: its checksum has to match first."""
    content = path.read_bytes()
    if f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}" != checksum:
        raise BenchError(f"{path} is damaged. Type: bench data fetch {dataset}")
    batch = pickle.loads(content, encoding="latin1")
    return batch["data"].reshape(-1, 3, 32, 32), np.asarray(batch["fine_labels"], np.int64)


@dataclass(frozen=True)
class CIFAR100(Dataset):
    """Pictures of a hundred kinds of things, 32x32 colour: 50,000 train, 10,000 test."""

    name: str = "cifar100"
    version: int = 1

    num_classes = 100
    shape = (3, 32, 32)
    flip = True
    crop = 4
    checksums = dict([TRAIN, TEST])
    downloads = (
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
            "cifar-100-python.tar.gz",
            "md5:eb9058c3a382ffc7106e4002c42a8d85",
            ".",
        ),
    )

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part."""
        import torch

        path, checksum = TRAIN if train else TEST
        images, labels = read(root / path, checksum, self.name)
        kept = labels < self.num_classes
        return Split(torch.from_numpy(images[kept]), torch.from_numpy(labels[kept]))


@dataclass(frozen=True)
class CIFAR100First10(CIFAR100):
    """The first ten labels of CIFAR100, 32x32 colour: 5,000 train, 1,000 test."""

    name: str = "cifar100_first10"
    version: int = 1

    num_classes = 10


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return both datasets."""
    return [CIFAR100(), CIFAR100First10()]
