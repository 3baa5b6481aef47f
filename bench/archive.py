"""Move finished artifacts between machines: a tar of safetensors and JSON, every member checked before it is used.

KEY/artifact.json, KEY/NAME.safetensors, ...

Archives are read by the strict reader below, which knows plain files and nothing else of tar: no links, no extended
headers, no sparse maps, so none of what a hostile archive can say in these is ever understood.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import tarfile
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench.errors import BenchError
from bench.store import KEY, RECORD, Store
from bench.types import ACCESS, JSON, digest

MEMBER = re.compile(r"([0-9a-f]{64})/(artifact\.json|(?:data|weights|answers|fingerprint)\.safetensors)")
LARGEST_RECORD = 1 << 24
LARGEST_FILE = 1 << 36
MOST_MEMBERS = 2_000_000
BLOCK = 512
CHUNK = 1 << 22
FILES = {
    "data": {"data"},
    "train": {"weights", "answers"},
    "embed": {"weights", "answers", "fingerprint"},
    "steal": {"weights", "answers"},
    "fingerprint": {"fingerprint"},
    "score": set[str](),
}
"""The files of each kind of artifact."""


@dataclass(frozen=True)
class Imported:
    """What an import did: artifacts added, those that were there, and what was refused, one line each."""

    added: int
    known: int
    refused: tuple[str, ...]


@dataclass(frozen=True)
class _Member:
    """Where a file lies in an archive."""

    start: int
    size: int


# --- writing ------------------------------------------------------------------------------------------------------


def export(store: Store, keys: Iterable[str], path: Path) -> int:
    """Write artifacts into a tar at `path` (which must not be there yet); give their number.

    Their bytes are checked on the way: damaged ones are set aside, and left out.
    """
    if os.path.lexists(path):
        raise BenchError(f"{path} is there already: name a file that is not")
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    count = 0
    try:
        # this format and no other: it needs no extended headers, which the reader would refuse
        with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
            for key in sorted(set(keys)):
                record = store.record(key) if store.verify(key) else None
                if record is None:
                    continue
                kept = sorted(n for n in record["files"] if n not in record["dropped"])
                for name in (RECORD, *kept):
                    tar.add(store.folder(key) / name, f"{key}/{name}", recursive=False, filter=_anonymous)
                count += 1
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.rename(path)
    except OSError as error:
        raise BenchError(f"The archive {path} cannot be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)
    return count


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out who owns a file, and since when: the same artifacts are the same archive."""
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = ""
    member.mode = 0o644
    return member


# --- reading ------------------------------------------------------------------------------------------------------


def bring_in(store: Store, path: Path, told: Callable[[str], None] = lambda line: None) -> Imported:
    """Take artifacts out of a tar that somebody else made. Nothing of it is run or unpickled.

    Members must be plain files named KEY/artifact.json or KEY/NAME.safetensors, of bounded size, each artifact's
    digests must hold, its record must be one that bench writes, and its tensors must be readable; otherwise that
    artifact is refused and the others go on. A member of any other name or sort, and an archive that ends early,
    refuse the whole with BenchError, before anything is written.
    """
    added, known, refused = 0, 0, list[str]()
    try:
        with path.open("rb") as file:
            for key, members in _survey(file, path).items():
                if store.whole(key):
                    known += 1
                    continue
                reason, record = _record(key, members, file)
                if not reason and record["dropped"] and store.has(key):
                    known += 1
                    continue
                reason = reason or _bring(store, file, key, members, record)
                added += not reason
                if reason:
                    refused.append(f"{key[:12]}: {reason}")
                    told(refused[-1])
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    return Imported(added, known, tuple(refused))


