"""Check whether a report is still that of its two source files and of the code that makes it."""

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from pathlib import Path

from bench.results.reader import ACCUSATIONS
from bench.results.writer import put

STAMP = ".report"
SOURCES = ("run.json", "trials.csv")
LIBRARIES = ("numpy", "pandas", "scipy", "tabulate", "jinja2", "matplotlib")
PACKAGES = ("core", "stats", "planning", "results", "analysis", "reporting")
"""The libraries, and the packages of the host with all below them, that the bytes of a report depend on."""
HOST = Path(__file__).parents[1]
ERRORS = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""Of a stamp that is missing or damaged, or of a file that cannot be read."""


def write_stamp(folder: Path, names: Iterable[str]) -> None:
    """Write the digests of these files of a report and of their sources; raise BenchError if that is impossible."""
    files = {name: _digest((folder / name).read_bytes()) for name in sorted(names)}
    put(folder / STAMP, json.dumps({"from": _origin(folder), "files": files}, indent=1) + "\n")


def is_current(folder: Path) -> bool:
    """Return True if every file of the report is as it was written, and its sources and their code have not changed."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        files = stamp["files"].items()
        return stamp["from"] == _origin(folder) and all(_digest((folder / n).read_bytes()) == d for n, d in files)
    except ERRORS:
        return False


def is_as_written(folder: Path, name: str) -> bool:
    """Return True if a file is as the last report of its folder wrote it."""
    try:
        stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        return bool(stamp["files"][name] == _digest((folder / name).read_bytes()))
    except ERRORS:
        return False


def _origin(folder: Path) -> str:
    """Return a digest of the source files, of the code and of the versions of the libraries."""
    code = (p for name in PACKAGES for p in (HOST / name).rglob("*") if p.is_file() and p.suffix != ".pyc")
    more = (path for path in [folder / ACCUSATIONS] if path.exists())
    paths = [*(folder / name for name in SOURCES), *more, *sorted(code)]
    return _digest("\n".join([*(_digest(p.read_bytes()) for p in paths), *map(_version, LIBRARIES)]).encode())


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
