"""The folders of a store: names, creation, staging and quarantine of artifacts."""

import errno
import os
import re
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.core.errors import BenchError, StoreError, printable
from bench.store.atomic import DENIED, NO_SPACE, move_folder

RECORD = "artifact.json"
"""The file that makes a folder an artifact."""

PROBE = 1 << 14
"""Bytes that a run which computes something needs at least."""

WRITING = 10.0
"""Seconds in which the record of an artifact is written."""

KEY = re.compile(r"[0-9a-f]{64}")
GROUP = re.compile(r"[0-9a-f]{2}")
"""The name of a folder of artifacts: how their keys begin."""

REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EFBIG: "the file would be too large",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.ESTALE: "its folder is gone (a network disk?)",
    errno.EIO: "the disk reports an error",
}


@contextmanager
def translated_errors(root: Path) -> Iterator[None]:
    """Raise StoreError instead of OSError: the store cannot be used."""
    try:
        yield
    except OSError as error:
        why = REASONS.get(error.errno or 0, error.strerror or str(error))
        another = "Choose another with --store or $BENCH_STORE"
        if isinstance(error, PermissionError) and (path := _denied(error)) and os.access(root, os.W_OK):
            why = f"{why} for {printable(str(path))}"
            another = f"Ask its owner for the right to write, or c{another[1:]}"
        raise StoreError(f"The store {root} cannot be used: {why}. {another}") from error


def _denied(error: PermissionError) -> Path | None:
    """Return the folder, or else the file, for which a right is missing, if it is known."""
    named = (error.filename, error.filename2)
    paths = [path for name in named if isinstance(name, str | os.PathLike) and (path := Path(name)).is_absolute()]
    folders = (path.parent for path in paths if not os.access(path.parent, os.W_OK))
    return next(folders, paths[0] if paths else None)


@contextmanager
def translated_read_errors(path: Path) -> Iterator[None]:
    """Raise StoreError instead of OSError: a file cannot be read."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"The store cannot read {path}: {error.strerror or error}") from error


def default_root() -> Path:
    """Return `$BENCH_STORE`, or `store` in the user's cache directory; BenchError if the user has no home folder."""
    return user_folder(os.environ.get("BENCH_STORE"), "store", "--store or $BENCH_STORE")


def user_folder(named: str | None, name: str, option: str) -> Path:
    """Return a folder that the user named, else `name` in the user's cache directory.

    BenchError if that is in a home folder and there is none, as for a container's user without an account.
    """
    from platformdirs import user_cache_path

    try:
        found = Path(named).expanduser() if named else user_cache_path("fingerprint-bench") / name
    except RuntimeError:  # so says pathlib; platformdirs leaves the ~
        found = Path("~")
    if found.parts[:1] == ("~",):
        raise BenchError(f"No home folder is known for {named or 'this user'}: set HOME, or use {option}")
    return found


def is_changing(folder: Path) -> bool:
    """Return True if a process may be writing the record of an artifact at this moment.

    It is copied where the file system cannot replace files, or has no name yet where it cannot rename folders.
    """
    with suppress(OSError):
        names = [path.name for path in folder.iterdir()]
        young = abs(time.time() - folder.stat().st_mtime) < WRITING
        return young and (RECORD not in names or any(n.startswith(f".{RECORD}.") for n in names))
    return False


