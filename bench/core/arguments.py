"""Arguments of Python calls that are paths."""

from os import PathLike
from pathlib import Path

from bench.core.errors import BenchError


def path(name: str, value: object) -> Path:
    """Return an argument as a path; BenchError if it is none, or empty."""
    if not isinstance(value, str | PathLike) or not str(value):
        raise BenchError(f"{name} takes a path, not {value!r:.80}")
    return Path(value)


def paths(name: str, value: object) -> tuple[Path, ...]:
    """Return an argument that is one path or several as a tuple; None as an empty one. BenchError for what is none."""
    if value is None or isinstance(value, str | PathLike):
        return () if value is None else (path(name, value),)
    try:
        items = iter(value)  # type: ignore[call-overload]
    except TypeError:
        raise BenchError(f"{name} takes paths, not {value!r:.80}") from None
    return tuple(path(name, item) for item in items)
