"""Tiny ImageNet: 200 of ImageNet's classes, 64x64 colour.

Y. Le, X. Yang: Tiny ImageNet Visual Recognition Challenge, Stanford CS 231N, 2015,
http://cs231n.stanford.edu/tiny-imagenet-200.zip. The stock folder is read as it is: `train/WNID/images/*.JPEG`, and
`val/images/*.JPEG` with `val/val_annotations.txt`; or its val part after it was sorted into class folders, as
`val/WNID/*.JPEG`, `val/WNID/images/*.JPEG` or `val/images/WNID/*.JPEG`: the same pictures in the same order. Its test
pictures have no labels, so the val part is the test part. Some pictures are grey. No checksums are published: `check`
looks at the structure and decodes everything.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench import BenchError, Dataset, Download, Split, hookimpl

FOLDER = "tiny-imagenet-200"
SIZE = 64


def decode(path: Path) -> np.ndarray:
    """Read a picture, uint8 [3, 64, 64], a grey channel repeated; OSError or ValueError if it has another size."""
    from PIL import Image

    with Image.open(path, formats=["JPEG"]) as picture:
        if picture.size != (SIZE, SIZE):
            raise ValueError(f"{picture.size} pixels instead of {SIZE, SIZE}")
        return np.asarray(picture.convert("RGB")).transpose(2, 0, 1)


def wnids(root: Path) -> list[str]:
    """List the names of the classes, sorted; a label is an index into this list."""
    return sorted((root / FOLDER / "wnids.txt").read_text().split())


def train_pictures(root: Path) -> list[tuple[Path, int]]:
    """List the train part: pictures and labels, class by class."""
    folders = [root / FOLDER / "train" / wnid / "images" for wnid in wnids(root)]
    return [(path, label) for label, folder in enumerate(folders) for path in sorted(folder.glob("*.JPEG"))]


def val_pictures(root: Path) -> list[tuple[Path, int]]:
    """List the labelled val part by number: pictures and labels (-1: an unknown class).

    Class folders decide if they hold pictures, else the annotations, which are in that order.
    """
    val = root / FOLDER / "val"
    label = {wnid: i for i, wnid in enumerate(wnids(root))}
    places = [(val / wnid, val / wnid / "images", val / "images" / wnid) for wnid in label]
    folders = [(folder, i) for i, found in enumerate(places) for folder in found]
    rows = [(path, i) for folder, i in folders for path in folder.glob("*.JPEG")]
    annotations = val / "val_annotations.txt"
    if rows or not annotations.is_file():
        return sorted(rows, key=lambda row: (len(row[0].name), row[0].name))
    lines = [line.split("\t") for line in annotations.read_text().splitlines() if "\t" in line]
    return [(val / "images" / name, label.get(wnid, -1)) for name, wnid, *_ in lines]


def undecodable(pictures: Sequence[tuple[Path, int]]) -> list[str]:
    """List the pictures that cannot be read, one line each."""
    lines = []
    for path, _ in pictures:
        try:
            decode(path)
        except (OSError, ValueError, SyntaxError) as error:
            lines.append(f"{path.name}: missing or damaged ({' '.join(str(error).split())})")
    return lines


@dataclass(frozen=True)
class TinyImageNet(Dataset):
    """Pictures of 200 kinds of things, 64x64 colour: 100,000 train, 10,000 test.

    `classes`, `per_class` and `held_out` (val pictures) are the numbers expected.
    """

    name: str = "tiny_imagenet"
    version: int = 1
    classes: int = 200
    per_class: int = 500
    held_out: int = 10_000

    shape = (3, SIZE, SIZE)
    flip = True
    crop = 8
    checksums = {f"{FOLDER}/wnids.txt": ""}
    downloads = (Download("http://cs231n.stanford.edu/tiny-imagenet-200.zip", "tiny-imagenet-200.zip", "", "."),)

    @property
    def num_classes(self) -> int:
        """Return the number of classes."""
        return self.classes

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the labelled val part; BenchError if a picture cannot be read."""
        import torch

        if wrong := self.structure(root):
            raise BenchError(f"{wrong[0]}. Type: bench data fetch {self.name}")
        pictures = train_pictures(root) if train else val_pictures(root)
        images = np.empty((len(pictures), *self.shape), np.uint8)
        for i, (path, _) in enumerate(pictures):
            try:
                images[i] = decode(path)
            except (OSError, ValueError, SyntaxError) as error:
                raise BenchError(f"{path} cannot be read ({error}). Type: bench data fetch {self.name}") from error
        return Split(torch.from_numpy(images), torch.tensor([label for _, label in pictures]))

    def structure(self, root: Path) -> list[str]:
        """List wrong numbers of classes and pictures, one line each."""
        names, val = wnids(root), val_pictures(root)
        count = np.bincount([label for _, label in train_pictures(root)], minlength=len(names))
        lines = [
            f"{FOLDER}/train/{wnid}: {n} pictures instead of {self.per_class}"
            for wnid, n in zip(names, count, strict=True)
            if n != self.per_class
        ]
        if len(set(names)) != self.classes:
            lines.append(f"{FOLDER}/wnids.txt: {len(set(names))} classes instead of {self.classes}")
        if len({path.name for path, label in val if label >= 0}) != self.held_out or len(val) != self.held_out:
            lines.append(
                f"{FOLDER}/val: not {self.held_out} pictures of these classes, sorted or in val_annotations.txt"
            )
        return lines

    def check(self, root: Path) -> list[str]:
        """List what is wrong with structure and pictures, one line each; decodes all of them, which takes a minute."""
        return self.structure(root) + undecodable(train_pictures(root) + val_pictures(root))


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the dataset."""
    return [TinyImageNet()]
