"""Fetch the published archives of a dataset, check them and extract them."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from bench.api.components import Dataset
from bench.api.data import Download
from bench.core.errors import BenchError
from bench.datasets.extraction import place
from bench.datasets.files import checksum, problems, translated_errors, verify, write_json

Progress = Callable[[str, int, int], None]
"""Told of a download: file name, bytes so far, bytes in all (0: not known)."""

CHUNK = 1 << 20

TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""


def fetch(dataset: Dataset, root: Path, progress: Progress | None = None, mirror: str | None = None) -> None:
    """Get a dataset's archives, compare their checksums, unpack them, and verify what came out.

    What is there already is kept. An interrupted download goes on where it stopped. `mirror` is a URL or a folder
    that holds files of the same names, and replaces the published host. Raises BenchError with the way out.
    """
    found = problems(dataset, root)
    if not found:
        return
    if not dataset.downloads:
        raise BenchError(f"{dataset.name} names no archive to get it from, and in {root}: {found[0]}")
    from filelock import FileLock

    with translated_errors(root, "written"):
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".fetch.lock"):  # one for all datasets: some share an archive
            for download in dataset.downloads:
                _obtain(download, root, progress, mirror)
                _unpack(download, root)
    found = verify(dataset, root)
    if found:
        raise BenchError(f"{dataset.name} was unpacked in {root}, but {found[0]} ({len(found)} in all)")


def _obtain(download: Download, root: Path, progress: Progress | None, mirror: str | None) -> None:
    """Put an archive at its place once its checksum was compared; record the digest of one that has none."""
    archive = root / download.path
    record = archive.with_name(archive.name + ".json")
    if archive.is_file():
        wanted = download.checksum or _recorded(record)
        if not wanted:  # put there by hand
            _record(record, archive, str(archive))
        if not wanted or checksum(archive, wanted) == wanted:
            return
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(archive.name + ".part")
    resumed = part.is_file()
    _get(download, part, progress, mirror)
    if not download.checksum:
        _record(record, part, _place_of(download, mirror))
    elif (found := checksum(part, download.checksum)) != download.checksum:
        part.unlink()
        if resumed:  # its beginning was of another file: once more, in full
            _obtain(download, root, progress, mirror)
            return
        raise BenchError(
            f"{archive.name} is not the published file ({found} instead of {download.checksum}): not unpacked. "
            f"Type the same again, or take another copy: --from URL or FOLDER"
        )
    part.replace(archive)


def _recorded(record: Path) -> str:
    try:
        return str(json.loads(record.read_text())["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _record(record: Path, archive: Path, place: str) -> None:
    write_json(record, {"from": place, "checksum": checksum(archive, "sha256:"), "bytes": archive.stat().st_size})


def _unpack(download: Download, root: Path) -> None:
    if not download.unpack:
        return
    archive = root / download.path
    try:
        place(archive, root / download.unpack)
    except BenchError:
        if not download.checksum:  # nothing vouches for it: out of the way, so that the next attempt starts anew
            archive.with_name(archive.name + ".json").unlink(missing_ok=True)
            archive.replace(archive.with_name(archive.name + ".damaged"))
        raise


def _place_of(download: Download, mirror: str | None) -> str:
    """Say where an archive is to be had: its URL, or the mirror's; a path where the mirror is a folder."""
    name = PurePosixPath(download.path).name
    if mirror is None:
        return download.url
    return f"{mirror.rstrip('/')}/{name}" if "://" in mirror else str(Path(mirror).expanduser() / name)


def _get(download: Download, part: Path, progress: Progress | None, mirror: str | None) -> None:
    at = _place_of(download, mirror)
    name = PurePosixPath(download.path).name
    if mirror is not None and "://" not in mirror and not Path(at).is_file():
        raise BenchError(f"There is no {name} in {mirror}")
    if "://" in at and urlsplit(at).scheme not in ("http", "https"):
        raise BenchError(f"{at} is neither http nor https: give --from a URL or a folder")
    import http.client
    import urllib.error

    try:
        if "://" in at:
            _download(at, part, name, progress)
        else:
            with Path(at).open("rb") as source, part.open("wb") as out:
                _pour(source, out, name, 0, Path(at).stat().st_size, progress)
    except urllib.error.HTTPError as error:
        error.close()
        raise BenchError(f"{at} answered {error.code} {error.reason}. Another copy: --from URL or FOLDER") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        why = getattr(error, "reason", None) or error
        again = f"Type the same again to go on, or get {name} elsewhere and type: --from FOLDER"
        raise BenchError(f"{at} could not be read ({why}). {again}") from error


def _download(url: str, part: Path, name: str, progress: Progress | None) -> None:
    """Go on with a download where `part` ends; anew where the server does not go on there."""
    import urllib.error
    from urllib.request import Request, urlopen

    start = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "fingerprint-bench", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        answer = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not start:
            raise
        error.close()
        if error.headers.get("Content-Range", "").rpartition("/")[2] == str(start):
            return  # all of it was there
        part.unlink()
        _download(url, part, name, progress)
        return
    with answer:
        goes_on = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if answer.status != 200 and not goes_on:
            raise ConnectionError(f"it answered {answer.status} {answer.reason}")
        start = start if goes_on else 0
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else 0
        free = shutil.disk_usage(part.parent).free + (0 if goes_on else part.stat().st_size if part.exists() else 0)
        if total - start > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{name} has {total:,} bytes, free are {free:,}")
        with part.open("ab" if goes_on else "wb") as out:
            size = _pour(answer, out, name, start, total, progress)
    if total and size != total:
        raise ConnectionError(f"it ended after {size:,} of {total:,} bytes")


def _pour(source: Any, out: IO[bytes], name: str, size: int, total: int, progress: Progress | None) -> int:
    while True:
        try:
            chunk = source.read(CHUNK)
        except OSError as error:  # told apart from the errors of writing
            raise ConnectionError(str(error)) from error
        if not chunk:
            return size
        out.write(chunk)
        size += len(chunk)
        if progress is not None:
            progress(name, size, total)
