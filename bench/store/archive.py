"""Move finished artifacts between machines: a tar of safetensors and JSON, every member checked before it is used.

The strict reader below reads plain files and nothing else of tar: no links, no extended headers, no sparse maps. So a
hostile archive cannot use these.
"""

import functools
import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.store.atomic import temporary_file
from bench.store.folders import RECORD, translated_read_errors
from bench.store.lineage import refusals
from bench.store.record_schema import is_valid
from bench.store.store import GONE, Store, parse_record
from bench.store.tensors import read_tensors, tensor_digest

MEMBER = re.compile(r"([0-9a-f]{64})/(artifact\.json|(?:data|files|weights|answers|fingerprint)\.safetensors)")

LARGEST_RECORD = 1 << 24
LARGEST_FILE = 1 << 36
MOST_MEMBERS = 2_000_000
BLOCK = 512
CHUNK = 1 << 22
TRIES = 3
"""To read an artifact that other processes replace."""


@dataclass(frozen=True)
class Imported:
    """The result of an import: artifacts added, those that existed (`others`: with other tensors), and refusals."""

    added: int
    known: int
    refused: tuple[str, ...]
    others: int = 0


@dataclass(frozen=True)
class _Member:
    """The position of a file in an archive."""

    start: int
    size: int


@dataclass(frozen=True)
class _Source:
    """An open file of a store. An error while it is read is one of the store."""

    path: Path
    file: BinaryIO
    size: int

    def read(self, size: int = -1, /) -> bytes:
        """Read up to `size` bytes."""
        with translated_read_errors(self.path):
            return self.file.read(size)


def export(store: Store, keys: Iterable[str], path: Path, report: Callable[[str], None] = lambda line: None) -> int:
    """Write artifacts into a tar at `path` (which must not exist) and return their number.

    Their bytes are checked; damaged artifacts are quarantined and left out. Those that another process removes
    meanwhile are left out and reported.
    """
    if os.path.lexists(path):
        raise BenchError(f"{path} exists: name a file that does not")
    count = 0
    try:
        # this format needs no extended headers, which the reader would refuse
        with temporary_file(path, new=True) as partial, tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
            for key in sorted(set(keys)):
                if _add(tar, store, key):
                    count += 1
                elif key not in store.quarantined:
                    report(f"{key[:12]} is left out: another process removed or replaced it")
    except FileExistsError as error:
        raise BenchError(f"{path} was written by another process meanwhile: name another file") from error
    except OSError as error:
        raise BenchError(f"The archive {path} cannot be written: {error.strerror or error}") from error
    return count


def _add(tar: tarfile.TarFile, store: Store, key: str) -> bool:
    """Add an artifact to an archive; return False if it is damaged, or if there is none any more."""
    for _ in range(TRIES):
        with ExitStack() as stack:
            if files := _opened(store, key, stack):
                for source in files:
                    member = tarfile.TarInfo(f"{key}/{source.path.name}")  # without owner and time: always the same
                    member.size = source.size
                    tar.addfile(member, source)
                return True
        if not store.verify(key):
            return False
    return False


def _opened(store: Store, key: str, stack: ExitStack) -> list[_Source]:
    """Open the files of an artifact, its record first; return none if a digest differs from that of the record.

    Open files stay as they are when another process removes or replaces the artifact.
    """
    record, files = store.record(key), list[_Source]()
    if record is None:
        return []
    for name in (RECORD, *sorted(record["files"].keys() - record["dropped"])):
        path = store.folder(key) / name
        with translated_read_errors(path):
            try:
                file = stack.enter_context(path.open("rb"))
            except GONE:
                return []
            if name == RECORD:
                valid = parse_record(file.read(), key) == record
            else:
                valid = hashlib.file_digest(file, "sha256").hexdigest() == record["files"][name]["sha256"]
            files.append(_Source(path, file, file.tell()))
            file.seek(0)
        if not valid:
            return []
    return files


def import_archive(
    store: Store,
    path: Path,
    report: Callable[[str], None] = lambda line: None,
    begin: Callable[[Iterable[str]], None] = lambda keys: None,
) -> Imported:
    """Import the artifacts of an untrusted tar. Nothing of it is run or unpickled.

    `begin` is called with all keys of the archive before the first of its artifacts is in the store.

    Members must be plain files named KEY/artifact.json or KEY/NAME.safetensors, of bounded size. An artifact is
    refused, and reported, if a digest differs, its record is not one that bench writes, its tensors cannot be read,
    or it was made from another network than the store has. Any other kind of member, and an archive that ends early,
    refuse the whole with BenchError, before anything is written.
    """
    added, known, others, refused = 0, 0, 0, list[str]()
    try:
        with path.open("rb") as file:
            found = _survey(file, path)
            begun = functools.cache(lambda: begin(found))
            foreign = refusals(store, (_record(key, members, file)[1] for key, members in found.items()))
            for key, members in found.items():
                exists = store.is_complete(key) or (key in foreign and store.has(key))
                reason, record = ("", {}) if exists else _record(key, members, file)
                if not reason and (not record or (record["dropped"] and store.has(key))):
                    begun()
                    known += 1
                    others += key in foreign
                elif reason := reason or foreign.get(key) or _import(store, file, key, members, record, begun):
                    refused.append(f"{key[:12]}: {reason}")
                    report(refused[-1])
                else:
                    added += 1
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    return Imported(added, known, tuple(refused), others)