def _survey(file: BinaryIO, path: Path) -> dict[str, dict[str, _Member]]:
    """Walk the headers of an archive: its files by key and name. BenchError where one is not as `export` writes it."""
    groups: dict[str, dict[str, _Member]] = {}
    length = file.seek(0, os.SEEK_END)
    at = 0
    for _ in range(MOST_MEMBERS):
        file.seek(at)
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise BenchError(f"{path} is refused: it ends early. Was it copied whole?")
        if not any(header):
            return groups
        name, size = _header(header, path)
        match = MEMBER.fullmatch(name)
        if match is None:
            raise BenchError(f"{path} is refused: it holds {name!r:.120}, which is no file of an artifact")
        key, name = match.groups()
        if size > (LARGEST_RECORD if name == RECORD else LARGEST_FILE):
            raise BenchError(f"{path} is refused: {key[:12]}/{name} would take {size} bytes")
        if name in groups.setdefault(key, {}):
            raise BenchError(f"{path} is refused: it holds {key[:12]}/{name} twice")
        groups[key][name] = _Member(at + BLOCK, size)
        at += BLOCK + -(-size // BLOCK) * BLOCK
        if at > length:
            raise BenchError(f"{path} is refused: it ends early. Was it copied whole?")
    raise BenchError(f"{path} is refused: it holds more than {MOST_MEMBERS} files")


def _header(header: bytes, path: Path) -> tuple[str, int]:
    """Give the name and size of a plain file; BenchError for everything else that a header can be."""
    name = header[:100].split(b"\0")[0].decode("ascii", "replace")
    told = re.fullmatch(rb"([0-7]{6})\0 ", header[148:156])
    if told is None or int(told[1], 8) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise BenchError(f"{path} is no archive that `bench store export` wrote, or it is damaged")
    if header[156:157] != b"0" or any(header[157:257]) or any(header[345:]):
        raise BenchError(f"{path} is refused: it holds {name!r:.120}, which is no plain file")
    digits = re.fullmatch(rb"([0-7]{11})\0", header[124:136])
    if digits is not None:
        return name, int(digits[1], 8)
    if header[124] == 0x80:  # how tar writes what needs more than eleven octal digits
        return name, int.from_bytes(header[125:136], "big")
    raise BenchError(f"{path} is refused: {name!r:.120} has no size")


def _bring(store: Store, file: BinaryIO, key: str, members: Mapping[str, _Member], record: Mapping[str, JSON]) -> str:
    """Bring one artifact in; say why it is refused, or nothing."""
    with store.room(key) as folder:
        for name, member in members.items():
            found = _copy(file, member, folder / name)
            if name == RECORD:
                continue
            if member.size != record["files"][name]["bytes"] or found != record["files"][name]["sha256"]:
                return f"{name} is damaged: its digest differs"
            if not _readable(folder / name):
                return f"{name} is no safetensors file"
        store.place(key, folder)
    return ""


def _copy(file: BinaryIO, member: _Member, path: Path) -> str:
    """Copy a member into a file; give its SHA-256."""
    summed = hashlib.sha256()
    file.seek(member.start)
    left = member.size
    with path.open("xb") as target:
        while left and (part := file.read(min(left, CHUNK))):
            summed.update(part)
            target.write(part)
            left -= len(part)
        target.flush()
        os.fsync(target.fileno())
    return summed.hexdigest()


def _readable(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return bool(file.keys() or True)
    except SafetensorError:
        return False


# --- records ------------------------------------------------------------------------------------------------------


def _record(key: str, members: Mapping[str, _Member], file: BinaryIO) -> tuple[str, dict[str, JSON]]:
    """Read an artifact's record, or say why it is refused."""
    if RECORD not in members:
        return "it has no artifact.json", {}
    file.seek(members[RECORD].start)
    text = file.read(members[RECORD].size)
    try:
        record = json.loads(text)
        told = record.pop("digest")
        if told != digest(record) or record["key"] != key:
            return "its record is damaged", {}
        if not _as_written(record):
            return "its record is not one that bench writes", {}
        kept = {n for n in record["files"] if n not in record["dropped"]}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "its record cannot be read", {}
    if kept | {RECORD} != set(members):
        return "its files are not those that its record names", {}
    return "", record


def _count(value: JSON) -> bool:
    return type(value) is int and 0 <= value < 1 << 53


def _real(value: JSON) -> bool:
    return _count(abs(value)) if type(value) is int else type(value) is float and math.isfinite(value)


def _duration(value: JSON) -> bool:
    return _real(value) and value >= 0


def _share(value: JSON) -> bool:
    return _real(value) and 0 <= value <= 1


def _text(value: JSON) -> bool:
    return isinstance(value, str) and len(value) <= 1000 and value.isprintable()


def _named(value: JSON) -> bool:
    return isinstance(value, dict)


def _key(value: JSON) -> bool:
    return isinstance(value, str) and KEY.fullmatch(value) is not None


def _classes(value: JSON) -> bool:
    return _count(value) and 2 <= value <= 1_000_000


def _shape(value: JSON) -> bool:
    good = isinstance(value, list) and len(value) == 3 and all(_count(n) and 0 < n <= 100_000 for n in value)
    return good and math.prod(value) <= 1 << 30


def _identity(value: JSON) -> bool:
    good = isinstance(value, dict) and value.keys() == {"name", "version", "params"}
    return good and _text(value["name"]) and _count(value["version"]) and _named(value["params"])


_NETWORK: dict[str, Callable[[JSON], bool]] = {
    "accuracy": _share, "architecture": _identity, "num_classes": _classes, "shape": _shape, "data": _key,
    "notes": _named,
}  # fmt: skip
FACTS: dict[str, dict[str, Callable[[JSON], bool]]] = {
    "data": {
        "dataset": _text, "num_classes": _classes, "shape": _shape, "label_space": _text,
        "flip": lambda v: isinstance(v, bool), "crop": _count,
        "defender": _count, "attacker": _count, "probe": _count, "test": _count,
    },
    "train": _NETWORK,
    "embed": _NETWORK,
    "steal": {**_NETWORK, "queries": _count},
    "fingerprint": {"notes": _named, "networks": _count, "helper_seconds": _duration},
    "score": {
        "score": _real, "queries": _count, "access": lambda v: v in ("", *ACCESS),
        "agreement": lambda v: v is None or _share(v), "fingerprint_seconds": _duration,
        "fingerprint_networks": _count, "notes": _named,
    },
}  # fmt: skip
"""What the facts of each kind of artifact are, as `execute` makes them."""
MADE: dict[str, Callable[[JSON], bool]] = {
    "name": _text, "seconds": _duration, "device": _text, "threads": _count, "torch": _text, "machine": _text,
    "inputs": lambda v: _named(v) and all(_text(r) and _key(k) for r, k in v.items()),
    "sources": lambda v: _named(v) and all(_text(x) for pair in v.items() for x in pair),
}  # fmt: skip


def _as_written(record: Mapping[str, JSON]) -> bool:
    """Say whether a record is one that bench writes: what it says is believed by whoever reads it later."""
    if record.keys() != {"key", "kind", "facts", "files", "made", "dropped"}:
        return False
    facts, files, dropped = FACTS.get(record["kind"]), record["files"], record["dropped"]
    if facts is None or files.keys() != {f"{n}.safetensors" for n in FILES[record["kind"]]}:
        return False
    return (
        all(f.keys() == {"bytes", "sha256"} and _count(f["bytes"]) and _key(f["sha256"]) for f in files.values())
        and isinstance(dropped, list)
        and all(isinstance(n, str) and n in files for n in dropped)
        and record["facts"].keys() == facts.keys()
        and all(good(record["facts"][name]) for name, good in facts.items())
        and record["made"].keys() == MADE.keys()
        and all(good(record["made"][name]) for name, good in MADE.items())
    )
