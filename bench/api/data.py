"""Images and records that plugins receive and declare. Nothing here imports torch at run time."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.errors import BenchError

if TYPE_CHECKING:
    from torch import Tensor


def as_tensor(values: Any) -> Tensor:
    """Return an array or a list of numbers as a tensor, which shares memory where it can, and a tensor as it is.

    BenchError for anything else: other objects, rows of different lengths, types that torch has not.
    """
    torch: Any = sys.modules.get("torch")  # without it there is no tensor yet, and listing must not import it
    if torch is not None and isinstance(values, torch.Tensor):
        return values  # type: ignore[no-any-return]
    import numpy as np
    import torch

    try:
        array = np.asarray(values)
        native = array.dtype.newbyteorder("=")
        shared = array.flags.writeable and array.flags.c_contiguous and array.dtype == native
        if not shared or isinstance(values, np.memmap):
            array = array.astype(native, order="C")
        return torch.from_numpy(array)  # type: ignore[no-any-return]
    except (TypeError, ValueError) as error:
        raise BenchError(f"a {type(values).__name__} is no array of numbers: {str(error).splitlines()[0]}") from None


@dataclass(frozen=True)
class Split:
    """Labelled images.

    `images` is uint8 [N, C, H, W] in 0 to 255, `labels` int64 [N] from 0. Arrays of numpy and lists become tensors, and
    labels of other integer types int64; `BenchError` for what is neither. Plugins receive both on the task's device.
    `origin` (int64 [N], optional) is for a dataset made from another dataset's *test* images: the index of each image's
    original. Such a dataset returns all its images for `train=True`; the host leaves out those whose original is in
    `probe`, and divides the others into a train and a test part.
    """

    images: Tensor
    labels: Tensor
    origin: Tensor | None = None

    def __post_init__(self) -> None:
        for name in ("images", "labels", "origin"):
            value = getattr(self, name)
            if value is None and name == "origin":
                continue
            try:
                tensor = as_tensor(value)
            except BenchError as error:
                raise BenchError(f"Split: {name} must be a tensor or an array, and {error}") from None
            if name != "images" and tensor is not value and not (tensor.is_floating_point() or tensor.is_complex()):
                tensor = tensor.long()
            object.__setattr__(self, name, tensor)

    @property
    def x(self) -> Tensor:
        """Return the images as float32 in [0, 1], [N, C, H, W]."""
        return self.images.float() / 255

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DefenderData:
    """The data of a source model's owner: `train`, the defender's half, and `probe`, which no model trains on."""

    train: Split
    probe: Split


@dataclass(frozen=True)
class Download:
    """One published archive of a dataset.

    `url` is its address, `path` its file below the data root. `checksum` is `md5:...` or `sha256:...` as published, or
    empty if none is. `unpack` is the folder below the data root for its members (for a plain `.gz`: the unpacked file);
    empty if the archive is read as it is.
    """

    url: str
    path: str
    checksum: str = ""
    unpack: str = ""


@dataclass(frozen=True)
class Reported:
    """An AUC in a method's paper.

    `auc` is within 0 and 1; `stolen` and `irrelevant` are the numbers of models behind it, 0 if unknown. For
    example (invented), 0.98 for VGG-16 and ResNet-18 suspects of a ResNet-18, from 20 stolen and 10 irrelevant models:

        reported = (Reported("cifar10", "resnet18", ("vgg16_bn", "resnet18"), "extract_p", 0.98, 20, 10),)
    """

    dataset: str
    source_architecture: str
    suspect_architectures: tuple[str, ...]
    attack: str
    auc: float
    stolen: int = 0
    irrelevant: int = 0


@dataclass(frozen=True)
class ReportedAccuracy:
    """A test accuracy in a method's paper, within 0 and 1.

    `model` is `source`, `irrelevant` or an attack's name; `suspect_dataset` is the dataset it was last trained on.
    `plain` is True if the accuracy belongs to a source without the method's watermark. For example (invented), 91.5 %
    for the watermarked sources of a method, and 89 % for the ResNet-18 suspects that `extract_l` made of them:

        reported_accuracy = (
            ReportedAccuracy("cifar10", "vgg16_bn", "source", "cifar10", "vgg16_bn", 0.915),
            ReportedAccuracy("cifar10", "vgg16_bn", "extract_l", "cifar10", "resnet18", 0.89),
        )
    """

    dataset: str
    source_architecture: str
    model: str
    suspect_dataset: str
    suspect_architecture: str
    accuracy: float
    variant: str = ""
    plain: bool = False
