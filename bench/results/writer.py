"""Write the two files of a results folder, and text that is safe to open."""

import csv
import hashlib
import io
import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.results.columns import MODEL_COLUMNS, TRIAL_COLUMNS, Kind
from bench.store.atomic import write_atomically

WRITING = 60
"""Seconds after which no process can still be writing a file."""
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]+")
"""Control characters, and those that are invisible or change the direction of writing."""
FORMULA = ("=", "+", "-", "@")
"""How a formula of a spreadsheet begins."""
MOST_WRITTEN = 500
"""Characters of a cell that is written; longer text is cut."""


class NotWritable(BenchError):
    """A results folder cannot be written."""


def clean(text: str) -> str:
    """Replace what cannot be printed by spaces, and cut what is too long."""
    text = UNPRINTABLE.sub(" ", text).strip()
    return text if len(text) <= MOST_WRITTEN else text[: MOST_WRITTEN - 1] + "…"


def harmless(text: str) -> str:
    """Make text that no spreadsheet takes for a formula, and no terminal for a command."""
    text = clean(text)
    return f"'{text}" if text.startswith(FORMULA) else text


def written(kind: Kind, value: Any) -> str:
    """Write a value of a column: a float so that it is read back exactly, no text that could be a formula."""
    if value is None or value != value:
        return ""
    if kind is str:
        return harmless(str(value))
    return repr(float(value)) if kind is float else str(int(value))


def comma_separated(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a CSV file's text, lines ending in a line feed."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()


def save(folder: Path, rows: Iterable[Mapping[str, object]], run: Mapping[str, JSON]) -> None:
    """Write `run.json`, which identifies the folder if writing is interrupted, and then `trials.csv`."""
    rows = list(rows)
    described = any(r.get(c.name) for r in rows for c in MODEL_COLUMNS)
    columns = (*TRIAL_COLUMNS, *MODEL_COLUMNS) if described else TRIAL_COLUMNS
    values = ([written(c.type, r.get(c.name, "")) for c in columns] for r in rows)
    text = comma_separated([c.name for c in columns], values)
    run = {k: v for k, v in run.items() if k != "edited"} | {"trials_sha256": hashlib.sha256(text.encode()).hexdigest()}
    for partial in partials(folder):
        with suppress(OSError):  # its writer may be replacing it at this moment
            if time.time() - partial.stat().st_mtime > WRITING:
                partial.unlink()
    put(folder / "run.json", run_text(run))
    put(folder / "trials.csv", text)


def run_text(run: Mapping[str, JSON]) -> str:
    """Return the text of a `run.json`."""
    return json.dumps(run, indent=1, sort_keys=True, allow_nan=False) + "\n"


def partials(folder: Path) -> list[Path]:
    """Return the unfinished files of a run that was killed while it wrote them."""
    return list(folder.glob(".*.part"))


def put(path: Path, text: str) -> None:
    """Write a file atomically; raise NotWritable if that is impossible, unless the file has this text already."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, text)
    except OSError as error:
        with suppress(OSError):
            if path.read_bytes() == text.encode():
                return
        raise NotWritable(f"{path} cannot be written: {error.strerror or error}. Choose another folder") from error


def remove(path: Path) -> None:
    """Remove a file; raise NotWritable if that is impossible."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise NotWritable(f"{path} cannot be removed: {error.strerror or error}. Choose another folder") from error
