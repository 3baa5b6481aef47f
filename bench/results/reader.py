"""Read and check the two files that every table is made from: `trials.csv`, a row per trial, and `run.json`."""

import csv
import hashlib
import io
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Accuser, ComponentKind, Status, SuspectKind
from bench.core.spec import Spec
from bench.results.columns import COLUMNS, MODEL_COLUMNS, TRIAL_COLUMNS, Column, TrialRecord
from bench.results.run_schema import SchemaError, error_line, load_run, read_content, remedy
from bench.results.writer import UNPRINTABLE

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 2_000_000
READ_TOGETHER = 5_000
"""Rows that are turned into columns at once."""
MOST_CHARACTERS = 2_000
"""Of one cell."""
SEPARATORS = ",;\t"
"""What spreadsheets write between values, depending on the user's language."""
DECIMAL_COMMA = re.compile(r"^([+-]?\d+),(\d+(?:[eE][+-]?\d+)?)$")
"""A number as spreadsheets write it in languages with a comma; the separator is another one there."""

ACCUSATIONS = "accusations.csv"
"""The file of a results folder that `python -m benchmarks.accusations --out` adds."""


class Accused(NamedTuple):
    """A share of innocents that are accused, with its exact interval."""

    share: float
    low: float
    high: float


def load(folder: Path) -> tuple["pd.DataFrame", dict[str, JSON]]:
    """Read and check a results folder; return the rows as a frame of COLUMNS, and the content of `run.json`.

    Counts and reals are float64, NaN where a cell is empty; all else is text. BenchError, in one line, where a file is
    missing, damaged, mixed from several runs, or not what bench wrote. `run["edited"]` is True if `trials.csv` has
    other bytes than the run wrote.
    """
    path = Path(folder) / "trials.csv"
    run = load_run(path.parent / "run.json")
    try:
        text = read_content(path)
        frame = _frame(text)
        _check_rows(frame, merged=bool(run.get("origins")))
        _check_run(frame, run)
    except csv.Error as error:
        raise BenchError(f"{path} is no CSV file: {error_line(error)}. {remedy(path)}") from None
    except SchemaError as error:
        raise BenchError(f"{path}: {error_line(error)}. {remedy(path)}") from None
    run["edited"] = _is_edited(text, run)
    return frame, run


def accusations(folder: Path) -> dict[tuple[str, ...], Accused]:
    """Return shares by dataset, source architecture, method and accuser (`Accuser`); nothing if there is no such file.

    BenchError if a line of the file holds no share.
    """
    path = folder / ACCUSATIONS
    if not path.exists():
        return {}
    found: dict[tuple[str, ...], Accused] = {}
    lines = csv.DictReader(io.StringIO(read_content(path)), strict=True)
    try:
        for row in lines:
            if row["accuser"]:  # methods without a share have a reason
                shares = Accused(float(row["share"]), float(row["low"]), float(row["high"]))
                if not 0 <= shares.low <= shares.share <= shares.high <= 1:
                    raise ValueError(f"{shares.low:g} <= {shares.share:g} <= {shares.high:g} are no shares")
                key = row["dataset"], row["source_architecture"], row["method"], Accuser(row["accuser"])
                found[key] = shares
    except (csv.Error, ValueError, TypeError, KeyError) as error:
        made = "Make it again: python -m benchmarks.accusations"
        raise BenchError(f"{path}: line {lines.line_num}: {error_line(error)}. {made}") from None
    return found


def is_edited(folder: Path) -> bool:
    """Return True if `trials.csv` has other bytes than the run wrote; False also for results of older versions."""
    return _is_edited(read_content(folder / "trials.csv"), load_run(folder / "run.json"))


def _is_edited(text: str, run: Mapping[str, JSON]) -> bool:
    written = run.get("trials_sha256")
    return bool(written) and hashlib.sha256(text.encode()).hexdigest() != written


def _frame(text: str) -> "pd.DataFrame":
    import pandas as pd

    separator = max(SEPARATORS, key=text.partition("\n")[0].count)
    rows = csv.reader(_lines(text), strict=True, delimiter=separator)
    header = [name.strip() for name in next(rows, [])]
    width = len(header)
    while header and not header[-1]:  # empty columns of a spreadsheet
        header.pop()
    _check_header(header)
    columns = dict(zip(header, _columns(_table(rows, width, len(header)), width), strict=False))
    count = len(columns[header[0]])
    if not count:
        raise SchemaError("it has no rows")
    described = MODEL_COLUMNS if any(c.name in columns for c in MODEL_COLUMNS) else ()
    read: dict[str, pd.Series[Any]] = {}
    for column in (*TRIAL_COLUMNS, *described):
        texts = columns.pop(column.name, None) or [column.absent or ""] * count
        if column.type is not str and separator != ",":
            texts = [DECIMAL_COMMA.sub(r"\1.\2", text) for text in texts]
        read[column.name] = pd.Series(_column(column, texts))
    return pd.DataFrame(read, copy=False)


