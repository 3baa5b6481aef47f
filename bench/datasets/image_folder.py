"""Image folders as datasets: described by `bench data add`, offered to the registry as any plugin's datasets are.

DATA/image_folders/NAME.json   what a folder holds: classes, parts, the SHA-256 of each file
"""

import functools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec
import pluggy

from bench.api.components import Dataset
from bench.api.data import Split
from bench.core.canonical import JSON, digest
from bench.core.errors import BenchError, describe_error
from bench.datasets.files import DESCRIPTIONS, data_root, translated_errors, write_json
from bench.registry.discovery import DATA

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PIXELS = 89_478_485
"""Pixels of an image; a file of a few bytes may claim more, to fill the memory. It is Pillow's own limit, too."""
TOO_LARGE = f"more than {MOST_PIXELS:,} pixels"

File = tuple[str, int, str]
"""A file: its path below the folder, with `/`; its label; its SHA-256."""

hookimpl = pluggy.HookimplMarker("bench")


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is known of an image folder. `folder` is absolute, or relative to the data root."""

    name: str
    folder: str
    shape: tuple[int, int, int]
    fit: str
    classes: list[str]
    train: list[File]
    test: list[File]
    flip: bool = False
    crop: int = 0
    related: dict[str, str] = {}
    format: int = 1

    def identity(self) -> str:
        """Return a digest of the images and of how they are made equal: the same wherever the folder is."""
        plain = msgspec.to_builtins(self)
        return digest({k: v for k, v in plain.items() if k not in ("name", "folder", "related")})


def description_path(root: Path, name: str) -> Path:
    """Return the file that describes an image folder."""
    return root / DESCRIPTIONS / f"{name}.json"


def write_description(root: Path, description: Description) -> None:
    """Write the description of an image folder, with its digest."""
    content = msgspec.to_builtins(description)
    path = description_path(root, description.name)
    with translated_errors(root, "written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {**content, "digest": digest(content)})


def read_description(path: Path) -> Description:
    """Read a description; BenchError if it is damaged."""
    try:
        content: dict[str, JSON] = msgspec.json.decode(path.read_bytes())
        claimed = content.pop("digest")
        found = msgspec.convert(content, Description)
        if claimed == digest(msgspec.to_builtins(found)) and found.name == path.stem:
            return found
    except (OSError, AttributeError, KeyError, TypeError, ValueError, RecursionError):  # msgspec's are ValueErrors
        pass
    raise BenchError(f"the description {path} is damaged: remove it, and add the folder again with bench data add")


@dataclass(frozen=True)
class ImageFolder(Dataset):
    """A folder of PNG or JPEG files, one folder per class."""

    name: str = "image_folder"
    version: int = 1
    digest: str = ""
    """Of the images and of how they are made equal."""

    _description = Description("", "", (1, 1, 1), "crop", ["", ""], [], [])

    @property
    def num_classes(self) -> int:
        """Return the number of class folders."""
        return len(self._description.classes)

    @property
    def label_names(self) -> Sequence[str]:
        """Return the names of the class folders, in the order of the labels."""
        return tuple(self._description.classes)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the shape that the images are brought into."""
        return self._description.shape

    @property
    def flip(self) -> bool:
        """Return True if a mirrored image keeps its label."""
        return self._description.flip

    @property
    def crop(self) -> int:
        """Return the largest shift of a training image."""
        return self._description.crop

    @property
    def related(self) -> Mapping[str, str]:
        """Return the datasets that attacks may use."""
        return self._description.related

    @property
    def checksums(self) -> Mapping[str, str]:
        """Return the path of each file, below the data root or absolute, with its SHA-256."""
        d = self._description
        return {f"{d.folder}/{path}": f"sha256:{sha}" for path, _, sha in (*d.train, *d.test)}

    @property
    def remedy(self) -> str:
        """Return what a user can do about missing or damaged files."""
        again = f"bench data remove {self.name}, then bench data add {self.name} FOLDER"
        return f"Put the files back, or add the folder again: {again}"

    def load(self, root: Path, train: bool) -> Split:
        """Read a part of the images; BenchError if one cannot be read, or another digest was asked for."""
        import torch

        d = self._description
        if self.digest != d.identity():
            raise BenchError(f"the images of {self.name} are {d.identity()[:16]} here, not {self.digest[:16]}")
        part = d.train if train else d.test
        images = torch.empty(len(part), *d.shape, dtype=torch.uint8)

        def read(index: int) -> None:
            path = root / d.folder / part[index][0]
            try:
                images[index] = _tensor(adapted(decoded(path), d.shape, d.fit))
            except Exception as error:  # Pillow raises many kinds
                raise BenchError(f"{path} cannot be read: {describe_error(error)}") from error

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for _ in pool.map(read, range(len(part))):
                pass
        return Split(images, torch.tensor([label for _, label, _ in part], dtype=torch.int64))


