"""Content-addressed artifacts: a folder per key that is complete or absent, and whose bytes are checked when read.

ROOT/artifacts/ab/abcdef.../artifact.json and *.safetensors
ROOT/logs/KEY.txt    what plugin code printed, and its tracebacks
ROOT/damaged/        artifacts whose bytes differ from those that were saved
ROOT/uses/           the results folders whose artifacts are kept
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.canonical import JSON, canonical, digest
from bench.core.errors import BenchError, DamagedArtifact
from bench.store.atomic import write_atomically
from bench.store.folders import RECORD, is_changing, translated_errors, translated_read_errors
from bench.store.publishing import Publishing
from bench.store.tensors import file_digest, read_tensors, savable, tensor_digest, write_tensors

if TYPE_CHECKING:
    from torch import Tensor

TRIES, PAUSE = 10, 0.05
"""Reads of a record that another process is writing, and the seconds between them."""
GONE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)


def parse_record(text: bytes, key: str) -> dict[str, JSON] | None:
    """Return an artifact's record; None if it is not JSON, its digest is wrong, or it has another key."""
    try:
        record: dict[str, JSON] = json.loads(text)
        claimed = record.pop("digest")
        return record if claimed == digest(record) and record["key"] == key else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def written(record: Mapping[str, JSON]) -> bytes:
    """Return the text of an artifact's record, with its digest."""
    text = canonical(record).encode()
    return b'{"digest":"%s",%s' % (hashlib.sha256(text).hexdigest().encode(), text[1:])  # the first name of them all


def write_record(folder: Path, record: Mapping[str, JSON]) -> None:
    """Replace an artifact's record."""
    write_atomically(folder / RECORD, written(record))


class Store(Publishing):
    """Artifacts below one folder. Several processes and machines may use it at once."""

    def record(self, key: str) -> dict[str, JSON] | None:
        """Read an artifact's record (kind, facts, files, how it was made); None if there is none.

        A damaged artifact is quarantined, and counts as missing.
        """
        path = self.folder(key) / RECORD
        unchanged = False
        for _ in range(TRIES):
            text = self._read(path)
            if text is None and not os.path.lexists(path.parent):
                return None
            if text is not None and (record := parse_record(text, key)) is not None:
                return record
            if is_changing(path.parent):
                time.sleep(PAUSE)
            elif unchanged:
                break
            else:  # another process may have created the folder, or replaced the record, in between
                unchanged = True
        self.quarantine(key)
        return None

    def _read(self, path: Path) -> bytes | None:
        with translated_read_errors(path), suppress(*GONE):
            return path.read_bytes()
        return None

    def facts(self, key: str) -> dict[str, JSON] | None:
        """Read the facts of an artifact, the JSON part of it; None if there is none."""
        record = self.record(key)
        return None if record is None else dict(record["facts"])

    def has(self, key: str) -> bool:
        """Return True if an artifact's facts are stored."""
        return self.record(key) is not None

    def is_complete(self, key: str, record: Mapping[str, JSON] | None = None) -> bool:
        """Return True if an artifact and all its files are stored (`--keep scores` removes a suspect's weights).

        `record` is its record, if the caller has read it already.
        """
        record = self.record(key) if record is None else record
        if not record or record.get("dropped"):
            return False
        for name, entry in record["files"].items():
            path, size = self.folder(key) / name, -1
            with translated_read_errors(path), suppress(FileNotFoundError, NotADirectoryError):
                size = path.stat().st_size
            if size != entry["bytes"]:
                self._quarantine_unchanged(key, record)
                return False
        return True

    def load(self, key: str, name: str, device: str = "cpu") -> dict[str, Tensor]:
        """Read one file of an artifact, such as `weights`. DamagedArtifact if its digest differs."""
        from safetensors import SafetensorError

        record = self.record(key)
        path = self.folder(key) / f"{name}.safetensors"
        if record is None or path.name not in record["files"] or path.name in record["dropped"]:
            raise DamagedArtifact(f"Artifact {key[:8]} has no {name}: run the same command again to make it")
        with translated_read_errors(path), suppress(SafetensorError, *GONE):
            if file_digest(path) == record["files"][path.name]["sha256"]:
                return read_tensors(path, device)
        self._quarantine_unchanged(key, record)
        raise DamagedArtifact(
            f"Artifact {key[:8]} was damaged and is quarantined: run the same command again to recompute it"
        )

    def save(
        self,
        key: str,
        kind: str,
        facts: Mapping[str, JSON],
        files: Mapping[str, Mapping[str, Tensor]],
        made: Mapping[str, JSON],
    ) -> dict[str, JSON]:
        """Write an artifact and return its record. Losing the race to commit it is success.

        Inside `together`, it is published by `publish`.

        files: name to named tensors, such as {"weights": {...}}. BenchError names an entry that is no tensor;
        StoreError names the reason why the store cannot be written.
        """
        ready = {name: savable(tensors, f"{name} of {kind}") for name, tensors in files.items()}
        try:
            facts = json.loads(canonical(facts))
        except (TypeError, ValueError, RecursionError) as error:
            raise BenchError(f"the facts of a {kind} task must be plain data: {error}") from error
        with self.staging(key) as folder:
            record: dict[str, JSON] = {"key": key, "kind": kind, "facts": facts, "files": {}, "made": dict(made)}
            record["dropped"] = []
            for name, tensors in ready.items():
                path = folder / f"{name}.safetensors"
                write_tensors(tensors, path, f"{name} of {kind}")
                entry = {"sha256": file_digest(path), "bytes": path.stat().st_size, "tensors": tensor_digest(tensors)}
                record["files"][path.name] = entry
            (folder / RECORD).write_bytes(written(record))
            if self.staged is None:
                self.commit({key: folder})
            else:
                self.staged[key] = folder
        return record

    def drop(self, key: str, name: str) -> int:
        """Remove one file of an artifact and keep its facts; return the bytes freed.

        The record says so first: what a process leaves that is killed in between, the next call or a sweep removes.
        """
        record = self.record(key)
        file = f"{name}.safetensors"
        if record is None or file not in record["files"]:
            return 0
        with translated_errors(self.root), suppress(*GONE):  # another process may remove the file, or the artifact
            if file not in record["dropped"]:
                record["dropped"] = [*record["dropped"], file]
                write_record(self.folder(key), record)
            if self.record(key) == record:
                (self.folder(key) / file).unlink()
                return int(record["files"][file]["bytes"])
        return 0

    def verify(self, key: str) -> bool:
        """Check every byte of an artifact; a damaged one is quarantined."""
        record = self.record(key)
        if record is None:
            return False
        for name in record["files"].keys() - record["dropped"]:
            path, valid = self.folder(key) / name, False
            with translated_read_errors(path), suppress(*GONE):
                valid = file_digest(path) == record["files"][name]["sha256"]
            if not valid:
                self._quarantine_unchanged(key, record)
                return False
        return True

    def is_whole(self, key: str) -> bool:
        """Return True if an artifact has all its files, and each of their bytes."""
        return self.verify(key) and self.is_complete(key)

    def _quarantine_unchanged(self, key: str, record: Mapping[str, JSON]) -> None:
        """Quarantine an artifact, unless another process has replaced it, or dropped a file, since `record`."""
        if self.record(key) == record:
            self.quarantine(key)


def content_digest(store: Store, key: str, name: str) -> str:
    """Return the digest of the tensors in one file of an artifact; for an old record, compute it."""
    record = store.record(key) or {"files": {}}
    known = record["files"].get(f"{name}.safetensors", {}).get("tensors")
    return str(known or tensor_digest(store.load(key, name)))
