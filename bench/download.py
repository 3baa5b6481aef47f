"""Dataset files on disk: get them, check them, and say in one line what is missing or damaged.

Works for any `Dataset` that declares `checksums` and `downloads`. Nothing is unpacked before its checksum was compared,
and nothing that is damaged reaches a run.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

from bench.errors import BenchError
from bench.types import JSON, Dataset, Download, digest, fields_of
from bench.unpack import place

Progress = Callable[[str, int, int], None]
"""Told of a download: file name, bytes so far, bytes in all (0: not known)."""

CHUNK = 1 << 20
TIMEOUT = 30.0
"""Seconds without a byte after which a server counts as gone."""
MEMORY = ".verified.json"
"""What was verified, beside the data: checksums that held, with the size and time of the file."""
REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}

_remembered: dict[str, dict[str, JSON]] = {}
"""The same for data folders that cannot be written, as long as this process lives."""


def data_root(option: str | None = None) -> Path:
    """Give the data folder: `option`, else `$BENCH_DATA`, else `data` in the user's cache directory."""
    from platformdirs import user_cache_path

    named = option or os.environ.get("BENCH_DATA")
    return Path(named).expanduser() if named else user_cache_path("fingerprint-bench") / "data"


@contextmanager
def _telling(root: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = REASONS.get(error.errno or 0, error.strerror or str(error))
        at = f" ({error.filename})" if error.filename else ""
        text = f"The data folder {root} cannot be {what}: {why}{at}. Choose another: --data or $BENCH_DATA"
        raise BenchError(text) from error


# --- what is there ------------------------------------------------------------------------------------------------


def absent(dataset: Dataset, root: Path) -> list[str]:
    """List the files of a dataset that are not there, one line each; reads none of them."""
    with _telling(root, "read"):
        return [f"{path}: missing" for path in sorted(dataset.checksums) if not (root / path).is_file()]


def verify(dataset: Dataset, root: Path) -> list[str]:
    """Say which files are missing or damaged, one line each: checksums first, then the dataset's own `check`."""
    return _examine(dataset, root, {})


def problems(dataset: Dataset, root: Path) -> list[str]:
    """Do as `verify`, but trust what held before of a file whose size and time have not changed since."""
    return _examine(dataset, root, _recall(root))


def ready(dataset: Dataset, root: Path) -> None:
    """Raise BenchError, naming the first missing or damaged file and the way out, unless a dataset can be loaded."""
    found = absent(dataset, root) or problems(dataset, root)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        get = f"Type: bench data fetch {dataset.name}, or point" if dataset.downloads else "Point"
        raise BenchError(
            f"Dataset {dataset.name} cannot be read in {root}: {found[0]}{more}. "
            f"{get} --data or $BENCH_DATA to the folder that holds it"
        )


def _examine(dataset: Dataset, root: Path, known: dict[str, JSON]) -> list[str]:
    lines = absent(dataset, root)
    held: dict[str, JSON] = {}
    with _telling(root, "read"):
        for path, checksum in sorted(dataset.checksums.items()):
            if not checksum or not (root / path).is_file():
                continue
            fact = [*_state(root / path), checksum]
            if known.get(path) != fact and (found := _checksum(root / path, checksum)) != checksum:
                lines.append(f"{path}: damaged ({found} instead of {checksum})")
            else:
                held[path] = fact
        if not lines:
            # `check` may be slow (110,000 pictures): what it said holds as long as the files listed stay the same.
            settings = {f.name: getattr(dataset, f.name) for f in fields_of(dataset)}
            name = f"{dataset.name} {dataset.version} {digest(settings)[:16]}"
            states = [[path, *_state(root / path)] for path in sorted(dataset.checksums)]
            if not states or known.get(name) != states:
                lines = list(dataset.check(root))
            if states and not lines:
                held[name] = states
    _remember(root, held)
    return lines


def _state(path: Path) -> list[int]:
    stat = path.stat()
    return [stat.st_size, stat.st_mtime_ns]


def _checksum(path: Path, like: str) -> str:
    """Give a file's checksum in the form of `like`: `md5:...` or `sha256:...`."""
    algorithm = like.partition(":")[0]
    if algorithm not in ("md5", "sha256") or ":" not in like:
        raise BenchError(f"The checksum {like!r} of {path.name} is of no known kind: write md5:... or sha256:...")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{found.hexdigest()}"


def _recall(root: Path) -> dict[str, JSON]:
    try:
        known = json.loads((root / MEMORY).read_text())
    except (OSError, ValueError):
        known = {}
    return {**(known if isinstance(known, dict) else {}), **_remembered.get(str(root), {})}


def _remember(root: Path, held: dict[str, JSON]) -> None:
    known = _recall(root)
    if all(known.get(name) == fact for name, fact in held.items()):
        return
    try:
        _write_json(root / MEMORY, {**known, **held})
    except OSError:  # data may lie in a folder that is not ours to write
        _remembered.setdefault(str(root), {}).update(held)


def _write_json(path: Path, value: JSON) -> None:
    beside = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    try:
        beside.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


# --- getting it ---------------------------------------------------------------------------------------------------


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

    with _telling(root, "written"):
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
        if not wanted or _checksum(archive, wanted) == wanted:
            return
    archive.parent.mkdir(parents=True, exist_ok=True)
    part = archive.with_name(archive.name + ".part")
    resumed = part.is_file()
    _get(download, part, progress, mirror)
    if not download.checksum:
        _record(record, part, _place_of(download, mirror))
    elif (found := _checksum(part, download.checksum)) != download.checksum:
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
    _write_json(record, {"from": place, "checksum": _checksum(archive, "sha256:"), "bytes": archive.stat().st_size})


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
