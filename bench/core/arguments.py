"""Arguments of Python calls that are paths."""

from os import PathLike
from pathlib import Path

from bench.core.errors import BenchError


def path(name: str, value: object) -> Path:
    """Return an argument as a path, with the home folder in place of ~; BenchError if it is none, or empty."""
    if not isinstance(value, str | PathLike) or not str(value):
        raise BenchError(f"{name} takes a path, not {value!r:.80}")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise BenchError(f"{name}: the user of {str(value)!r:.80} has no home folder: write the whole path") from None


def paths(name: str, value: object) -> tuple[Path, ...]:
    """Return an argument that is one path or several as a tuple; None as an empty one. BenchError for what is none."""
    if value is None or isinstance(value, str | PathLike):
        return () if value is None else (path(name, value),)
    try:
        items = iter(value)  # type: ignore[call-overload]
    except TypeError:
        raise BenchError(f"{name} takes paths, not {value!r:.80}") from None
    return tuple(path(name, item) for item in items)
