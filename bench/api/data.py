"""Images and records that plugins receive and declare. Nothing here imports torch at run time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Labelled images.

    `images` is uint8 [N, C, H, W]; `labels` is int64 [N]. What the host hands to a plugin lies on the task's device.
    `origin` (int64 [N], optional) is for a dataset made from another dataset's *test* images: the index of the image
    that each one was made from. Such a dataset returns all its images for `train=True`; the host then leaves out those
    whose original lies in `probe` and divides the rest into a train and a test part.
    """

    images: Tensor
    labels: Tensor
    origin: Tensor | None = None

    @property
    def x(self) -> Tensor:
        """Give the images as float32 in [0, 1], [N, C, H, W]."""
        return self.images.float() / 255

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DefenderData:
    """What the owner of a source model holds: `train` (the defender half) and `probe` (seen by no training)."""

    train: Split
    probe: Split


@dataclass(frozen=True)
class Download:
    """One published archive of a dataset.

    `url` is where it lies; `path` is where it is kept below the data root; `checksum` is `md5:...` or `sha256:...`
    as published, or empty where none is; `unpack` is the folder below the data root into which its members go
    (empty: it is used as it is). `unpack` of a plain `.gz` file names the unpacked file.
    """

    url: str
    path: str
    checksum: str = ""
    unpack: str = ""


@dataclass(frozen=True)
class Reported:
    """An AUC that a method's paper reports: of what, against what, from how many models (0: not known)."""

    dataset: str
    source_architecture: str
    suspect_architectures: tuple[str, ...]
    attack: str
    auc: float
    stolen: int = 0
    irrelevant: int = 0


@dataclass(frozen=True)
class ReportedAccuracy:
    """A test accuracy (share, not percent) that a paper reports.

    `model` is `source`, `irrelevant` or an attack's name; `plain` tells that it belongs to the source without the
    method's watermark; `suspect_dataset` is what the model was last trained on.
    """

    dataset: str
    source_architecture: str
    model: str
    suspect_dataset: str
    suspect_architecture: str
    accuracy: float
    variant: str = ""
    plain: bool = False
