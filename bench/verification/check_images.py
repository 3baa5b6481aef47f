"""Labelled images that show whether a suspect works as described, and what the source answers to them."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.core.errors import BenchError, first_line
from bench.store.atomic import sync

LARGEST_ARRAYS = 1 << 31
"""Bytes of unpacked check images."""


@dataclass(frozen=True)
class Checks:
    """Labelled images of `test`, and what the source answers: N images, K classes.

    `images` are uint8, or float32 in [0, 1], [N, C, H, W]; `labels` and `source_labels` int64 [N];
    `source_probabilities` float32 [N, K], or [0, K] if the source answers with labels only.
    """

    images: "np.ndarray[Any, Any]"
    labels: "np.ndarray[Any, Any]"
    source_labels: "np.ndarray[Any, Any]"
    source_probabilities: "np.ndarray[Any, Any]"

    def write(self, path: Path) -> None:
        """Write the arrays as an npz file, synced to the disk."""
        with path.open("wb") as file:
            np.savez_compressed(file, **vars(self))
        sync(path)


ARRAYS: Mapping[str, Callable[["np.ndarray[Any, Any]"], bool]] = {
    "images": lambda a: a.dtype in (np.uint8, np.float32) and a.ndim == 4,
    "labels": lambda a: a.dtype == np.int64 and a.ndim == 1,
    "source_labels": lambda a: a.dtype == np.int64 and a.ndim == 1,
    "source_probabilities": lambda a: a.dtype == np.float32 and a.ndim == 2,
}
"""The arrays of `checks.npz`, and the form of each."""


def read_checks(path: Path, classes: int, shape: tuple[int, int, int]) -> Checks:
    """Read check images of a number of classes and a shape; BenchError if the file does not hold such arrays."""
    try:
        with zipfile.ZipFile(path) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST_ARRAYS:
                raise BenchError(f"{path} unpacks to more than {LARGEST_ARRAYS >> 30} GiB")
        with np.load(path, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except BenchError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise BenchError(f"{path} is no npz file of arrays: {first_line(error)}") from None
    if found.keys() != ARRAYS.keys() or not all(right(found[name]) for name, right in ARRAYS.items()):
        raise BenchError(f"{path} must have {', '.join(ARRAYS)}, as docs/verify.md describes them")
    checks = Checks(**found)
    n = len(checks.images)
    same = len(checks.labels) == len(checks.source_labels) == n and len(checks.source_probabilities) in (0, n)
    if not same or checks.images.shape[1:] != tuple(shape) or checks.source_probabilities.shape[1] != classes:
        raise BenchError(f"{path} has arrays that do not fit each other or the dataset of the commitment")
    return checks