def _lines(text: str) -> Iterator[str]:
    """Yield the lines of a text with their ends; `io.StringIO` would copy it into four bytes for each character."""
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _table(rows: Iterable[list[str]], width: int, named: int) -> Iterator[list[str]]:
    """Yield the rows, without empty ones at the end; SchemaError if one has others than `named` of `width`."""
    pending: list[list[str]] = []
    for line, values in enumerate(rows, 2):
        pending.append(values)
        if not any(values):  # a spreadsheet may add such lines at the end
            continue
        if line > MOST_ROWS + 1:
            raise SchemaError(f"it has more than {MOST_ROWS} rows")
        for number, row in enumerate(pending, line - len(pending) + 1):
            if len(row) != width or any(row[named:]):
                raise SchemaError(f"line {number} has {len(row)} values instead of {width}")
            yield row
        pending = []


def _columns(rows: Iterator[list[str]], width: int) -> list[list[str]]:
    """Return the values of each column; equal ones that are near to each other are one object, to save memory."""
    columns, known = [list[str]() for _ in range(width)], [dict[str, str]() for _ in range(width)]
    while some := list(itertools.islice(rows, READ_TOGETHER)):
        for column, same, values in zip(columns, known, zip(*some, strict=True), strict=True):
            column.extend(map(same.setdefault, values, values))
            if len(same) > READ_TOGETHER:
                same.clear()
    return columns


def _check_header(header: Sequence[str]) -> None:
    missing = [c.name for c in TRIAL_COLUMNS if c.name not in header and c.absent is None]
    if missing:
        raise SchemaError(f"it lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    known = {*COLUMNS, *(c.name for c in MODEL_COLUMNS)}
    strange = [c for c in header if c not in known] or ["a column twice"] * (len(header) != len({*header}))
    if strange:
        raise SchemaError(f"it has columns that bench does not know: {', '.join(strange)}")


def _column(column: Column[TrialRecord], values: list[str]) -> Any:
    """Return the values of a column: numbers as float64, NaN where empty; text unchanged. Check each value once."""
    different = set(values)
    faults = {text: fault for text in different if (fault := _fault(column, text))}
    if faults:
        line, text = next((line, text) for line, text in enumerate(values, 2) if text in faults)
        raise SchemaError(f"line {line}: {column.name} {faults[text]}")
    if column.type is str:
        return values
    numbers = {text: float(text or "nan") for text in different}
    return np.fromiter(map(numbers.__getitem__, values), np.float64, len(values))


def _fault(column: Column[TrialRecord], text: str) -> str:
    """Return what is wrong with a value; empty if nothing is."""
    if not text:
        return "is empty" if column.required else ""
    if column.type is str:
        if len(text) > MOST_CHARACTERS:
            return f"has {len(text)} characters"
        if UNPRINTABLE.search(text):
            return "holds control characters"
        known = ", ".join(column.words)
        return f"is {text!r}, not one of {known}" if column.words and text not in column.words else ""
    what = f"is {text[:40]!r}, which is"
    try:
        value = float(text)
    except ValueError:
        return f"{what} no number"
    if not math.isfinite(value) or "_" in text:
        return f"{what} no finite number"
    if column.type is int and (value < 0 or value != int(value)):
        return f"{what} no count"
    return f"{what} not within 0 and 1" if column.share and not 0 <= value <= 1 else ""


def _check_rows(frame: "pd.DataFrame", merged: bool) -> None:
    # Machines that made a source of one seed each have the same keys for them.
    keys = frame[["key", *(["source_seed"] if merged else [])]]
    stolen = frame.suspect_kind == SuspectKind.STOLEN
    for text, wrong in (
        ("is done but has no score", (frame.status == Status.DONE) & frame.score.isna()),
        ("has a score but is not done", (frame.status != Status.DONE) & frame.score.notna()),
        ("is stolen but names no attack", stolen & (frame.attack == "")),
        ("is stolen but has no attack_version", stolen & frame.attack_version.isna()),
        ("is irrelevant but names an attack", ~stolen & (frame.attack != "")),
        ("can be judged but names no suspect_dataset", (frame.status == Status.DONE) & (frame.suspect_dataset == "")),
        ("repeats a trial", frame.duplicated([c.name for c in TRIAL_COLUMNS if c.identity])),
        ("repeats a key", keys.duplicated() & (frame.key != "")),
    ):
        if wrong.any():
            raise SchemaError(f"line {int(wrong.to_numpy().argmax()) + 2} {text}")


def _check_run(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> None:
    """Raise SchemaError if rows are of several runs, or differ from `run.json` in names or versions of components."""
    spec = Spec.from_json(run["spec"])
    for column, names in (
        ("dataset", spec.datasets),
        ("source_architecture", spec.sources),
        ("source_seed", spec.seeds),
        ("attack", spec.attacks),
        ("method", spec.methods + spec.baselines),
    ):
        strange = [n for n in frame[column].unique() if n not in ("", *names)]
        if strange:
            shown = repr(strange[0]) if isinstance(strange[0], str) else f"{strange[0]:.0f}"
            raise SchemaError(f"it has rows of the {column} {shown}, which run.json beside it does not name")
    for kind in (ComponentKind.METHOD, ComponentKind.ATTACK):
        versions = frame[frame[kind] != ""].groupby(kind, sort=False)[f"{kind}_version"].unique()
        for name, found in versions.items():
            recorded = run["components"][kind][name]["version"]
            if len(found) > 1:
                both = " and ".join(f"{v:g}" for v in found)
                raise SchemaError(f"it mixes versions {both} of the {kind} {name!r}: rows of several runs")
            if recorded != found[0]:
                raise SchemaError(f"it has version {found[0]:g} of the {kind} {name!r}, run.json beside it {recorded}")
