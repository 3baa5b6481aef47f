"""Extract untrusted archives: no path outside the folder, no links, no devices, no unlimited growth."""

import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from bench.core.errors import BenchError

CHUNK = 1 << 20
TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MOST_MEMBERS = 1_000_000
SIZE_LIMIT = 64 << 20
"""Bytes that any archive may extract to; a larger one may extract to `RATIO` times its own size."""
RATIO = 100
DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, NotImplementedError)


def unpack(archive: Path, folder: Path, most_members: int = MOST_MEMBERS, size_limit: int = SIZE_LIMIT) -> None:
    """Extract a tar (plain, gz, bz2, xz), zip or gz into `folder`, which must be new or empty.

    A `.gz` that is no tar becomes one file, named as the archive without `.gz`. BenchError names a member whose path
    leads outside, a link, a device, a second member of the same name, and the member that exceeds a limit. Files
    extracted before the error stay in `folder`.
    """
    allowed = max(size_limit, RATIO * archive.stat().st_size)
    try:
        with archive.open("rb") as file:
            for count, (member, content) in enumerate(_members(archive.name, file), 1):
                if count > most_members:
                    raise BenchError(f"{archive.name}: over {most_members} members, at {member!r}: extraction stopped")
                target = _inside(archive.name, folder, member)
                if content is None:
                    target.mkdir(parents=True, exist_ok=True)
                else:
                    allowed -= _copy(archive.name, member, content, target, allowed)
    except (*DAMAGE, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # such as a full disk
            raise
        why = (str(error).splitlines() or [type(error).__name__])[0].rstrip(":")
        raise BenchError(f"{archive.name} is damaged, or no archive of its kind: {why}") from error


def _members(archive: str, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield the members of an archive: names, and contents (None: a folder)."""
    name = archive.lower()
    if name.endswith(TARS):
        return _tar(archive, file)
    if name.endswith(".zip"):
        return _zip(archive, file)
    if name.endswith(".gz"):
        return iter([(archive[:-3], cast("IO[bytes]", gzip.GzipFile(fileobj=file)))])
    raise BenchError(f"{archive}: unknown kind of archive; expected .zip, .gz, {', '.join(TARS)}")


def _tar(archive: str, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    with tarfile.open(fileobj=file) as tar:
        for member in tar:
            if member.isdir():
                yield member.name, None
            elif member.isreg():
                yield member.name, tar.extractfile(member)
            else:  # refused by type, so that no later member can be written through it
                raise BenchError(f"{archive}: member {member.name!r} is a link or a device: extraction stopped")


def _zip(archive: str, file: IO[bytes]) -> Iterator[tuple[str, IO[bytes] | None]]:
    with zipfile.ZipFile(file) as container:
        for member in container.infolist():
            if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BenchError(f"{archive}: member {member.filename!r} is a link or a device: extraction stopped")
            if member.flag_bits & 1:
                raise BenchError(f"{archive}: member {member.filename!r} is encrypted: extraction stopped")
            yield member.filename, None if member.is_dir() else container.open(member)


def _inside(archive: str, folder: Path, member: str) -> Path:
    """Return the path of a member below `folder`; BenchError if it leads outside."""
    windows = PureWindowsPath(member)  # it parses both kinds of slashes, and drives
    if windows.anchor or ".." in windows.parts:
        raise BenchError(f"{archive}: member {member!r} leads outside the data folder: extraction stopped")
    return folder / PurePosixPath(member)


def _copy(archive: str, member: str, content: IO[bytes], target: Path, allowed: int) -> int:
    """Write one member, at most `allowed` bytes of it, and return its size."""
    size = 0
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        # "x" also fails at names that differ in case only, if the file system ignores case
        with content, target.open("xb") as out:
            while part := content.read(CHUNK):
                size += len(part)
                if size > allowed:
                    raise BenchError(f"{archive}: member {member!r} exceeds the size limit; extraction stopped")
                out.write(part)
    except FileExistsError:
        raise BenchError(f"{archive}: member {member!r} occurs twice: extraction stopped") from None
    return size


def extract(archive: Path, target: Path) -> None:
    """Unpack an archive completely, then move its members into the folder `target`.

    For a `.gz` that is no tar, `target` names the file. Files and new folders appear in one step; an existing folder
    keeps its other files. Raises as `unpack` does.
    """
    single = archive.name.lower().endswith(".gz") and not archive.name.lower().endswith(TARS)
    folder = target.parent if single else target
    folder.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(dir=folder, prefix=f".{archive.name}."))
    try:
        unpack(archive, staging)
        for entry in sorted(staging.iterdir()):
            _move(entry, target if single else target / entry.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _move(entry: Path, target: Path) -> None:
    if entry.is_dir() and target.is_dir():
        for inner in sorted(entry.iterdir()):
            _move(inner, target / inner.name)
    else:
        entry.replace(target)
