"""Move finished artifacts between machines: a tar of safetensors and JSON, every member checked before it is used.

KEY/artifact.json, KEY/NAME.safetensors, ...
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tarfile
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.errors import BenchError, StoreError
from bench.store import RECORD, Store, file_digest
from bench.types import JSON, digest

MEMBER = re.compile(r"([0-9a-f]{64})/(artifact\.json|[a-z][a-z0-9_]{0,40}\.safetensors)")
LARGEST_RECORD = 1 << 24
LARGEST_FILE = 1 << 36
KINDS = ("data", "train", "embed", "steal", "fingerprint", "score")


@dataclass(frozen=True)
class Imported:
    """What an import did: artifacts added, those that were there, and what was refused, one line each."""

    added: int
    known: int
    refused: tuple[str, ...]


def export(store: Store, keys: Iterable[str], path: Path) -> int:
    """Write artifacts into a tar at `path` (which must not be there yet); give their number."""
    if path.exists():
        raise BenchError(f"{path} is there already: name a file that is not")
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    count = 0
    try:
        with tarfile.open(partial, "w", format=tarfile.PAX_FORMAT) as tar:
            for key in sorted(set(keys)):
                record = store.record(key)
                if record is None or (not store.is_whole(key, record) and not record["dropped"]):
                    continue
                kept = [n for n in record["files"] if n not in record["dropped"]]
                for name in (RECORD, *kept):
                    tar.add(store.folder(key) / name, f"{key}/{name}", recursive=False, filter=_anonymous)
                count += 1
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise BenchError(f"The archive {path} cannot be written: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


def bring_in(store: Store, path: Path, told: Callable[[str], None] = lambda line: None) -> Imported:
    """Take artifacts out of a tar that somebody else made. Nothing of it is run or unpickled.

    Members must be plain files named KEY/artifact.json or KEY/NAME.safetensors, of bounded size, each artifact's
    digests must hold, and its tensors must be readable; otherwise that artifact is refused and the others go on. A
    member of any other name or sort refuses the whole archive with BenchError, before anything is written.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            groups = _survey(tar, path)
            added, known, refused = 0, 0, []
            for key, members in groups.items():
                if store.whole(key):
                    known += 1
                    continue
                reason = _one(store, tar, key, members)
                added += not reason
                if reason:
                    refused.append(f"{key[:12]}: {reason}")
                    told(refused[-1])
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise BenchError(f"{path} is no archive that `bench store export` wrote: {error}") from error
    except StoreError:
        raise
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    return Imported(added, known, tuple(refused))


def _survey(tar: tarfile.TarFile, path: Path) -> dict[str, dict[str, tarfile.TarInfo]]:
    groups: dict[str, dict[str, tarfile.TarInfo]] = {}
    for member in tar:
        match = MEMBER.fullmatch(member.name)
        if match is None or not member.isreg() or member.issparse():
            raise BenchError(f"{path} is refused: it holds {member.name!r:.120}, which is no file of an artifact")
        key, name = match.groups()
        limit = LARGEST_RECORD if name == RECORD else LARGEST_FILE
        if not 0 <= member.size <= limit:
            raise BenchError(f"{path} is refused: {member.name:.90} would take {member.size} bytes")
        if name in groups.setdefault(key, {}):
            raise BenchError(f"{path} is refused: it holds {member.name:.90} twice")
        groups[key][name] = member
    return groups


def _one(store: Store, tar: tarfile.TarFile, key: str, members: dict[str, tarfile.TarInfo]) -> str:
    """Bring one artifact in; say why it is refused, or nothing."""
    if RECORD not in members:
        return "it has no artifact.json"
    stream = tar.extractfile(members[RECORD])
    reason, record = _record(key, stream.read() if stream else b"", set(members))
    if reason:
        return reason
    temporary = store.root / "tmp" / f"{key}.{uuid.uuid4().hex}"
    try:
        temporary.mkdir(parents=True)
        for name, member in members.items():
            stream = tar.extractfile(member)
            if stream is None or (name != RECORD and member.size != record["files"][name]["bytes"]):
                return f"{name} has not the size that its record states"
            with (temporary / name).open("wb") as file:
                shutil.copyfileobj(stream, file)
                file.flush()
                os.fsync(file.fileno())
            if name != RECORD and file_digest(temporary / name) != record["files"][name]["sha256"]:
                return f"{name} is damaged: its digest differs"
            if name != RECORD and not _readable(temporary / name):
                return f"{name} is no safetensors file"
        store.place(key, temporary)
    except OSError as error:
        raise StoreError(f"The store {store.root} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return ""


def _record(key: str, text: bytes, names: set[str]) -> tuple[str, dict[str, JSON]]:
    try:
        record = json.loads(text)
        told = record.pop("digest")
        if told != digest(record) or record["key"] != key:
            return "its record is damaged", {}
        good = record["kind"] in KINDS and isinstance(record["facts"], dict) and isinstance(record["made"], dict)
        good = good and all(type(f["bytes"]) is int and type(f["sha256"]) is str for f in record["files"].values())
        kept = {n for n in record["files"] if n not in record["dropped"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its record cannot be read", {}
    if not good:
        return "its record is not one that bench writes", {}
    if kept | {RECORD} != names:
        return "its files are not those that its record names", {}
    return "", record


def _readable(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return bool(file.keys() or True)
    except (SafetensorError, OSError):
        return False