@dataclass(frozen=True)
class DamagedFolder(ImageFolder):
    """An image folder whose description is damaged: add it again."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """Return the path of the description."""
        return {f"{DESCRIPTIONS}/{self.name}.json": ""}

    def check(self, root: Path) -> list[str]:
        """Return what is wrong."""
        return [f"the description {description_path(root, self.name)} is damaged: remove it, and add the folder again"]


@hookimpl
def bench_datasets() -> list[Dataset]:
    """Return the image folders that are described in the data folder."""
    root = DATA.get() or data_root()
    return [_component(path) for path in sorted((root / DESCRIPTIONS).glob("*.json")) if _is_name(path.stem)]


def _is_name(text: str) -> bool:
    from bench.registry.validation import NAME

    return NAME.fullmatch(text) is not None


def _component(path: Path) -> Dataset:
    """Return the dataset of a description, an instance of a class of its own, which declares what that says."""
    stat = path.stat()
    return _cached(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(64)
def _cached(path: Path, modified: int, size: int) -> Dataset:
    try:
        description = read_description(path)
    except BenchError:
        return DamagedFolder(path.stem)
    d = description
    text = f"{len(d.train) + len(d.test):,} images of {len(d.classes)} classes in {d.folder}."
    own: dict[str, Any] = {"_description": d, "__doc__": text, "__module__": __name__}
    made: Any = dataclass(frozen=True)(type("ImageFolder", (ImageFolder,), own))
    result: Dataset = made(d.name, 1, d.identity())
    return result


def decoded(path: Path) -> "Image":
    """Return an image upright, 8 bits a channel, grey (`L`) or colour (`RGB`); transparent parts are on black.

    Raises what Pillow raises for a file that it cannot read.
    """
    import PIL.Image
    from PIL import ImageOps

    with path.open("rb") as file, PIL.Image.open(file, formats=("PNG", "JPEG")) as opened:
        if opened.width * opened.height > MOST_PIXELS:
            raise BenchError(TOO_LARGE)
        opened.load()
        try:
            image = ImageOps.exif_transpose(opened)
        except Exception:  # what a camera wrote may be damaged where the image is not
            image = opened.copy()
    if image.mode.startswith("I"):  # 16 bits: Pillow's own conversion would cut them off at 255
        import numpy as np

        return PIL.Image.fromarray((np.asarray(image).astype(np.float64) / 257).round().clip(0, 255).astype(np.uint8))
    grey = image.mode in ("1", "L", "LA", "La")
    if image.mode in ("PA", "LA", "La", "RGBA", "RGBa") or "transparency" in image.info:
        image = image.convert("RGBA")
        black = PIL.Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = PIL.Image.alpha_composite(black, image)
    return image.convert("L" if grey else "RGB")


def adapted(image: "Image", shape: Sequence[int], fit: str) -> "Image":
    """Return an image with a number of channels and a size: stretched, cut (`crop`) or with black borders (`pad`)."""
    from PIL import ImageOps
    from PIL.Image import Resampling

    channels, height, width = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size == (width, height):
        return image
    if fit == "stretch":
        return image.resize((width, height), Resampling.BILINEAR)
    change = ImageOps.fit if fit == "crop" else ImageOps.pad
    return change(image, (width, height), method=Resampling.BILINEAR)


def _tensor(image: "Image") -> Any:
    import numpy as np
    import torch

    array = np.array(image)
    return torch.from_numpy(array[None] if array.ndim == 2 else array.transpose(2, 0, 1))


def stored_folder(folder: Path, root: Path) -> str:
    """Return how a description names a folder: relative to the data root if it is below it."""
    absolute, base = folder.absolute(), root.absolute()
    inside = absolute.is_relative_to(base)
    return PurePath(absolute.relative_to(base) if inside else absolute).as_posix()
