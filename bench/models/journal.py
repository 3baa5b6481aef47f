"""The journal of answers, `answers.csv`: every image that a network was asked, its raw answer, and when it came.

Each batch is one write, synced before anything else happens, so a run that dies goes on from the answers it has. A
journal is also a table of answers (format `answers`). Nothing here imports torch.
"""

import csv
import io
import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bench.core.errors import BenchError, Interrupted, printable
from bench.models.image_digest import DIGITS
from bench.models.kinds import ModelOutput
from bench.store.locks import exclusive

HEADER = ("image", "time", "output")
"""The first columns; a column for each number of an answer follows: 0, 1, ..."""
KEY = re.compile(rf"[0-9a-f]{{{DIGITS}}}(\.[1-9][0-9]*)?")
"""What a row is named: an image's digest; `.2` and so on follow where an image was asked again on purpose."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


@dataclass(frozen=True)
class Journal:
    """The rows of a journal in their order: `keys`, `times` (UTC, ISO 8601), and `answers`, float64 [N, K].

    `output` is the kind of the network's own answers; labels are [N, 1]. Without rows, `output` is empty.
    """

    keys: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    answers: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    output: str = ""

    @property
    def rows(self) -> dict[str, int]:
        """Return the row of each key."""
        return {key: i for i, key in enumerate(self.keys)}


def append(path: Path, keys: Sequence[str], answers: ArrayLike, output: str, synced: bool = True) -> None:
    """Add the raw answers [N, K], or labels [N], of one batch to a journal, in one write that is `synced` to the disk.

    Without that they survive the end of this process, not that of the machine. A line that a crash left half written is
    removed. BenchError if the journal has answers of another number.
    """
    values = np.asarray(answers)
    values = values.reshape(len(keys), -1)
    time = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    header = ",".join((*HEADER, *map(str, range(values.shape[1]))))
    lines = [",".join((key, time, output, *map(repr, row))) for key, row in zip(keys, values.tolist(), strict=True)]
    with _opened(path) as file:
        kept, first = _whole(file)
        if first and first != header:
            raise BenchError(f"{path} has the columns {first!r:.80}, but these answers need {header!r:.80}")
        file.truncate(kept)
        file.write("".join(f"{line}\n" for line in ([] if first else [header]) + lines).encode())
        file.flush()
        if synced:
            os.fsync(file.fileno())


def _whole(file: io.BufferedRandom) -> tuple[int, str]:
    """Return the size of what was written wholly, and the first line, of an open journal."""
    size = file.seek(0, os.SEEK_END)
    end = size
    while end:
        start = max(0, end - (1 << 16))
        file.seek(start)
        last = file.read(end - start).rfind(b"\n")
        if last >= 0:
            end = start + last + 1
            break
        end = start
    file.seek(0)
    return end, file.readline().decode(errors="replace").rstrip("\n") if end else ""


@contextmanager
def _opened(path: Path) -> Iterator[io.BufferedRandom]:
    """Open a journal, locked against other processes where that is possible; Interrupted if it cannot be written."""
    try:
        with path.open("a+b") as file, exclusive(file, path):
            yield file
    except OSError as error:
        raise Interrupted(f"{path} cannot be written: {error.strerror or error}") from error


def read(path: Path) -> Journal:
    """Read a journal, without a last line that a crash left half written; an absent one is empty.

    BenchError names the file and the line of anything else that is damaged.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return Journal()
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    try:
        lines = content[: content.rfind(b"\n") + 1].decode("ascii").splitlines()
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise _damage(path, number, "it holds bytes that no journal has") from None
    reader = csv.reader(lines)
    try:
        rows = list(reader)
    except csv.Error as error:  # a disk may fill what it lost with zeros
        raise _damage(path, reader.line_num, str(error)) from None
    return _parsed(path, rows) if rows else Journal()


def _parsed(path: Path, rows: list[list[str]]) -> Journal:
    width = len(rows[0])
    if tuple(rows[0]) != (*HEADER, *map(str, range(width - len(HEADER)))) or width <= len(HEADER):
        raise _damage(path, 1, f"the header must be {','.join(HEADER)},0,1,...")
    keys: dict[str, int] = {}
    answers = np.empty((len(rows) - 1, width - len(HEADER)))
    for number, row in enumerate(rows[1:], 2):
        if fault := _fault(row, width, rows[1][2]):
            raise _damage(path, number, fault)
        if row[0] in keys:
            raise _damage(path, number, f"the image {row[0]} is in line {keys[row[0]]} too")
        keys[row[0]] = number
        try:
            answers[number - 2] = _numbers(row[3:])
        except ValueError:
            raise _damage(path, number, "an answer is no number") from None
    return Journal(list(keys), [row[1] for row in rows[1:]], answers, rows[1][2] if len(rows) > 1 else "")


def _numbers(texts: Iterable[str]) -> list[float]:
    values = [float(text) for text in texts]
    if any(map(math.isnan, values)):
        raise ValueError
    return values


def _fault(row: list[str], width: int, output: str) -> str:
    if len(row) != width:
        return f"it has {len(row)} values, but the header {width}"
    if not KEY.fullmatch(row[0]):
        return f"{row[0]!r:.50} is no digest of an image"
    if not TIME.fullmatch(row[1]):
        return f"{row[1]!r:.50} is no time"
    if row[2] != output or output not in tuple(ModelOutput):
        return f"{row[2]!r:.50} is not the kind of all answers, one of {', '.join(ModelOutput)}"
    return ""


def _damage(path: Path, line: int, text: str) -> BenchError:
    return BenchError(printable(f"{path} is damaged: line {line}: {text}"))
