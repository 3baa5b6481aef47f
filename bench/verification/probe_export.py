"""Write queries as files, for endpoints that nobody can script: arrays, PNG pictures, a table of answers to fill in."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.kinds import Access
from bench.execution.probes import write_probes
from bench.models.image_digest import GRID
from bench.store.atomic import new_folder, temporary_file, write_atomically
from bench.training.augmentation import pixels

PICTURES, ABOUT = "images", "README.txt"
MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's mode of a picture with so many channels."""
README = """\
{count:,} images, each {height} x {width} pixels with {channels} channels.

What to do: ask your model each image once, and send back the file answers.csv.

answers.csv      a line for each image: the first column names it, the others are the model's outputs
                 (scores, probabilities or logarithms of them), one for each of the {classes} labels{names}.
                 Write every digit that the model gives. If it gives a label only, write the header
                 "image,label" and one number in each line instead.{needed}
probes.npz       the images as arrays: images [N, C, H, W], {range}, and digests, their names
{pictures}
Please do not resize, crop, compress or average the images beyond what your service always does. The order
does not matter, and the line of an image that cannot be answered may be left out or empty.

The sender of this folder reads the answers back as a model of format "answers": see docs/models.md.
SHA-256 of probes.npz: {digest}
"""
NEEDED: dict[str, str] = {
    Access.LOGITS: """
                 At least one question can only be decided by scores as they are before a softmax (logits):
                 probabilities or labels do not answer it.""",
    Access.PROBABILITIES: """
                 At least one question can only be decided by scores or probabilities: labels do not answer it.""",
}
"""What is added if a method needs more than labels."""
SHOWN = """\
{folder}/          {shown:,} images as PNG, named NUMBER-NAME.png; the number is the row in probes.npz
"""
NOT_SHOWN = """\
                 {left:,} images are not among the PNG files, as they {why}: they are in probes.npz only.
"""


def export(
    queries: Mapping[str, Tensor],
    folder: Path,
    classes: int,
    label_names: Sequence[str] = (),
    needed: Sequence[str] = (),
) -> int:
    """Write queries, images [C, H, W] (uint8, or float in [0, 1]) by their digests, and return how many are PNG files.

    PNG holds 8 bits: an image with pixels between multiples of 1/255 is in `probes.npz` only, as `README.txt` says.
    `needed` are the kinds of answers that methods need. BenchError if the folder has files, or cannot be written.
    """
    if not queries:
        raise BenchError("there are no queries to export")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BenchError(f"{folder} exists and is not empty: name another folder")
    images = {digest: pixels(image.detach().cpu()) for digest, image in queries.items()}
    with new_folder(folder, ABOUT) as new:
        (new / PICTURES).mkdir()
        write_probes(new, images, classes)
        shown = [_draw(new / PICTURES, i, digest, image) for i, (digest, image) in enumerate(images.items())]
        if not any(shown):
            (new / PICTURES).rmdir()
        write_atomically(new / ABOUT, _readme(new, images, sum(shown), classes, label_names, needed))
    return sum(shown)


def eight_bits(image: Tensor) -> NDArray[np.uint8] | None:
    """Return the pixels [C, H, W] of a float image in [0, 1] if each is a multiple of 1/255, else None."""
    steps = image.double() * 255
    whole = steps.round()
    exact = bool(((steps - whole).abs() <= GRID).all())
    return whole.to(torch.uint8).numpy() if exact else None


def _draw(folder: Path, number: int, digest: str, image: Tensor) -> bool:
    """Write an image as PNG, and return True, if it is one that PNG can hold."""
    from PIL import Image

    array: Any = eight_bits(image)
    if array is None or len(array) not in MODES:
        return False
    array = array[0] if len(array) == 1 else np.ascontiguousarray(array.transpose(1, 2, 0))
    with temporary_file(folder / f"{number:05}-{digest}.png") as path, path.open("wb") as file:
        Image.fromarray(array).save(file, format="PNG")
    return True


def _readme(
    folder: Path,
    images: Mapping[str, Tensor],
    shown: int,
    classes: int,
    label_names: Sequence[str],
    needed: Sequence[str],
) -> str:
    first = next(iter(images.values()))
    channels, height, width = first.shape
    whole = all(eight_bits(image) is not None for image in images.values())
    why = f"have {channels} channels" if channels not in MODES else "need more than 8 bits"
    pictures = SHOWN.format(folder=PICTURES, shown=shown) if shown else ""
    if shown < len(images):
        pictures += NOT_SHOWN.format(left=len(images) - shown, why=why)
    names = f": {', '.join(label_names)}" if 0 < len(label_names) <= 20 else ""
    return README.format(
        count=len(images),
        height=height,
        width=width,
        channels=channels,
        classes=classes,
        names=names,
        range="uint8 from 0 to 255" if whole else "float32 from 0 to 1",
        pictures=pictures,
        needed=NEEDED.get(max(needed, key=Access.rank, default=""), ""),
        digest=hashlib.sha256((folder / "probes.npz").read_bytes()).hexdigest(),
    )
