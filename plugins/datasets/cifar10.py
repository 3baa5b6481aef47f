"""CIFAR10: 60,000 colour pictures, 32x32, ten kinds of things.

A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009,
https://www.cs.toronto.edu/~kriz/cifar.html. Files, layout and checksums are torchvision's.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import BenchError, Dataset, Download, Split, hookimpl

FOLDER = "cifar-10-batches-py"
TRAIN = {
    f"{FOLDER}/data_batch_1": "md5:c99cafc152244af753f735de768cd75f",
    f"{FOLDER}/data_batch_2": "md5:d4bba439e000b95fd0a9bffe97cbabec",
    f"{FOLDER}/data_batch_3": "md5:54ebc095f3ab1f0389bbae665268c751",
    f"{FOLDER}/data_batch_4": "md5:634d18415352ddfa80567beed471001a",
    f"{FOLDER}/data_batch_5": "md5:482c414d41f54cd18b22e5b47cb7c3cb",
}
TEST = {f"{FOLDER}/test_batch": "md5:40351d587109b95175f43aff81a1287e"}


def read(path: Path, checksum: str) -> tuple[np.ndarray, list[int]]:
    """Read a batch: uint8 [N, 3072], N labels. A pickle can run code: its checksum has to match first."""
    content = path.read_bytes()
    if f"md5:{hashlib.md5(content, usedforsecurity=False).hexdigest()}" != checksum:
        raise BenchError(f"{path} is damaged. Type: bench data fetch cifar10")
    batch = pickle.loads(content, encoding="latin1")
    return batch["data"], batch["labels"]


@dataclass(frozen=True)
class CIFAR10(Dataset):
    """Pictures of ten kinds of things, 32x32 colour: 50,000 train, 10,000 test."""

    name: str = "cifar10"
    version: int = 1

    num_classes = 10
    shape = (3, 32, 32)
    flip = True
    crop = 4
    related = {"transfer": "cifar100_first10", "corrupted": "cifar10_c"}
    checksums = {**TRAIN, **TEST}
    downloads = (
        Download(
            "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
            "cifar-10-python.tar.gz",
            "md5:c58f30108f718f92721af3b95e74349a",
            ".",
        ),
    )

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part."""
        import torch

        batches = [read(root / path, checksum) for path, checksum in (TRAIN if train else TEST).items()]
        images = np.concatenate([data for data, _ in batches]).reshape(-1, 3, 32, 32)
        labels = np.concatenate([labels for _, labels in batches]).astype(np.int64)
        return Split(torch.from_numpy(images), torch.from_numpy(labels))


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the dataset."""
    return [CIFAR10()]
