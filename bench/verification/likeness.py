"""Compare a committed fingerprint with the one that is made again: equal, equal up to rounding, or another one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PIXEL = 1e-3
"""Largest distance of a pixel, in [0, 1], of queries that are the same: a quarter of a step of 8 bits."""
NUMBER = 1e-3
"""Largest distance of other numbers, as a share of the largest one of the tensor that was made again."""
ALIKE = 0.95
"""Least share of rows (queries, labels) that are the same in a fingerprint that is made again elsewhere."""


@dataclass(frozen=True)
class Likeness:
    """How alike the tensors of a name are: rows are queries, labels or answers.

    `same` is the share of rows within the tolerance, `median` and `largest` are distances of rows: the largest
    difference of a number in it, in units of [0, 1] for images of 8 bits too. NaN for tensors of other shapes or types.
    `reach` is how far the other rows may be away: as far as numbers of the tensor that was made again are apart.
    """

    tensor: str
    rows: int
    same: float
    median: float
    largest: float
    reach: float = 0.0

    @property
    def alike(self) -> bool:
        """True if the tensors are the same up to rounding."""
        return self.same >= ALIKE and self.largest <= self.reach

    def __str__(self) -> str:
        if math.isnan(self.largest):
            return f"{self.tensor}: another shape or type"
        of = f"{self.same:.1%} of {self.rows} rows are the same"
        far = f", and numbers made here are at most {self.reach:.2g} apart" if self.largest > self.reach else ""
        return f"{self.tensor}: {of}, distances up to {self.largest:.2g}, median {self.median:.2g}{far}"


def compared(committed: Mapping[str, Tensor], made: Mapping[str, Tensor], shape: Sequence[int]) -> list[Likeness]:
    """Return the likeness of each tensor of two fingerprints; `shape` is that of the dataset's images.

    How far apart they may be follows from the one that was `made` again.
    """
    return [_compared(name, committed.get(name), made.get(name), shape) for name in sorted({*committed, *made})]


def _compared(name: str, one: Tensor | None, other: Tensor | None, shape: Sequence[int]) -> Likeness:
    if one is None or other is None or one.shape != other.shape or one.dtype != other.dtype:
        return Likeness(name, 0, 0.0, math.nan, math.nan)
    image = list(one.shape[1:]) == list(shape)
    first, second = (_rows(tensor, image) for tensor in (one, other))
    if not first.numel():
        return Likeness(name, 0, 1.0, 0.0, 0.0)
    if bool(first.isfinite().all() & second.isfinite().all()):
        distances = (first - second).abs().amax(1)
    else:
        distances = torch.where((first == second).all(1), 0.0, math.inf)
    finite = second[second.isfinite()]  # the committed numbers are the accuser's, who would choose the tolerance
    largest = float(finite.abs().max()) if len(finite) else 0.0
    apart = float(finite.max() - finite.min()) if len(finite) else 0.0
    tolerance = 0.0
    if one.is_floating_point():
        tolerance = PIXEL if image else NUMBER * largest
    reach = max(tolerance, apart, 1.0 if image else 0.0)
    same = float((distances <= tolerance).double().mean())
    return Likeness(name, len(distances), same, float(distances.median()), float(distances.max()), reach)


def _rows(tensor: Tensor, image: bool) -> Tensor:
    """Return a row for each query, float64; images in [0, 1]."""
    rows = tensor.reshape(tensor.shape[0] if tensor.dim() and len(tensor) else 1, -1).double()
    return rows / 255 if image and tensor.dtype == torch.uint8 else rows
