"""Record the files from which a dataset was loaded, and notice that they changed."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path, PurePath

from msgspec import DecodeError, Struct, json

from bench.api.components import Dataset
from bench.core.canonical import JSON, digest
from bench.core.errors import describe_error
from bench.datasets.files import CACHE, read_cache, state, translated_errors, write_cache
from bench.datasets.observation import Observation, observed
from bench.store.folders import translated_read_errors
from bench.store.store import GONE, Store
from bench.store.tensors import file_digest

NAME, TENSOR = "files", "json"
"""The file of a `data` artifact that holds the record, and its tensor: the bytes of JSON, uint8."""


class FileState(Struct, array_like=True, frozen=True):
    """What is recorded of a file: bytes, times in nanoseconds, SHA-256."""

    size: int
    modified: int
    changed: int
    sha256: str

    @property
    def state(self) -> tuple[int, int, int]:
        """What `files.state` returned of the file."""
        return self.size, self.modified, self.changed


class FileRecord(Struct, frozen=True):
    """The files that `load` read, and the entries of the folders that it listed; paths are relative to the data root.

    It may come from an imported archive: ValueError for a path that leads elsewhere or cannot be printed.
    """

    files: dict[str, FileState]
    folders: dict[str, list[str]]

    def __post_init__(self) -> None:
        for path in map(PurePath, (*self.files, *self.folders)):
            if path.anchor or ".." in path.parts:
                raise ValueError(f"{path} is not below the data folder")
        if not all(name.isprintable() for names in (self.files, *self.folders.values()) for name in names):
            raise ValueError("a name holds control characters")


def record(dataset: Dataset, root: Path, seen: Observation) -> bytes:
    """Return the record of the files that a dataset declares or was seen to read, as JSON; empty if there are none.

    Of a folder that was listed, the names of its folders and of its files with a suffix of those read are recorded; of
    `root` itself, which other datasets may share, only the files.
    """
    with translated_errors(root, "read"):
        below = (path for path in dataset.checksums if not PurePath(path).is_absolute())
        declared = {path for path in below if (root / path).is_file()}
        paths = sorted((seen.files(root) | declared) - {CACHE})
        files = {path: FileState(*state(root / path), file_digest(root / path)) for path in paths}
        parents = {
            parent.as_posix() for f in {p.rpartition("/")[0] for p in paths} for parent in PurePath(f, "x").parents
        }
        suffixes = frozenset(map(_suffix, paths))
        folders = {f: sorted(_entries(root, f, suffixes)) for f in sorted(seen.folders(root) & parents)}
    return json.encode(FileRecord(files, folders)) if files else b""


def _suffix(path: str) -> str:
    name = path.rpartition("/")[2]
    return name.rpartition(".")[2] if "." in name else ""


def _entries(root: Path, folder: str, suffixes: frozenset[str]) -> set[str]:
    with os.scandir(root / folder) as entries:
        visible = [entry for entry in entries if entry.name.isprintable() and not entry.name.startswith(".")]
        return {e.name for e in visible if (folder != "." if e.is_dir() else _suffix(e.name) in suffixes)}


def changes(store: Store, key: str, stored: dict[str, JSON], root: Path) -> list[str]:
    """List what differs from the files from which a `data` artifact was made, one line each.

    `stored` is the record of the artifact. Files that are absent are no change, unless others of a listed folder are
    present. A file is read only if its size or one of its times differs; if the content is the same nevertheless, the
    cache of verified files records that.
    """
    expected = _read(store, key, stored)
    if expected is None:
        return []
    present = {path: found for path in expected.files if (found := _state(root / path))}
    lines = _listing_changes(expected, root)
    differing = [path for path, found in present.items() if found != expected.files[path].state]
    seen = digest(present) if differing else ""
    if differing and read_cache(root).get(f"data {key}") != seen:
        with translated_errors(root, "read"):
            changed = [p for p in differing if _content_differs(root / p, expected.files[p], present[p])]
        if not changed:
            write_cache(root, {f"data {key}": seen})
        lines += [f"{path} changed" for path in changed]
    return lines


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        return state(path)
    except OSError:  # without access it counts as absent
        return None


def _content_differs(path: Path, expected: FileState, found: tuple[int, int, int]) -> bool:
    return found[0] != expected.size or file_digest(path) != expected.sha256


def _listing_changes(expected: FileRecord, root: Path) -> list[str]:
    lines, suffixes = [], frozenset(map(_suffix, expected.files))
    for folder, names in expected.folders.items():
        try:
            present = _entries(root, folder, suffixes)
        except OSError:
            continue
        if present & set(names):
            lines += [f"{PurePath(folder, name)} was added" for name in sorted(present - set(names))]
            lines += [f"{PurePath(folder, name)} was removed" for name in sorted(set(names) - present)]
    return lines


def _read(store: Store, key: str, stored: dict[str, JSON]) -> FileRecord | None:
    """Return the record in an artifact; None if it has none. A damaged artifact is quarantined.

    StoreError if it cannot be read. The file is not mapped, which some file systems cannot do.
    """
    name = f"{NAME}.safetensors"
    if name not in stored["files"]:
        return None
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path = store.folder(key) / name
    with translated_read_errors(path), suppress(*GONE, KeyError, SafetensorError, DecodeError):
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() == stored["files"][name]["sha256"]:
            return json.decode(load(content)[TENSOR].tobytes(), type=FileRecord)
    store.quarantine(key)
    return None


def load_errors(dataset: Dataset, root: Path) -> tuple[list[str], int]:
    """Load both parts; return what prevents that, one line or none, and the number of files read below `root`."""
    from bench.datasets.partition import read

    with observed() as seen:
        try:
            if read(dataset, root, True).origin is None:
                read(dataset, root, False)
        except Exception as error:  # a plugin may raise anything
            return [f"cannot be loaded ({describe_error(error)})"], 0
    return [], len(seen.files(root))
