"""Manifests: the SHA-256 of every file of a folder, in the format of `sha256sum`, and what differs from it."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.core.errors import BenchError, printable
from bench.store.atomic import syncs, write_atomically

MANIFEST = "MANIFEST.sha256"
"""The name of a folder's manifest: `sha256sum -c MANIFEST.sha256` checks it, too."""
SIGNATURE = f"{MANIFEST}.minisig"
"""The name of the manifest's signature, as minisign names it."""
LOCK = ".answers.csv.writing"
"""The name of the lock of evidence that is being written, where it cannot be beside the folder: no file of it."""
LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")
LARGEST = 1 << 32
"""Bytes of a file of such a folder."""


def files(folder: Path) -> list[str]:
    """Return the names of all files below a folder but its manifest, signature and lock, sorted, with slashes.

    BenchError for links, devices and pipes: reading them may never end, or reach other folders.
    """
    if not folder.is_dir():
        raise BenchError(f"{folder} is no folder")
    return sorted(name for name in _names(folder) if name not in (MANIFEST, SIGNATURE, LOCK))


def _names(folder: Path) -> Iterator[str]:
    for where, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(where) / name
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                raise BenchError(printable(f"{path} is no plain file: remove it"))
            if path.is_file():
                yield path.relative_to(folder).as_posix()


def digest(path: Path) -> str:
    """Return the SHA-256 of a file; BenchError if it cannot be read."""
    try:
        if path.stat().st_size > LARGEST:
            raise BenchError(f"{path} has more than {LARGEST >> 30} GiB")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from None


def write(folder: Path) -> None:
    """Write the manifest of a folder, after all its other files are on the disk."""
    names = files(folder)
    paths = [folder / name for name in names]
    with syncs() as sync_all:
        sync_all(paths)
        sync_all({path.parent for path in paths})
    write_atomically(folder / MANIFEST, "".join(f"{digest(folder / name)}  {name}\n" for name in names))


def read(folder: Path) -> dict[str, str]:
    """Return the digests of a folder's manifest by the names of the files; BenchError if it is none."""
    path = folder / MANIFEST
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise BenchError(f"{path} cannot be read: {why}. Did bench make this folder, and is it complete?") from None
    found = [LINE.fullmatch(line) for line in lines]
    for number, match in enumerate(found, 1):
        if match is None:
            raise BenchError(f"{path}: line {number} is no digest and name of a file, as sha256sum writes them")
    return {match[2]: match[1] for match in found if match}


def check(folder: Path, expected: Mapping[str, str], source: str) -> None:
    """Raise BenchError unless a folder has exactly the `expected` files, by name; `source` is what lists them."""
    found = files(folder)
    for name in sorted(expected.keys() - set(found)):
        raise BenchError(printable(f"{folder / name} is missing: {source} lists it"))
    for name in found:
        if name not in expected:
            raise BenchError(printable(f"{folder / name} does not belong to the folder: {source} does not list it"))
    for name in found:
        if digest(folder / name) != expected[name]:
            raise BenchError(f"{folder / name} was changed: its digest is not that of {source}")