def _survey(file: BinaryIO, path: Path) -> dict[str, dict[str, _Member]]:
    """Return the files of an archive by key and name. BenchError if a header is not one that `export` writes."""
    groups: dict[str, dict[str, _Member]] = {}
    length, at = file.seek(0, os.SEEK_END), 0
    for _ in range(MOST_MEMBERS):
        file.seek(at)
        header = file.read(BLOCK)
        if len(header) < BLOCK:
            raise BenchError(f"{path} is refused: it ends early. Was it copied whole?")
        if not any(header):
            _check_end(file, path, at)
            return groups
        name, size = _header(header, path)
        match = MEMBER.fullmatch(name)
        if match is None:
            raise BenchError(f"{path} is refused: member {name!r:.120} is not a file of an artifact")
        key, name = match.groups()
        if size > (LARGEST_RECORD if name == RECORD else LARGEST_FILE):
            raise BenchError(f"{path} is refused: {key[:12]}/{name} would take {size} bytes")
        if name in groups.setdefault(key, {}):
            raise BenchError(f"{path} is refused: member {key[:12]}/{name} occurs twice")
        groups[key][name] = _Member(at + BLOCK, size)
        at += BLOCK + -(-size // BLOCK) * BLOCK
        if at > length:
            raise BenchError(f"{path} is refused: it ends early. Was it copied whole?")
    raise BenchError(f"{path} is refused: it holds more than {MOST_MEMBERS} files")


def _check_end(file: BinaryIO, path: Path, at: int) -> None:
    """Raise BenchError unless an archive ends at `at`: two blocks of zeros, then zeros up to a whole record of tar.

    Zeros may also be where a download into a file of the full length stopped: then there are more of them.
    """
    file.seek(at)
    rest = file.read(tarfile.RECORDSIZE + 2 * BLOCK)
    if len(rest) < 2 * BLOCK:
        raise BenchError(f"{path} is refused: it ends early. Was it copied whole?")
    if any(rest) or at + len(rest) > -(-(at + 2 * BLOCK) // tarfile.RECORDSIZE) * tarfile.RECORDSIZE:
        raise BenchError(
            f"{path} is refused: it is damaged or incomplete after its last whole member, at byte {at}. Copy it again; "
            "import several archives one by one"
        )


def _header(header: bytes, path: Path) -> tuple[str, int]:
    """Return the name and size of a plain file; BenchError for any other header."""
    name = header[:100].split(b"\0")[0].decode("ascii", "replace")
    checksum = re.fullmatch(rb"([0-7]{6})\0 ", header[148:156])
    if checksum is None or int(checksum[1], 8) != sum(header[:148]) + 8 * ord(" ") + sum(header[156:]):
        raise BenchError(f"{path} is no archive that `bench store export` wrote, or it is damaged")
    if header[156:157] != b"0" or any(header[157:257]) or any(header[345:]):
        raise BenchError(f"{path} is refused: member {name!r:.120} is not a plain file")
    digits = re.fullmatch(rb"([0-7]{11})\0", header[124:136])
    if digits is not None:
        return name, int(digits[1], 8)
    if header[124] == 0x80:  # how tar writes what needs more than eleven octal digits
        return name, int.from_bytes(header[125:136], "big")
    raise BenchError(f"{path} is refused: {name!r:.120} has no size")


def _import(
    store: Store,
    file: BinaryIO,
    key: str,
    members: Mapping[str, _Member],
    record: Mapping[str, JSON],
    begun: Callable[[], None],
) -> str:
    """Import one artifact; return the reason for its refusal, or an empty text."""
    with store.staging(key) as folder:
        for name, member in members.items():
            found = _copy(file, member, folder / name)
            if name == RECORD:
                continue
            if member.size != record["files"][name]["bytes"] or found != record["files"][name]["sha256"]:
                return f"{name} is damaged: its digest differs"
            if reason := _unreadable(folder / name, record["files"][name].get("tensors")):
                return f"{name} {reason}"
        begun()
        store.commit({key: folder})
    return ""


def _copy(file: BinaryIO, member: _Member, path: Path) -> str:
    """Copy a member into a file; return its SHA-256."""
    hashed = hashlib.sha256()
    file.seek(member.start)
    left = member.size
    with path.open("xb") as target:
        while left and (part := _read(file, min(left, CHUNK))):
            hashed.update(part)
            target.write(part)
            left -= len(part)
    return hashed.hexdigest()


def _read(file: BinaryIO, size: int) -> bytes:
    """Read a part of an archive while an artifact is written: its errors are not the store's."""
    try:
        return file.read(size)
    except OSError as error:
        raise BenchError(f"{file.name} cannot be read: {error.strerror or error}") from error


def _unreadable(path: Path, content: str | None) -> str:
    """Return why a file is refused: it is no safetensors file, or its tensors have not the digest `content`."""
    from safetensors import SafetensorError

    try:
        tensors = read_tensors(path)
    except (SafetensorError, KeyError):
        return "is no safetensors file"
    return "has other tensors than its record says" if content and tensor_digest(tensors) != content else ""


def _record(key: str, members: Mapping[str, _Member], file: BinaryIO) -> tuple[str, dict[str, JSON]]:
    """Read an artifact's record; the text is the reason for its refusal."""
    if RECORD not in members:
        return "it has no artifact.json", {}
    file.seek(members[RECORD].start)
    record = parse_record(file.read(members[RECORD].size), key)
    if record is None:
        return "its record is damaged", {}
    if not is_valid(record):
        return "its record is not one that bench writes", {}
    if {RECORD, *record["files"]} - set(record["dropped"]) != set(members):
        return "its files are not those that its record names", {}
    return "", record
