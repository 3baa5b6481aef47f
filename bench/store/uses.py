"""Who uses a store: a small file per results folder and imported archive, so that their artifacts are kept.

ROOT/uses/ID.json    path, machine, date, and the first digits of the keys that are needed

A file is written before a run's first task, and stays until somebody forgets the folder: one that cannot be found may
have been moved, or be on a disk that is not mounted.
"""

import datetime
import hashlib
import json
import os
import platform
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct, ValidationError, convert

from bench.core.errors import StoreError
from bench.store.atomic import write_atomically
from bench.store.folders import StoreFolders, translated_errors, translated_read_errors

USES = "uses"
DIGITS = 16
"""Of a key."""


class Use(Struct, frozen=True):
    """What needs artifacts: a results folder or an archive, seen from a machine. `keys`: the first digits of each."""

    path: str
    content: str
    """What it holds: the digest of its Spec, or a word."""
    machine: str
    date: str
    keys: frozenset[str]

    @property
    def name(self) -> str:
        """The path; with the name of the machine before it if that is another one."""
        return self.path if self.machine == platform.node() else f"{self.machine}:{self.path}"

    @property
    def is_found(self) -> bool:
        """True if there is something at the path on this machine."""
        return os.path.lexists(os.fsencode(self.path))


def _file(store: StoreFolders, path: Path, content: str) -> Path:
    identity = hashlib.sha256(os.fsencode(path.resolve()) + b"\0" + content.encode()).hexdigest()
    return store.root / USES / f"{identity[:32]}.json"


def remember(store: StoreFolders, path: Path, content: str, keys: Iterable[str], goes_on: bool = False) -> None:
    """Record in a store that a folder or an archive needs artifacts. OSError if that cannot be written.

    `content` is the digest of its Spec, or a word. If the folder held something else before, it may have been renamed
    since: what was recorded then stays. With `goes_on`, these are the same results as before, and only `keys` are
    needed; otherwise those recorded before are, too.
    """
    file = _file(store, path, content)
    needed, before = frozenset(key[:DIGITS] for key in keys), None
    with suppress(StoreError):  # a damaged file is replaced
        before = remembered(store, path, content)
    if before and not (goes_on and before.machine == platform.node()):
        needed |= before.keys
    if before is None or before.keys != needed:
        use = {
            "path": str(path.resolve()),
            "content": content,
            "machine": platform.node(),
            "date": datetime.date.today().isoformat(),
            "keys": sorted(needed),
        }
        store.subfolder(USES)
        write_atomically(file, json.dumps(use, indent=1))


def remembered(store: StoreFolders, path: Path, content: str) -> Use | None:
    """Return what a store remembers of a folder or archive with this content; StoreError if it cannot be read."""
    file = _file(store, path, content)
    return _read(file) if file.is_file() else None


def uses(store: StoreFolders) -> dict[Path, Use]:
    """Return all that uses a store, by the file that records it; StoreError if one of them cannot be read."""
    folder = store.root / USES
    with translated_read_errors(folder):
        # `glob` takes a folder without the right to read for an empty one
        files = sorted(p for p in folder.iterdir() if p.suffix == ".json") if folder.is_dir() else []
    return {file: _read(file) for file in files}


def forget(store: StoreFolders, files: Iterable[Path]) -> None:
    """Remove records of uses."""
    with translated_errors(store.root):
        for file in files:
            file.unlink(missing_ok=True)


def _read(file: Path) -> Use:
    try:
        with translated_read_errors(file):
            return convert(json.loads(file.read_bytes()), Use)
    except (ValueError, ValidationError, RecursionError) as error:
        raise StoreError(
            f"{file} is damaged: it records which artifacts are needed. Remove it if you know the results that use "
            "this store, and name them with --results"
        ) from error
