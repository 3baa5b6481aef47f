"""Where the images of a folder are: class folders, and folders of parts around them."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

from bench.core.errors import BenchError

SUFFIXES = (".png", ".jpg", ".jpeg")
HALVES = dict.fromkeys(("train", "training"), "train") | dict.fromkeys(
    ("test", "testing", "val", "valid", "validation"), "test"
)
"""The part that a folder of such a name holds; upper case counts as lower case."""
OF_PARTS = {*HALVES, "dev", "eval"}
"""Words in names of parts, such as `training_set`; only those of `HALVES` alone are read."""


class Layout(NamedTuple):
    """Where the images of a folder are: classes, files with their class, and the part of each if folders name it."""

    classes: list[str]
    files: list[tuple[str, int]]
    parts: dict[str, str]
    left_out: list[str]


def find(folder: Path) -> Layout:
    """Find the class folders of a folder and their images; folders such as `train` and `test` around them divide."""
    try:
        tops = [name for name in _entries(folder) if (folder / name).is_dir()]
        roots = _parts(folder, tops) or {"": ""}
        classes = sorted({n for top in roots for n in _entries(folder / top) if (folder / top / n).is_dir()})
        files: list[tuple[str, int]] = []
        parts: dict[str, str] = {}
        left_out: list[str] = []
        for top, part in roots.items():
            for label, cls in enumerate(classes):
                base = f"{top}/{cls}" if top else cls
                found, others = _below(folder, base)
                if not found:
                    raise BenchError(f"{folder}: class folder {base!r} holds no PNG or JPEG")
                files += [(path, label) for path in found]
                left_out += others
                parts |= dict.fromkeys(found, part) if part else {}
            left_out += [n for n in _entries(folder / top) if not (folder / top / n).is_dir()]
    except OSError as error:
        where = error.filename or folder
        raise BenchError(f"{where} cannot be read: {error.strerror or error}") from error
    if len(classes) < 2:
        raise BenchError(f"{folder} has {len(classes)} class folders, at least 2 are needed: a folder for each class")
    return Layout(classes, files, parts, left_out)


def _parts(folder: Path, tops: Sequence[str]) -> dict[str, str]:
    """Return the part that each folder is; none if they are classes. BenchError for parts that cannot be read."""
    words = {top: {w.removesuffix("set") for w in re.findall("[a-z]+", top.casefold())} for top in tops}
    likely = [top for top in tops if OF_PARTS & words[top]]
    inside = {top: {n for n in _entries(folder / top) if (folder / top / n).is_dir()} for top in likely}
    known = {top: HALVES[top.casefold()] for top in likely if top.casefold() in HALVES}
    if len(known) < 2 or "train" not in known.values():
        shared = sorted(set.intersection(*inside.values())) if len(likely) > 1 else []
        if len(shared) > 1:
            raise BenchError(
                f"{folder} has folders {_and(likely)}, with {shared[0]} and {shared[1]} in each of them: name the "
                "parts train and test, or add one of them alone. If they are classes, give them other names"
            )
        return {}
    others = [top for top in tops if top not in known]
    if not any(inside[top] for top in known) or (others and not set.intersection(*(inside[top] for top in known))):
        return {}  # classes that happen to have such names
    if len(known) > 2 or len(set(known.values())) < 2:
        raise BenchError(f"{folder} has folders {_and(known)}: move one of them elsewhere")
    if others:
        raise BenchError(f"{folder} has folders {_and(known)}, and {others[0]} beside them: move that elsewhere")
    for top in known:
        if images := _images(folder / top)[0]:
            raise BenchError(f"{folder}: {top}/{images[0]} is in no class folder: {_way_out(folder, top, inside)}")
    return known


def _way_out(folder: Path, top: str, inside: Mapping[str, Set[str]]) -> str:
    """Return what to do about images of a part that are in none of its class folders."""
    if inside[top]:
        return "move it into one of them, or elsewhere"
    other = next(name for name, classes in inside.items() if classes)
    return f"sort the images of {top} into class folders, or add {folder / other} alone"


def _and(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}"


def _entries(folder: Path) -> list[str]:
    """Return the names in a folder, sorted, without hidden ones; BenchError for one that cannot be written as text."""
    names = sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    for name in names:
        if not name.isprintable() or "\\" in name:
            raise BenchError(f"{folder}: the name {name!r} cannot be used: rename it")
    return names


def _images(folder: Path) -> tuple[list[str], list[str]]:
    """Return the files of a folder: images, then others."""
    names = [name for name in _entries(folder) if not (folder / name).is_dir()]
    images = [name for name in names if name.lower().endswith(SUFFIXES)]
    return images, [name for name in names if name not in set(images)]


def _below(folder: Path, base: str, seen: frozenset[str] = frozenset()) -> tuple[list[str], list[str]]:
    """Return the images below a folder, at any depth, then other files; BenchError for links that lead in a circle."""
    here = os.path.realpath(folder / base)
    if here in seen:
        raise BenchError(f"{folder}: {base} is a link to a folder that holds it: remove it")
    images, others = ([f"{base}/{name}" for name in names] for names in _images(folder / base))
    for name in _entries(folder / base):
        if (folder / base / name).is_dir():
            found, left = _below(folder, f"{base}/{name}", seen | {here})
            images, others = images + found, others + left
    return images, others
