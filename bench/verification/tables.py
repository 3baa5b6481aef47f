"""CSV files of verification: a line for each struct, with a digest of the line, so that a changed one can be named."""

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from msgspec import Struct

from bench.core.errors import BenchError, printable
from bench.results.columns import Column
from bench.results.writer import comma_separated, written

Row = TypeVar("Row", bound=Struct)

DIGITS = 16
"""Hexadecimal digits of a line's digest."""
SEAL = "line_digest"
"""The last column: the first DIGITS of the SHA-256 of the line before it."""


def sealed(columns: Sequence[Column[Any]]) -> list[Column[Any]]:
    """Return columns, and a last one with the digest of the line."""
    return [*columns, Column(SEAL, str, lambda row: _seal([written(c.type, c.value(row)) for c in columns]))]


def _seal(values: Sequence[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="").writerow(values)
    return hashlib.sha256(buffer.getvalue().encode()).hexdigest()[:DIGITS]


def text(columns: Sequence[Column[Any]], rows: Iterable[Struct]) -> str:
    """Write a CSV file with a sealed line for each row."""
    columns = sealed(columns)
    return comma_separated([c.name for c in columns], ([written(c.type, c.value(r)) for c in columns] for r in rows))


def changed_line(path: Path, columns: Sequence[Column[Any]]) -> str:
    """Return the first line of a changed file that is not as it was written; empty if none shows it."""
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
    except (OSError, ValueError, csv.Error):
        return ""
    for number, values in enumerate(lines[1:], 2):
        if len(values) != len(columns) + 1 or _seal(values[:-1]) != values[-1]:
            return printable(f"line {number}: {', '.join(values[:-1])}")[:300]
    return ""


def rows(path: Path, columns: Sequence[Column[Any]], make: Callable[..., Row]) -> list[Row]:
    """Read a CSV file of sealed lines; BenchError names the line that is wrong."""
    try:
        lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")), strict=True))
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from None
    except (ValueError, csv.Error) as error:
        raise BenchError(printable(f"{path} is no CSV file: {error}")) from None
    names = [c.name for c in columns]
    if not lines or lines[0] != [*names, SEAL]:
        raise BenchError(f"{path}: its first line must be {','.join([*names, SEAL])}")
    found = []
    for number, values in enumerate(lines[1:], 2):
        if len(values) != len(columns) + 1:
            raise BenchError(f"{path}: line {number} has {len(values)} values, not {len(columns) + 1}")
        if _seal(values[:-1]) != values[-1]:
            raise BenchError(f"{path}: line {number} was changed: its digest is another")
        try:
            given = {c.name: _value(c, value) for c, value in zip(columns, values, strict=False)}
        except ValueError as error:
            raise BenchError(printable(f"{path}: line {number}: {error}")) from None
        found.append(make(**given))
    return found


def _value(column: Column[Any], value: str) -> Any:
    """Return the value of a cell; ValueError says what is wrong with it."""
    if column.type is str:
        return value
    if not value:
        if column.required:
            raise ValueError(f"{column.name} is empty")
        return None
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{column.name} is {value!r:.40}, which is no finite number")
    if column.share and not 0 <= number <= 1:
        raise ValueError(f"{column.name} is {value}, which is not within 0 and 1")
    return int(value) if column.type is int else number
