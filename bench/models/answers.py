"""Tables of answers: what a network that is somewhere else answered to certain images.

A table is an npz file with `answers` and, for each row, `digests` or `images`; or a CSV file whose column `image` holds
digests. Without these, the rows are those of the `probes` file that bench exported.
"""

import csv
import io
import math
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import BenchError, NotApplicable, first_line
from bench.models.content import read
from bench.models.description import Description
from bench.models.image_digest import array_digests
from bench.training.augmentation import pixels

LARGEST = 1 << 32
"""Bytes of an unpacked array."""
NO_ANSWERS = ("", "time", "output")
"""Columns that hold no answers: numbers of rows, as pandas writes them, and those of a journal."""


def image_digests(images: Tensor) -> list[str]:
    """Return the digest of each image (uint8, or float [N, C, H, W] in [0, 1]); see `array_digests`."""
    return array_digests(pixels(images).cpu().numpy())


class Table:
    """Returns the raw answers of a table to images; `NotApplicable` if it has no answer to some of them.

    `names` are those of the dataset's labels, if they are known: columns may have them.
    """

    def __init__(self, model: Description, content: bytes, names: Sequence[str] = ()) -> None:
        digests, answers = _csv(model, content, names) if _is_text(content) else _npz(model, content)
        if digests is None:
            digests = _probe_digests(model)
        if len(digests) != len(answers):
            field = "probes" if model.probes else "file"
            raise model.fault(field, f"there are {len(answers)} answers, but {len(digests)} images")
        self.model, self.answers = model, torch.from_numpy(answers)
        self.row = {digest: i for i, digest in enumerate(digests)}
        if len(self.row) < len(digests):
            _check_repeated(model, digests, self.answers)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the raw answers to images."""
        return self.answers[[self.row[digest] for digest in self._known(image_digests(images))]]

    def _known(self, digests: list[str]) -> list[str]:
        unknown = sum(digest not in self.row for digest in digests)
        if unknown:
            text = f"{unknown} of {len(digests)} images that are asked are not in the answers of {self.model.name}"
            raise NotApplicable(text)
        return digests

    def has(self, images: Tensor) -> bool:
        """Return True if the table has an answer to all images."""
        return all(digest in self.row for digest in image_digests(images))


def _check_repeated(model: Description, digests: Sequence[str], answers: Tensor) -> None:
    first: dict[str, int] = {}
    for i, digest in enumerate(digests):
        if not torch.equal(answers[first.setdefault(digest, i)], answers[i]):
            raise model.fault("file", f"it has two answers to the image {digest}")


def _is_text(content: bytes) -> bool:
    return not content.startswith(b"PK")


def _npz(model: Description, content: bytes) -> tuple[list[str] | None, Any]:
    arrays = npz_arrays(model, content, "file")
    if "answers" not in arrays:
        raise model.fault("file", f"it has no array 'answers', but {', '.join(sorted(arrays))}")
    answers = arrays["answers"]
    if answers.dtype.kind not in "fiu" or answers.ndim not in (1, 2):
        raise model.fault("file", f"its 'answers' are {answers.dtype} {list(answers.shape)}, not numbers [N, K] or [N]")
    answers = answers.astype(np.float64 if answers.dtype.kind == "f" else np.int64)
    if "digests" in arrays:
        return [_text(value) for value in arrays["digests"].reshape(-1).tolist()], answers
    return (image_digests(_images(model, arrays["images"], "file")), answers) if "images" in arrays else (None, answers)


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def npz_arrays(model: Description, content: bytes, field: str) -> dict[str, Any]:
    """Return the arrays of an npz file; BenchError for one that is damaged, too large or of Python objects."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > LARGEST:
                raise model.fault(field, f"it unpacks to more than {LARGEST >> 30} GiB")
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
    except BenchError:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise many kinds
        raise model.fault(field, f"it is no npz file of arrays, or truncated: {first_line(error)}") from None
    for name, array in found.items():
        if not isinstance(array, np.ndarray):  # numpy returns the bytes of a member without the magic number
            raise model.fault(field, f"it is no npz file of arrays: {name!r:.50} is none")
    return found


def _images(model: Description, images: Any, field: str) -> Tensor:
    if images.ndim != 4 or images.dtype not in (np.uint8, np.float32, np.float64):
        form = f"{images.dtype} {list(images.shape)}"
        raise model.fault(field, f"its 'images' are {form}, not uint8 or float [N, C, H, W]")
    return torch.from_numpy(images if images.dtype == np.uint8 else images.astype(np.float32))


def _probe_digests(model: Description) -> list[str]:
    if not model.probes:
        raise model.fault("file", "its rows name no images: add digests, or name the exported file: probes = ...")
    arrays = npz_arrays(model, read(model, "probes"), "probes")
    if "images" not in arrays:
        raise model.fault("probes", f"it has no array 'images', but {', '.join(sorted(arrays))}")
    return image_digests(_images(model, arrays["images"], "probes"))


def _csv(model: Description, content: bytes, labels: Sequence[str]) -> tuple[list[str] | None, Any]:
    """Read a CSV file: a header, then a line for each image with its digest and K numbers, or one label.

    A line without a number is an image that was not answered.
    """
    try:
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig")), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise model.fault("file", f"it is neither an npz nor a CSV file: {first_line(error)}") from None
    rows = [row for row in rows if row]
    if len(rows) < 2:
        raise model.fault("file", "it has no answers: a header is expected, and a line for each image")
    if len(rows[0]) == 1 and (marks := {";", "\t"} & {*rows[0][0]}):
        raise model.fault("file", f"its values must have commas between them, not {marks.pop()!r}, and decimal points")
    names = [name.strip() for name in rows[0]]
    named = "image" in names
    at = names.index("image") if named else 0
    used = [i for i, name in enumerate(names) if name not in (("image", *NO_ANSWERS) if named else ("",))]
    digests, values = [], []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(rows[0]):
            raise model.fault("file", f"line {number} has {len(row)} values, but the header {len(rows[0])}")
        if named and not any(row[i].strip() for i in used):
            continue  # the image was not answered
        digests.append(row[at])
        values.append([_number(model, row[i], number) for i in used])
    if not values:
        raise model.fault("file", "no image has an answer: fill in the table")
    answers = np.array(values)[:, _order(model, [names[i] for i in used], labels)]
    answers = answers[:, 0] if answers.shape[1] == 1 else answers
    return (digests if named else None), answers


def _order(model: Description, names: Sequence[str], labels: Sequence[str]) -> list[int]:
    """Return where the columns 0, 1, … are among columns of these names.

    If these are no numbers, they are the dataset's `labels` in any order, or the columns are in order.
    """
    if not all(name.isascii() and name.isdecimal() for name in names):
        named = not model.labels and sorted(names) == sorted(labels)
        return [names.index(label) for label in labels] if named else list(range(len(names)))
    numbers = [int(name) for name in names]
    if numbers != sorted(numbers) and sorted(numbers) != list(range(len(numbers))):
        raise model.fault("file", f"its columns are numbered {', '.join(names)[:80]}, not 0, 1, …: put them in order")
    return sorted(range(len(numbers)), key=numbers.__getitem__)


def _number(model: Description, text: str, line: int) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if math.isnan(value):
        raise model.fault("file", f"line {line}: {text!r:.40} is no number")
    return value
