"""Survey a folder of images before it becomes a dataset: what is in it, which images are usable, how it is divided."""

import csv
import hashlib
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.core.errors import BenchError, describe_error
from bench.datasets.folder_layout import Layout, find
from bench.datasets.image_folder import TOO_LARGE, Description, File, adapted, decoded, stored_folder

PARTS = ("train", "test")
MOST_SIDE = 4096
MOST_NAMED = 3
"""Files that an error names; the others are counted."""
LEAST = 2
"""Images of a class in a part: the host halves each part."""


class Facts(NamedTuple):
    """What is known of an image: digests of its file and of its pixels, size (height, width), number of channels."""

    sha256: str
    pixels: str
    size: tuple[int, int]
    channels: int


class Options(NamedTuple):
    """What a user asks for. `size` (height, width) and `channels`: None for those of the images."""

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: str = "crop"
    split: Path | None = None
    test_share: float = 0.2
    seed: int = 0
    flip: bool = False
    crop: int = 0
    related: Mapping[str, str] = {}


def survey(name: str, folder: Path, root: Path, options: Options) -> tuple[Description, list[str]]:
    """Return the description of an image folder, and notes on what a user may not expect; BenchError in one line."""
    layout = find(folder)
    facts = dict(zip((p for p, _ in layout.files), examine(folder, layout, options), strict=True))
    shape = _shape(folder, facts, options)
    twins = _twins(facts)
    labels = dict(layout.files)
    for same in twins.values():
        if len({labels[p] for p in same}) > 1:
            raise BenchError(f"{folder}: one image is in two classes: {_named(same)}. Leave one of them")
    if options.split:
        parts = _read_split(options.split, labels)
    else:
        parts = layout.parts or _seeded(layout, facts, options.test_share, options.seed)
    for same in twins.values():
        if len({parts[p] for p in same}) > 1:
            raise BenchError(f"{folder}: one image is in both parts, train and test: {_named(same)}. Leave one of them")
    different = {(labels[p], part, facts[p].pixels) for p, part in parts.items()}
    counts = Counter((label, part) for label, part, _ in different)
    for label, cls in enumerate(layout.classes):
        for part in PARTS:
            if counts[label, part] < LEAST:
                raise BenchError(
                    f"{folder}: class {cls!r} has {counts[label, part]} different images in its {part} part, "
                    f"at least {LEAST} are needed"
                )
    copies = dict.fromkeys(p for same in twins.values() for p in same[1:])
    kept = [(p, label) for p, label in layout.files if p not in copies]  # halves have no image in common
    files: dict[str, list[File]] = {
        part: [(p, label, facts[p].sha256) for p, label in kept if parts[p] == part] for part in PARTS
    }
    description = Description(
        name,
        stored_folder(folder, root),
        shape,
        options.fit,
        layout.classes,
        train=files["train"],
        test=files["test"],
        flip=options.flip,
        crop=options.crop,
        related=dict(options.related),
    )
    return description, _notes(layout, [*copies], options)


def _notes(layout: Layout, copies: Sequence[str], options: Options) -> list[str]:
    notes: list[str] = []
    usual = Options()
    by = "the file of --split does" if options.split else "the folders do" if layout.parts else ""
    if by and (options.test_share, options.seed) != (usual.test_share, usual.seed):
        notes.append(f"--test-share and --seed divide nothing: {by}")
    if layout.left_out:
        notes.append(f"{len(layout.left_out)} files are neither PNG nor JPEG and left out: {_named(layout.left_out)}")
    if copies:
        notes.append(f"{len(copies)} images are copies of others in their class and left out: {_named(copies)}")
    return notes


def _named(paths: Sequence[str]) -> str:
    more = f" and {len(paths) - MOST_NAMED:,} more" if len(paths) > MOST_NAMED else ""
    return ", ".join(paths[:MOST_NAMED]) + more


def examine(folder: Path, layout: Layout, options: Options) -> list[Facts]:
    """Read every image; BenchError names those that cannot be used."""

    def one(path: str) -> Facts | str:
        try:
            return _facts(folder / path, options)
        except Exception as error:  # Pillow raises many kinds
            return f"{path} ({_reason(error)})"

    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.filterwarnings("ignore", module="PIL")
        found = list(pool.map(one, (path for path, _ in layout.files)))
    if broken := [entry for entry in found if isinstance(entry, str)]:
        raise BenchError(
            f"{folder}: {len(broken):,} of {len(found):,} images cannot be used: {_named(broken)}. "
            "Repair or remove them"
        )
    return [entry for entry in found if isinstance(entry, Facts)]