class StoreFolders:
    """The folders below a store's root. With `exists`, a missing root is an error: the store is lost, not new."""

    def __init__(self, root: str | Path, exists: bool = False) -> None:
        self.root = user_folder(str(root), "store", "--store or $BENCH_STORE").absolute()
        self.quarantined: list[str] = []
        """Keys of the damaged artifacts that this object found; they stay in a store that is full or read-only."""
        self.staged: dict[str, Path] | None = None
        """The folders of artifacts that are written and not published yet; None: each is published at once."""
        self._seen = exists

    def folder(self, key: str) -> Path:
        """Return the folder of an artifact: the temporary one as long as it is not published."""
        return (self.staged or {}).get(key) or self.root.joinpath("artifacts", key[:2], key)

    def log(self, key: str) -> Path:
        """Return the path of a task's log."""
        return self.root / "logs" / f"{key}.txt"

    def has_log(self, keys: Collection[str]) -> bool:
        """Return True if one of some tasks has a log."""
        with suppress(OSError):
            return bool(keys) and any(path.stem in keys for path in self.log("").parent.iterdir())
        return False

    def check_writable(self) -> None:
        """Write PROBE bytes under the longest path that the store uses, and move them. StoreError if that fails."""
        with translated_errors(self.root):
            name = f"{'0' * 64}.{uuid.uuid4().hex}"
            probe, moved = self.subfolder("tmp") / name, self.root / "artifacts" / name
            try:
                probe.mkdir()
                (probe / f".{RECORD}.{uuid.uuid4().hex}.part").write_bytes(bytes(PROBE))
                move_folder(probe, moved, RECORD)
            finally:
                shutil.rmtree(probe, ignore_errors=True)
                shutil.rmtree(moved, ignore_errors=True)

    def subfolder(self, name: str) -> Path:
        """Return one of the store's own folders. It is created, and so is a store that never existed.

        OSError if the store existed and is gone: a lost disk must not be mistaken for an empty store.
        """
        artifacts = self.root / "artifacts"
        if self._seen and not artifacts.is_dir():
            raise OSError(errno.ESTALE, REASONS[errno.ESTALE])
        artifacts.mkdir(parents=True, exist_ok=True)
        self._seen = True
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name

    @contextmanager
    def staging(self, key: str) -> Iterator[Path]:
        """Yield a temporary folder in which to write an artifact before it is committed. StoreError on errors."""
        temporary = self.root / "tmp" / f"{key}.{uuid.uuid4().hex}"
        try:
            with translated_errors(self.root):
                self.subfolder("tmp")
                temporary.mkdir()
                yield temporary
        finally:
            if (self.staged or {}).get(key) != temporary:
                shutil.rmtree(temporary, ignore_errors=True)

    def all_keys(self) -> Iterator[str]:
        """Yield the keys of all artifacts."""
        top = self.root / "artifacts"
        with translated_read_errors(top):
            # no others: `check_writable` of another process may remove its own at this moment
            found = [p for p in top.iterdir() if GROUP.fullmatch(p.name)] if top.is_dir() else []
            groups = sorted(p for p in found if p.is_dir())
        for group in groups:
            with translated_read_errors(group):
                keys = sorted(p.name for p in group.iterdir() if KEY.fullmatch(p.name))
            yield from keys

    def look_again(self, key: str) -> None:
        """List the folders that an artifact is in: NFS remembers for up to a minute that a name was absent."""
        for folder in (self.root / "artifacts", self.root / "artifacts" / key[:2]):
            with suppress(OSError):
                next(folder.iterdir(), None)

    def forget(self, key: str) -> bool:
        """Remove an artifact; return False if there was none."""
        name = f"{key}.{uuid.uuid4().hex}.old"
        folder = self.folder(key)
        with translated_errors(self.root):
            trash = self.root / "tmp" / name
            try:
                moved = self._move(key, trash)
            except OSError as error:
                if error.errno not in NO_SPACE:
                    raise
                trash = folder.with_name(f".{name}")  # a full disk may have no `tmp`, and take no new one
                moved = self._move(key, trash)
            shutil.rmtree(trash, ignore_errors=True)
        return moved

    def quarantine(self, key: str) -> None:
        """Move a damaged artifact into `damaged/`, where somebody may examine it; one that cannot be moved stays."""
        target = self.root / "damaged" / f"{key}.{uuid.uuid4().hex[:8]}"
        with translated_errors(self.root):
            try:
                found = self._move(key, target)
                with suppress(OSError):
                    os.utime(target)  # its age begins now
            except OSError as error:
                if error.errno not in (*DENIED, *NO_SPACE):
                    raise
                found = True
            if found and key not in self.quarantined:
                self.quarantined.append(key)

    def _move(self, key: str, target: Path) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            move_folder(self.folder(key), target, RECORD)
        except FileNotFoundError:  # another process may have moved it
            return False
        return True
