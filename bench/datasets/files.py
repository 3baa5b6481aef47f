"""Dataset files below the data root: paths, missing files, checksums."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath

from bench.api.components import Dataset, fields_of
from bench.core.canonical import JSON, digest
from bench.core.errors import BenchError, describe_error, printable
from bench.datasets.observation import observed
from bench.store.atomic import write_atomically
from bench.store.folders import REASONS, user_folder

CACHE = ".verified.json"
"""Cache of verified checksums, beside the data, with the size and the times of each file."""

DESCRIPTIONS = "image_folders"
"""The folder of the descriptions of image folders, below the data root; the name of the plugin that offers them."""

_cached: dict[str, dict[str, JSON]] = {}
"""The same cache for data folders that cannot be written, for the life of this process."""


def data_root(option: str | None = None) -> Path:
    """Return the data folder: `option`, else `$BENCH_DATA`, else `data` in the user's cache directory."""
    return user_folder(option or os.environ.get("BENCH_DATA"), "data", "--data or $BENCH_DATA")


@contextmanager
def translated_errors(root: Path, what: str) -> Iterator[None]:
    """Raise BenchError instead of OSError."""
    try:
        yield
    except OSError as error:
        why = REASONS.get(error.errno or 0, error.strerror or str(error))
        at = f" ({error.filename})" if error.filename else ""
        text = f"The data folder {root} cannot be {what}: {why}{at}. Choose another: --data or $BENCH_DATA"
        raise BenchError(text) from error


def absent(dataset: Dataset, root: Path) -> list[str]:
    """List the missing files of a dataset, one line each, without reading any."""
    with translated_errors(root, "read"):
        return [f"{path}: missing" for path in sorted(dataset.checksums) if not (root / path).is_file()]


def absent_archives(dataset: Dataset, root: Path) -> list[str]:
    """List the missing archives of a dataset that declares no files: nothing else shows whether it is there."""
    with translated_errors(root, "read"):
        archives = () if dataset.checksums else dataset.downloads
        return [f"{archive.path}: missing" for archive in archives if not (root / archive.path).is_file()]


def verify(dataset: Dataset, root: Path) -> list[str]:
    """List missing and damaged files, one line each: checksums first, then the dataset's own `check`."""
    return _examine(dataset, root, {})


def problems(dataset: Dataset, root: Path) -> list[str]:
    """Return what `verify` does, but skip files verified earlier whose size and times are unchanged."""
    return _examine(dataset, root, read_cache(root))


def ready(dataset: Dataset, root: Path) -> None:
    """Raise BenchError unless a dataset can be loaded; it names the first missing or damaged file, and the command."""
    if found := absent(dataset, root) or problems(dataset, root):
        raise BenchError(unreadable(dataset, root, found))


def unreadable(dataset: Dataset, root: Path, found: Sequence[str]) -> str:
    """Return a line for a dataset with missing or damaged files: the first of those found, and the way out."""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    get = f"Type: bench data fetch {dataset.name}, or point" if dataset.downloads else "Point"
    remedy = getattr(dataset, "remedy", "") or f"{get} --data or $BENCH_DATA to the folder that holds it"
    return f"Dataset {dataset.name} cannot be read in {root}: {found[0]}{more}. {remedy}"


def _examine(dataset: Dataset, root: Path, known: dict[str, JSON]) -> list[str]:
    lines = absent(dataset, root)
    valid: dict[str, JSON] = {}
    with translated_errors(root, "read"):
        for path, expected in sorted(dataset.checksums.items()):
            if not expected or not (root / path).is_file():
                continue
            fact = [*state(root / path), expected]
            if known.get(path) != fact and (found := checksum(root / path, expected)) != expected:
                lines.append(f"{path}: damaged ({found} instead of {expected})")
            else:
                valid[path] = fact
        if not lines:
            # `check` may be slow (110,000 pictures): its result is cached until a listed file or a folder changes
            settings = {f.name: getattr(dataset, f.name) for f in fields_of(dataset)}
            name = f"{dataset.name} {dataset.version} {digest(settings)[:16]}"
            states = known.get(name)
            if not _are_current(states, dataset, root):
                with observed() as seen:
                    lines = _own_check(dataset, root)
                folders = seen.folders(root) | {PurePath(path).parent.as_posix() for path in seen.files(root)}
                watched = [*sorted(dataset.checksums), *sorted(folders - {"."})]
                states = [[path, *state(root / path)] for path in watched]
            if dataset.checksums and not lines:
                valid[name] = states
    write_cache(root, valid)
    return lines


def _own_check(dataset: Dataset, root: Path) -> list[str]:
    """Return the lines of a dataset's own check, one if it fails; OSError if a file cannot be read."""
    try:
        found = dataset.check(root)
        lines = [found] if isinstance(found, str) else list(found or ())
    except OSError:
        raise
    except Exception as error:  # a plugin may raise anything
        lines = [str(error) if isinstance(error, BenchError) else f"its check failed ({describe_error(error)})"]
    return [printable(str(line)) for line in lines]


def _are_current(states: JSON, dataset: Dataset, root: Path) -> bool:
    """Return True if the files and folders of a cached check are unchanged, and are all that the dataset declares."""
    try:
        paths = {path for path, *found in states if found == [*state(root / path)]}
    except (TypeError, ValueError, OSError):
        return False
    return 0 < len(paths) == len(states) and paths.issuperset(dataset.checksums)


def state(path: Path) -> tuple[int, int, int]:
    """Return size, modification time and change time in nanoseconds; programs that copy keep the first two."""
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns


def checksum(path: Path, like: str) -> str:
    """Compute a file's checksum in the form of `like`: `md5:...` or `sha256:...`."""
    algorithm = like.partition(":")[0]
    if algorithm not in ("md5", "sha256") or ":" not in like:
        raise BenchError(f"The checksum {like!r} of {path.name} is of an unknown kind: write md5:... or sha256:...")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
    return f"{algorithm}:{found.hexdigest()}"


def read_cache(root: Path) -> dict[str, JSON]:
    """Read the cache of verified files; an unreadable one is empty."""
    try:
        known = json.loads((root / CACHE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    return {**(known if isinstance(known, dict) else {}), **_cached.get(str(root), {})}


def write_cache(root: Path, valid: dict[str, JSON]) -> None:
    """Add entries to the cache of verified files."""
    known = read_cache(root)
    if all(known.get(name) == fact for name, fact in valid.items()):
        return
    try:
        write_json(root / CACHE, {**known, **valid})
    except OSError:  # the data folder may be read-only
        _cached.setdefault(str(root), {}).update(valid)


def write_json(path: Path, value: JSON) -> None:
    """Write a JSON file in one step."""
    write_atomically(path, json.dumps(value, indent=1, sort_keys=True) + "\n")
