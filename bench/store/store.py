"""Content-addressed artifacts: a folder per key that is complete or absent, and whose bytes are checked when read.

ROOT/artifacts/ab/abcdef.../artifact.json and *.safetensors
ROOT/logs/KEY.txt    what plugin code printed, and its tracebacks
ROOT/damaged/        artifacts whose bytes were not those that had been saved
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.canonical import JSON, canonical, digest
from bench.core.errors import BenchError, DamagedArtifact, StoreError
from bench.store.tensors import file_digest, savable, sync, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

RECORD = "artifact.json"

KEY = re.compile(r"[0-9a-f]{64}")

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
def _telling(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = REASONS.get(error.errno or 0, error.strerror or str(error))
        text = f"The store {root} cannot be used: {why}. Choose another with --store or $BENCH_STORE"
        raise StoreError(text) from error


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"The store cannot read {path}: {error.strerror or error}") from error


def default_root() -> Path:
    """Give `$BENCH_STORE`, or `store` in the user's cache directory."""
    from platformdirs import user_cache_path

    named = os.environ.get("BENCH_STORE")
    return Path(named).expanduser() if named else user_cache_path("fingerprint-bench") / "store"


class Store:
    """Artifacts below one folder. Several processes and machines may use it at once.

    `there` says that the store is known to be there: it is not made, and where it is missing it is lost.
    """

    def __init__(self, root: str | Path, there: bool = False) -> None:
        self.root = Path(root).expanduser().absolute()
        self.quarantined: list[str] = []
        """Keys of damaged artifacts that this object came upon."""
        self._seen = there

    def folder(self, key: str) -> Path:
        """Give the place of an artifact."""
        return self.root / "artifacts" / key[:2] / key

    def log(self, key: str) -> Path:
        """Give the place of a task's log."""
        return self.root / "logs" / f"{key}.txt"

    def check_writable(self) -> None:
        """Write and remove a small file; StoreError where that fails."""
        with _telling(self.root):
            self._part("logs")
            probe = self._part("tmp") / f"probe.{uuid.uuid4().hex}"
            try:
                probe.write_bytes(b"bench")
            finally:
                probe.unlink(missing_ok=True)

    def _part(self, name: str) -> Path:
        """Give one of the store's own folders, making it, and the store where it has never been.

        OSError where the store was there and is gone: a lost disk must not be mistaken for an empty store.
        """
        artifacts = self.root / "artifacts"
        if self._seen and not artifacts.is_dir():
            raise OSError(errno.ESTALE, REASONS[errno.ESTALE])
        artifacts.mkdir(parents=True, exist_ok=True)
        self._seen = True
        (self.root / name).mkdir(exist_ok=True)
        return self.root / name

    def record(self, key: str) -> dict[str, JSON] | None:
        """Read an artifact's record (kind, facts, files, how it was made); None where there is none.

        A damaged one is set aside, and counts as absent.
        """
        path = self.folder(key) / RECORD
        text = self._read(path)
        if text is None:
            if not os.path.lexists(path.parent):
                return None
            text = self._read(path)  # another process may have put the folder there in between
            if text is None:
                self._quarantine(key)
                return None
        try:
            record: dict[str, JSON] = json.loads(text)
            told = record.pop("digest")
            good = told == digest(record) and record["key"] == key
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            good = False
        if not good:
            self._quarantine(key)
            return None
        return record

    def _read(self, path: Path) -> bytes | None:
        with _reading(path):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                return None

    def facts(self, key: str) -> dict[str, JSON] | None:
        """Read the facts of an artifact, the JSON part of it; None where there is none."""
        record = self.record(key)
        return None if record is None else dict(record["facts"])

    def has(self, key: str) -> bool:
        """Say whether an artifact's facts are there."""
        return self.record(key) is not None

    def whole(self, key: str) -> bool:
        """Say whether an artifact is there with all its tensors (`--keep scores` removes a suspect's)."""
        record = self.record(key)
        return record is not None and self.is_complete(key, record)

    def is_complete(self, key: str, record: Mapping[str, JSON]) -> bool:
        """Say whether the files that a record names are there, in their sizes."""
        if record.get("dropped"):
            return False
        for name, entry in record["files"].items():
            path, size = self.folder(key) / name, -1
            with _reading(path), suppress(FileNotFoundError, NotADirectoryError):
                size = path.stat().st_size
            if size != entry["bytes"]:
                self._damaged(key, record)
                return False
        return True

    def load(self, key: str, name: str, device: str = "cpu") -> dict[str, Tensor]:
        """Read one file of an artifact, such as `weights`, checking its digest; DamagedArtifact where it differs."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        record = self.record(key)
        path = self.folder(key) / f"{name}.safetensors"
        if record is None or path.name not in record["files"] or path.name in record["dropped"]:
            raise DamagedArtifact(f"Artifact {key[:8]} has no {name}: run the same command again to make it")
        with _reading(path), suppress(SafetensorError, FileNotFoundError, NotADirectoryError, IsADirectoryError):
            if file_digest(path) == record["files"][path.name]["sha256"]:
                tensors: dict[str, Tensor] = load_file(path, device=device)
                return tensors
        self._damaged(key, record)
        raise DamagedArtifact(
            f"Artifact {key[:8]} was damaged and has been set aside: run the same command again to make it anew"
        )

    def save(
        self,
        key: str,
        kind: str,
        facts: Mapping[str, JSON],
        files: Mapping[str, Mapping[str, Tensor]],
        made: Mapping[str, JSON],
    ) -> dict[str, JSON]:
        """Write an artifact: temporary name, fsync, rename. Losing the race to rename is success.

        files: name to named tensors, such as {"weights": {...}}. Gives the record. BenchError names an entry that
        is no tensor; StoreError says why the store cannot be written.
        """
        from safetensors.torch import save_file

        ready = {name: savable(tensors, f"{name} of {kind}") for name, tensors in files.items()}
        try:
            facts = json.loads(canonical(facts))
        except (TypeError, ValueError, RecursionError) as error:
            raise BenchError(f"the facts of a {kind} task must be plain data: {error}") from error
        with self.room(key) as temporary:
            written: dict[str, JSON] = {}
            for name, tensors in ready.items():
                path = temporary / f"{name}.safetensors"
                write_tensors(save_file, tensors, path, f"{name} of {kind}")
                written[path.name] = {"sha256": file_digest(path), "bytes": path.stat().st_size}
            record: dict[str, JSON] = {
                "key": key,
                "kind": kind,
                "facts": facts,
                "files": written,
                "made": dict(made),
                "dropped": [],
            }
            self._write_record(temporary, record)
            self.place(key, temporary)
        return record

    @contextmanager
    def room(self, key: str) -> Iterator[Path]:
        """Give a folder in which to write an artifact, until `place` puts it where it belongs; it goes away after.

        StoreError says why the store cannot be written.
        """
        temporary = self.root / "tmp" / f"{key}.{uuid.uuid4().hex}"
        try:
            with _telling(self.root):
                self._part("tmp")
                temporary.mkdir()
                yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _write_record(self, folder: Path, record: Mapping[str, JSON]) -> None:
        path = folder / f"{RECORD}.{uuid.uuid4().hex}"
        try:
            with path.open("w") as file:
                file.write(canonical({**record, "digest": digest(record)}))
                file.flush()
                os.fsync(file.fileno())
            path.replace(folder / RECORD)
        finally:
            path.unlink(missing_ok=True)

    def place(self, key: str, temporary: Path) -> None:
        """Put a finished folder where it belongs; one that is there already, and whole, stays."""
        final = self.folder(key)
        sync(temporary)
        final.parent.mkdir(exist_ok=True)
        while True:
            try:
                temporary.rename(final)
                break
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
            if self.verify(key) and self.whole(key):
                return
            old = self.root / "tmp" / f"{key}.{uuid.uuid4().hex}.old"
            with suppress(FileNotFoundError):  # others may be replacing it too
                final.rename(old)
            shutil.rmtree(old, ignore_errors=True)
        sync(final.parent)

    @contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Hold a task against other runs in the same store; gives False where one of them is at it.

        The operating system lets go of a dead owner's lock. Locks are shared by the tasks whose keys begin alike.
        """
        from filelock import FileLock, Timeout

        lock = FileLock(self.root / "locks" / f"{key[:4]}.lock", blocking=False, is_singleton=False)
        with _telling(self.root):
            self._part("locks")
            try:
                lock.acquire()
            except Timeout:
                yield False
                return
        try:
            yield True
        finally:
            with _telling(self.root):
                lock.release()

    def at_work(self) -> bool:
        """Say whether anybody holds a task of this store."""
        from filelock import FileLock, Timeout

        with _telling(self.root):
            for path in (self.root / "locks").glob("*.lock"):
                try:
                    with FileLock(path, blocking=False, is_singleton=False):
                        pass
                except Timeout:
                    return True
        return False

    def drop(self, key: str, name: str) -> int:
        """Remove one file of an artifact and keep its facts; give the bytes that became free."""
        record = self.record(key)
        file = f"{name}.safetensors"
        if record is None or file not in record["files"] or file in record["dropped"]:
            return 0
        with _telling(self.root):
            record["dropped"] = [*record["dropped"], file]
            self._write_record(self.folder(key), record)
            (self.folder(key) / file).unlink(missing_ok=True)
        return int(record["files"][file]["bytes"])

    def size(self, key: str) -> int:
        """Give the bytes that an artifact takes."""
        try:
            return sum(p.stat().st_size for p in self.folder(key).iterdir())
        except OSError:
            return 0

    def forget(self, key: str) -> bool:
        """Remove an artifact; say whether there was one."""
        with _telling(self.root):
            trash = self.root / "tmp" / f"{key}.{uuid.uuid4().hex}.old"
            trash.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.folder(key).rename(trash)
            except FileNotFoundError:
                return False
            shutil.rmtree(trash, ignore_errors=True)
        return True

    def all_keys(self) -> Iterator[str]:
        """Walk the keys of all artifacts."""
        top = self.root / "artifacts"
        with _reading(top):
            shelves = sorted(p for p in top.iterdir() if p.is_dir()) if top.is_dir() else []
        for shelf in shelves:
            with _reading(shelf):
                keys = sorted(p.name for p in shelf.iterdir() if KEY.fullmatch(p.name))
            yield from keys

    def damaged(self) -> list[Path]:
        """List the folders of the artifacts that were set aside."""
        return sorted((self.root / "damaged").glob("*"))

    def verify(self, key: str) -> bool:
        """Check every byte of an artifact; a damaged one is set aside."""
        record = self.record(key)
        if record is None:
            return False
        for name, entry in record["files"].items():
            if name in record["dropped"]:
                continue
            path, sound = self.folder(key) / name, False
            with _reading(path), suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
                sound = file_digest(path) == entry["sha256"]
            if not sound:
                self._damaged(key, record)
                return False
        return True

    def reach(self, keys: Iterable[str]) -> Iterator[str]:
        """Walk the artifacts that are there of some keys, and of all that they were made from."""
        stack, seen = list(keys), set()
        while stack:
            key = stack.pop()
            record = self.record(key) if key not in seen and KEY.fullmatch(key) else None
            seen.add(key)
            if record is not None:
                yield key
                stack += record["made"].get("inputs", {}).values()

    def sweep(self, age: float = 86400.0) -> None:
        """Remove what killed processes left half-written, once it is a day old."""
        for path in (self.root / "tmp").glob("*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > age:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _damaged(self, key: str, record: Mapping[str, JSON]) -> None:
        """Set an artifact aside, unless somebody has replaced it, or dropped a file, since its record was read."""
        if self.record(key) == record:
            self._quarantine(key)

    def _quarantine(self, key: str) -> None:
        """Move a damaged artifact out of the way, for somebody may want to look at it."""
        with _telling(self.root):
            place = self.root / "damaged" / f"{key}.{uuid.uuid4().hex[:8]}"
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.folder(key).rename(place)
            except FileNotFoundError:
                return
        self.quarantined.append(key)
