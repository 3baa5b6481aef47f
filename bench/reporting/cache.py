"""Know whether the files of a report are still those of its two true files and of the code that makes them."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from pathlib import Path

from bench.results.writer import put

STAMP = ".report"
TRUE = ("run.json", "trials.csv")
LIBRARIES = ("numpy", "pandas", "scipy", "tabulate", "jinja2", "matplotlib")
"""What takes part in the bytes of a report."""
MAKERS = ("core", "stats", "results", "analysis", "reporting")
"""The packages whose code does."""


def keep(folder: Path, names: Iterable[str]) -> None:
    """Note that these files of a folder are made from its true ones; BenchError where it cannot be written."""
    made = {name: _digest((folder / name).read_bytes()) for name in sorted(names)}
    put(folder / STAMP, json.dumps({"from": _origin(folder), "files": made}, indent=1) + "\n")


def is_kept(folder: Path) -> bool:
    """Say whether every file of the report is there as it was made, and nothing it was made from has changed."""
    try:
        noted = json.loads((folder / STAMP).read_text(encoding="utf-8"))
        files = noted["files"].items()
        return noted["from"] == _origin(folder) and all(_digest((folder / n).read_bytes()) == d for n, d in files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return False


def _origin(folder: Path) -> str:
    """Give a digest of the two true files, and of all that makes a report of them."""
    parts = [_digest((folder / name).read_bytes()) for name in TRUE]
    host = Path(__file__).parents[1]
    packages = (host / name for name in MAKERS)
    code = sorted(p for package in packages for p in package.rglob("*") if p.is_file() and p.suffix != ".pyc")
    parts += [_digest(p.read_bytes()) for p in code]
    return _digest("\n".join([*parts, *map(_version, LIBRARIES)]).encode())


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
