"""Find a results folder by its path or its name."""

from pathlib import Path

from bench.core.errors import BenchError, capped, did_you_mean


def folder_of(name: str) -> Path:
    """Return a results folder by its path, or by its name in ./results; raise BenchError if there is none."""
    try:
        for folder in (Path(name), Path("results") / name):
            if folder.is_dir():
                return folder
        there = sorted(p.name for p in Path("results").iterdir() if p.is_dir()) if Path("results").is_dir() else []
    except OSError as error:
        raise BenchError(f"{error.filename} cannot be read: {error.strerror or error}") from error
    hint = did_you_mean(name, there) or f"There are: {', '.join(capped(there)) or 'none'}"
    raise BenchError(f"There is no results folder {name!r}, here or in results. {hint.strip()}")
