"""Download the published archives of a dataset, check them and extract them."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from bench.api.components import Dataset
from bench.api.data import Download
from bench.core.errors import BenchError
from bench.datasets.extraction import extract
from bench.datasets.files import absent_archives, checksum, problems, translated_errors, verify, write_json
from bench.store.atomic import replace
from bench.store.locks import has_locks

Progress = Callable[[str, int, int], None]
"""Progress of a download: file name, bytes so far, total bytes (0: unknown)."""

CHUNK = 1 << 20

TIMEOUT = 30.0
"""Seconds without a byte after which a download fails."""


def fetch(dataset: Dataset, root: Path, progress: Progress | None = None, mirror: str | None = None) -> None:
    """Download a dataset's archives, compare their checksums, extract them, and verify the files.

    Existing files are kept. An interrupted download is resumed. `mirror` is a URL or a folder that contains files of
    the same names, and replaces the published host. BenchError names the command that helps.
    """
    found = problems(dataset, root)
    if not found and not absent_archives(dataset, root):
        return
    if not dataset.downloads:
        raise BenchError(f"{dataset.name} declares no download, and in {root}: {found[0]}")
    from filelock import FileLock

    with translated_errors(root, "written"):
        root.mkdir(parents=True, exist_ok=True)
        # one lock for all datasets: some share an archive
        with FileLock(root / ".fetch.lock") if has_locks(root) else nullcontext():
            for download in dataset.downloads:
                _obtain(download, root, progress, mirror)
                _extract(download, root)
    found = verify(dataset, root)
    if found:
        raise BenchError(f"{dataset.name} was extracted to {root}, but {found[0]} ({len(found)} in all)")


def _obtain(download: Download, root: Path, progress: Progress | None, mirror: str | None) -> None:
    """Download an archive and compare its checksum; record the digest of one without a published checksum."""
    archive = root / download.path
    record = archive.with_name(archive.name + ".json")
    if archive.is_file():
        expected = download.checksum or _recorded(record)
        if not expected:  # copied there by hand
            _record(record, archive, str(archive))
        if not expected or checksum(archive, expected) == expected:
            return
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(archive.name + ".part")
    resumed = part.is_file()
    _transfer(download, part, progress, mirror)
    if not download.checksum:
        _record(record, part, _source_of(download, mirror))
    elif (found := checksum(part, download.checksum)) != download.checksum:
        part.unlink()
        if resumed:  # the partial file was of another file: download all of it
            _obtain(download, root, progress, mirror)
            return
        raise BenchError(
            f"{archive.name} is not the published file ({found} instead of {download.checksum}): not extracted. "
            f"Run the same command again, or use another copy: --from URL or FOLDER"
        )
    replace(part, archive)


def _recorded(record: Path) -> str:
    try:
        return str(json.loads(record.read_text(encoding="utf-8"))["checksum"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _record(record: Path, archive: Path, source: str) -> None:
    write_json(record, {"from": source, "checksum": checksum(archive, "sha256:"), "bytes": archive.stat().st_size})


def _extract(download: Download, root: Path) -> None:
    if not download.unpack:
        return
    archive = root / download.path
    try:
        extract(archive, root / download.unpack)
    except BenchError:
        if not download.checksum:  # it may be damaged: set aside, so that the next attempt downloads it again
            archive.with_name(archive.name + ".json").unlink(missing_ok=True)
            archive.replace(archive.with_name(archive.name + ".damaged"))
        raise


def _source_of(download: Download, mirror: str | None) -> str:
    """Return the URL of an archive, or its path if the mirror is a folder."""
    name = PurePosixPath(download.path).name
    if mirror is None:
        return download.url
    return f"{mirror.rstrip('/')}/{name}" if "://" in mirror else str(Path(mirror).expanduser() / name)


def _transfer(download: Download, part: Path, progress: Progress | None, mirror: str | None) -> None:
    at = _source_of(download, mirror)
    name = PurePosixPath(download.path).name
    if mirror is not None and "://" not in mirror and not Path(at).is_file():
        raise BenchError(f"There is no {name} in {mirror}")
    if "://" in at and urlsplit(at).scheme not in ("http", "https"):
        raise BenchError(f"{at} is neither http nor https: use --from URL or FOLDER")
    import http.client
    import urllib.error

    try:
        if "://" in at:
            _download(at, part, name, progress)
        else:
            with Path(at).open("rb") as source, part.open("wb") as out:
                _copy(source, out, name, 0, Path(at).stat().st_size, progress)
    except urllib.error.HTTPError as error:
        error.close()
        raise BenchError(f"{at} answered {error.code} {error.reason}. Another copy: --from URL or FOLDER") from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        why = getattr(error, "reason", None) or error
        again = f"Run the same command again to resume, or copy {name} from elsewhere and use --from FOLDER"
        raise BenchError(f"{at} could not be read ({why}). {again}") from error


def _download(url: str, part: Path, name: str, progress: Progress | None) -> None:
    """Resume a download at the end of `part`, or restart it if the server cannot resume."""
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
            return  # it was complete
        part.unlink()
        _download(url, part, name, progress)
        return
    with answer:
        resumes = answer.status == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if answer.status != 200 and not resumes:
            raise ConnectionError(f"it answered {answer.status} {answer.reason}")
        start = start if resumes else 0
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if length.isdigit() else 0
        free = shutil.disk_usage(part.parent).free + (0 if resumes else part.stat().st_size if part.exists() else 0)
        if total - start > free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), f"{name} has {total:,} bytes, free are {free:,}")
        with part.open("ab" if resumes else "wb") as out:
            size = _copy(answer, out, name, start, total, progress)
    if total and size != total:
        raise ConnectionError(f"it ended after {size:,} of {total:,} bytes")


def _copy(source: Any, out: IO[bytes], name: str, size: int, total: int, progress: Progress | None) -> int:
    while True:
        try:
            chunk = source.read(CHUNK)
        except OSError as error:  # distinguishes it from errors of writing
            raise ConnectionError(str(error)) from error
        if not chunk:
            return size
        out.write(chunk)
        size += len(chunk)
        if progress is not None:
            progress(name, size, total)
