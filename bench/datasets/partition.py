"""Divide a loaded dataset into `defender`, `attacker`, `probe` and `test`, and read these parts from the store."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.api.components import Dataset
from bench.api.data import DefenderData, Split
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.datasets.sampling import balanced, halve
from bench.store.store import Store

PARTS = ("defender", "attacker", "probe", "test")


@dataclass(frozen=True)
class Data:
    """A dataset in the form that tasks use: four parts on the device, and facts such as the allowed augmentation."""

    parts: Mapping[str, Split]
    mean: Tensor
    std: Tensor
    facts: Mapping[str, JSON]

    @property
    def defender(self) -> DefenderData:
        """Return the data of a source model's owner."""
        return DefenderData(self.parts["defender"], self.parts["probe"])

    @property
    def versions(self) -> tuple[int, ...]:
        """Count how often each tensor of the parts was changed in place."""
        return tuple(t._version for part in self.parts.values() for t in (part.images, part.labels))


def load(store: Store, key: str, device: str = "cpu") -> Data:
    """Read a `data` artifact onto a device."""
    tensors = store.load(key, "data", device)
    parts = {p: Split(tensors[f"{p}.images"], tensors[f"{p}.labels"]) for p in PARTS}
    return Data(parts, tensors["mean"], tensors["std"], store.facts(key) or {})


def read(dataset: Dataset, root: Path, train: bool) -> Split:
    """Load a part of a dataset; BenchError names the difference from its declaration."""
    split = dataset.load(root, train)
    part = f"dataset {dataset.name!r}, {'train' if train else 'test'} part"
    if not isinstance(split, Split):
        raise BenchError(f"{part}: load must return a Split, not a {type(split).__name__}")
    images, labels = split.images, split.labels
    if images.dtype != torch.uint8 or list(images.shape[1:]) != list(dataset.shape):
        turned = images.dim() == 4 and list(images.movedim(-1, 1).shape[1:]) == list(dataset.shape)
        way = ": move the channels, images.movedim(-1, 1)" if turned else ""
        raise BenchError(
            f"{part}: images are {images.dtype} {list(images.shape)}, not uint8 [N, *{dataset.shape}]{way}"
        )
    if labels.dtype != torch.int64 or list(labels.shape) != [len(images)] or not len(images):
        raise BenchError(f"{part}: labels are {labels.dtype} {list(labels.shape)}, not int64 [{len(images)}]")
    if int(labels.min()) < 0 or int(labels.max()) >= dataset.num_classes:
        raise BenchError(
            f"{part}: labels reach from {int(labels.min())} to {int(labels.max())}, "
            f"not within 0..{dataset.num_classes - 1}"
        )
    origin = split.origin
    if origin is not None and (origin.dtype != torch.int64 or origin.shape != labels.shape or int(origin.min()) < 0):
        raise BenchError(f"{part}: origin is {origin.dtype} {list(origin.shape)}, not int64 [{len(images)}] from 0")
    return split


def partition(train: Split, test: Split | None, seed: int, images: int) -> dict[str, Tensor]:
    """Halve train into `defender` and `attacker` (at most `images` each), test into `probe` and `test`.

    test is None if `train` has an `origin` and contains all images. Returns `PART.images`, `.labels`, `.indices` (in
    the loaded part) and, if known, `.origin`; and `mean` and `std` of defender and attacker per channel, in [0, 1].
    """
    tensors: dict[str, Tensor] = {}
    if train.origin is None:
        assert test is not None
        available = {"train": np.arange(len(train)), "test": np.arange(len(test))}
    else:
        test = train
        available = _unseen(train, seed)
    for part, split, which in (("train", train, ("defender", "attacker")), ("test", test, ("probe", "test"))):
        indices = available[part]
        labels = split.labels.numpy()[indices]
        for name, half in zip(which, halve(labels, seed, part), strict=True):
            if not len(half):
                raise BenchError(f"no image is left for {name!r}: the {part} part needs two images of a class or more")
            chosen = half[balanced(labels[half], images if part == "train" else 0, seed, name)]
            index = torch.from_numpy(indices[chosen])
            tensors[f"{name}.images"] = split.images[index]
            tensors[f"{name}.labels"] = split.labels[index]
            tensors[f"{name}.indices"] = index
            if split.origin is not None:
                tensors[f"{name}.origin"] = split.origin[index]
    seen = torch.cat([tensors["defender.images"], tensors["attacker.images"]]).movedim(1, 0).flatten(1)
    levels = torch.arange(256).double() / 255
    share = torch.stack([torch.bincount(c, minlength=256).double() / c.numel() for c in seen])
    mean = share @ levels
    std = (share @ levels**2 - mean**2).clamp_min(0).sqrt().clamp_min(1e-3)
    tensors["mean"], tensors["std"] = mean.float(), std.float()
    return tensors


def _unseen(split: Split, seed: int) -> dict[str, Any]:
    """Divide images made from another dataset's test images: none whose original is in `probe`.

    The original test set is divided as the host divides it, which depends only on its labels and the seed. The images
    made from its `test` part are divided by originals, so that no original is in both training and test.
    """
    assert split.origin is not None
    origin, labels = split.origin.numpy(), split.labels.numpy()
    originals = np.full(int(origin.max()) + 1, -1, dtype=np.int64)
    originals[origin] = labels
    if (originals < 0).any():
        raise BenchError("a dataset made from another's test images must hold every one of them: some are missing")
    _, test = halve(originals, seed, "test")
    first, second = halve(originals[test], seed, "unseen")
    return {
        "train": np.flatnonzero(np.isin(origin, test[first])),
        "test": np.flatnonzero(np.isin(origin, test[second])),
    }
