"""Dataset files below the data root: where they are, and whether their checksums hold."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.api.components import Dataset, fields_of
from bench.core.canonical import JSON, digest
from bench.core.errors import BenchError
from bench.store.atomic import write_atomically

MEMORY = ".verified.json"
"""What was verified, beside the data: checksums that held, with the size and time of the file."""

REASONS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}


remembered: dict[str, dict[str, JSON]] = {}
"""The same for data folders that cannot be written, as long as this process lives."""


def data_root(option: str | None = None) -> Path:
    """Give the data folder: `option`, else `$BENCH_DATA`, else `data` in the user's cache directory."""
    from platformdirs import user_cache_path

    named = option or os.environ.get("BENCH_DATA")
    return Path(named).expanduser() if named else user_cache_path("fingerprint-bench") / "data"


@contextmanager
def translated_errors(root: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        why = REASONS.get(error.errno or 0, error.strerror or str(error))
        at = f" ({error.filename})" if error.filename else ""
        text = f"The data folder {root} cannot be {what}: {why}{at}. Choose another: --data or $BENCH_DATA"
        raise BenchError(text) from error


def absent(dataset: Dataset, root: Path) -> list[str]:
    """List the files of a dataset that are not there, one line each; reads none of them."""
    with translated_errors(root, "read"):
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
    with translated_errors(root, "read"):
        for path, expected in sorted(dataset.checksums.items()):
            if not expected or not (root / path).is_file():
                continue
            fact = [*_state(root / path), expected]
            if known.get(path) != fact and (found := checksum(root / path, expected)) != expected:
                lines.append(f"{path}: damaged ({found} instead of {expected})")
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


def checksum(path: Path, like: str) -> str:
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
    return {**(known if isinstance(known, dict) else {}), **remembered.get(str(root), {})}


def _remember(root: Path, held: dict[str, JSON]) -> None:
    known = _recall(root)
    if all(known.get(name) == fact for name, fact in held.items()):
        return
    try:
        write_json(root / MEMORY, {**known, **held})
    except OSError:  # data may lie in a folder that is not ours to write
        remembered.setdefault(str(root), {}).update(held)


def write_json(path: Path, value: JSON) -> None:
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n")
