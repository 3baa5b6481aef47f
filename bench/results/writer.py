"""Write the two files of a results folder, and text that is safe to open."""

import csv
import io
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.results.columns import COLUMNS, COUNTS, REALS
from bench.store.atomic import write_atomically

WRITING = 60
"""Seconds after which nobody can still be at a file that was begun."""

UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]+")
"""Control characters, and those that are invisible or turn the direction of writing."""

FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""

MOST_WRITTEN = 500
"""Characters of a cell that is written; longer text is cut."""


def clean(text: str) -> str:
    """Replace what cannot be printed by spaces, and cut what is too long."""
    text = UNPRINTABLE.sub(" ", text).strip()
    return text if len(text) <= MOST_WRITTEN else text[: MOST_WRITTEN - 1] + "…"


def harmless(text: str) -> str:
    """Make text that no spreadsheet takes for a formula, and no terminal for a command."""
    text = clean(text)
    return f"'{text}" if text.startswith(FORMULA) else text


def _written(column: str, value: object) -> str:
    if value is None:
        return ""
    if column in COUNTS:
        return str(int(value))  # type: ignore[call-overload]
    if column in REALS:
        return repr(float(value))  # type: ignore[arg-type]
    return harmless(str(value))


def comma_separated(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a CSV file's text, lines ending in a line feed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def save(folder: Path, rows: Iterable[Mapping[str, object]], run: Mapping[str, JSON]) -> None:
    """Write `run.json` and `trials.csv`. The former comes first: it says whose folder this is, should we be stopped."""
    text = comma_separated(COLUMNS, ([_written(c, r[c]) for c in COLUMNS] for r in rows))
    for partial in partials(folder):
        with suppress(OSError):  # its writer may be replacing it at this moment
            if time.time() - partial.stat().st_mtime > WRITING:
                partial.unlink()
    put(folder / "run.json", json.dumps(run, indent=1, sort_keys=True, allow_nan=False) + "\n")
    put(folder / "trials.csv", text)


def partials(folder: Path) -> list[Path]:
    """List what a run left in its results folder that was killed while it wrote a file."""
    return list(folder.glob(".*.part"))


def put(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the whole new one, whatever happens in between."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error.strerror or error}. Choose another folder") from error