def _reason(error: BaseException) -> str:
    from PIL import UnidentifiedImageError
    from PIL.Image import DecompressionBombError

    if isinstance(error, DecompressionBombError):
        return TOO_LARGE
    if isinstance(error, UnidentifiedImageError):
        return "no PNG or JPEG, or damaged"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return describe_error(error).removeprefix("OSError: ").removeprefix("BenchError: ")


def _facts(path: Path, options: Options) -> Facts:
    sha = hashlib.sha256(path.read_bytes()).hexdigest()
    image = decoded(path)
    pixels = hashlib.sha256(f"{image.mode}{image.size}".encode() + image.tobytes()).hexdigest()
    if options.size:
        adapted(image, (1, *options.size), options.fit)
    return Facts(sha, pixels, (image.height, image.width), 1 if image.mode == "L" else 3)


def _shape(folder: Path, facts: Mapping[str, Facts], options: Options) -> tuple[int, int, int]:
    sizes = sorted({f.size for f in facts.values()})
    if not options.size and len(sizes) > 1:
        both = " to ".join(f"{h}x{w}" for h, w in (sizes[0], sizes[-1]))
        raise BenchError(f"{folder}: the images differ in size, {both} (height x width): give --size")
    height, width = options.size or sizes[0]
    if max(height, width) > MOST_SIDE:
        raise BenchError(f"{folder}: images of {height}x{width} are too large: give a --size of at most {MOST_SIDE}")
    return options.channels or max(f.channels for f in facts.values()), height, width


def _twins(facts: Mapping[str, Facts]) -> dict[str, list[str]]:
    """Return the files with the same pixels, by these."""
    groups: dict[str, list[str]] = defaultdict(list)
    for path, f in facts.items():
        groups[f.pixels].append(path)
    return {pixels: paths for pixels, paths in groups.items() if len(paths) > 1}


def _seeded(layout: Layout, facts: Mapping[str, Facts], share: float, seed: int) -> dict[str, str]:
    """Divide the images of each class by a seed; copies of an image go to one part."""
    parts: dict[str, str] = {}
    for label in range(len(layout.classes)):
        groups: dict[str, list[str]] = defaultdict(list)
        for path, own in layout.files:
            if own == label:
                groups[facts[path].pixels].append(path)
        keys = sorted(groups)
        random = np.random.Generator(np.random.PCG64([seed, *b"image folder", label]))
        order = [keys[i] for i in random.permutation(len(keys))]
        count = min(max(LEAST, round(share * len(keys))), len(keys) - LEAST)
        for n, key in enumerate(order):
            parts |= dict.fromkeys(groups[key], "test" if n < count else "train")
    return parts


def _read_split(file: Path, labels: Mapping[str, int]) -> dict[str, str]:
    """Read the part of each image from a CSV file with the columns `file` and `part`; BenchError names the line."""
    parts: dict[str, str] = {}
    for line, path, part in _split_lines(file):
        if path not in labels:
            raise BenchError(f"{file}, line {line}: {path!r} is no image of the folder")
        if part not in PARTS:
            raise BenchError(f"{file}, line {line}: the part is {part!r}, not train or test")
        if path in parts:
            raise BenchError(f"{file}, line {line}: {path!r} is listed twice")
        parts[path] = part
    if missing := [path for path in labels if path not in parts]:
        raise BenchError(f"{file} does not list {len(missing):,} images of the folder: {_named(missing)}")
    return parts


def _split_lines(file: Path) -> Iterator[tuple[int, str, str]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.reader(lines, strict=True)
            header = [cell.strip().lower() for cell in next(rows, [])]
            if sorted(header) != ["file", "part"]:
                raise BenchError(f"{file}: the first line must be file,part")
            for row in rows:
                if len(row) != 2 and row:
                    raise BenchError(f"{file}, line {rows.line_num}: {len(row)} values instead of 2")
                if row:
                    found = dict(zip(header, row, strict=True))
                    path = found["file"].strip().replace("\\", "/").removeprefix("./")
                    yield rows.line_num, path, found["part"].strip().lower()
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise BenchError(f"{file} is no CSV file: {describe_error(error)}") from error
