"""Read the two files of a results folder that are the truth: `trials.csv`, a row per trial, and `run.json`.

Every table is made from these two alone, so they are checked when they are read: a table is either
right or not there.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind, Status, SuspectKind
from bench.core.spec import Spec
from bench.results.columns import COLUMNS, COUNTS, REALS, REQUIRED, SHARES
from bench.results.run_schema import SchemaError, error_line, load_run, read_content, remedy
from bench.results.writer import UNPRINTABLE

if TYPE_CHECKING:
    import pandas as pd

IDENTITY = (
    "dataset",
    "source_architecture",
    "source_seed",
    "method",
    "budget",
    "suspect_kind",
    "attack",
    "suspect_dataset",
    "suspect_architecture",
    "replicate",
)
"""The columns that identify a trial."""

STATUSES = tuple(s for s in Status if s != Status.BUSY)

MOST_ROWS = 2_000_000

MOST_CHARACTERS = 2_000
"""Of one cell."""


def load(folder: Path) -> tuple["pd.DataFrame", dict[str, JSON]]:
    """Read a results folder, and check it: the rows as a frame of COLUMNS, and what `run.json` holds.

    Counts and reals are float64, NaN where a cell is empty; all else is text. BenchError, in one line, where a file is
    missing, damaged, mixed from several runs, or not what bench wrote.
    """
    folder = Path(folder)
    run = load_run(folder / "run.json")
    frame = _load_trials(folder / "trials.csv")
    _same_run(frame, run, folder)
    return frame, run


def _load_trials(path: Path) -> "pd.DataFrame":
    import pandas as pd

    text = read_content(path)
    try:
        lines = csv.reader(io.StringIO(text), strict=True)
        header = next(lines, [])
        _check_header(header)
        table: list[list[str]] = []
        for values in lines:
            if len(values) != len(header):
                raise SchemaError(f"line {len(table) + 2} has {len(values)} values instead of {len(header)}")
            table.append(values)
        if len(table) > MOST_ROWS:
            raise SchemaError(f"it has {len(table)} rows, more than {MOST_ROWS}")
        if not table:
            raise SchemaError("it has no rows")
        columns = dict(zip(header, zip(*table, strict=True), strict=True))
        frame = pd.DataFrame({c: _column(c, columns[c]) for c in COLUMNS})
        _check_rows(frame)
    except csv.Error as error:
        raise BenchError(f"{path} is no CSV file: {error_line(error)}. {remedy(path)}") from None
    except SchemaError as error:
        raise BenchError(f"{path}: {error_line(error)}. {remedy(path)}") from None
    return frame


def _check_header(header: Sequence[str]) -> None:
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        raise SchemaError(f"it lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    if len(header) != len(COLUMNS):
        strange = [c for c in header if c not in COLUMNS] or ["a column twice"]
        raise SchemaError(f"it has columns that bench does not know: {', '.join(strange)}")


def _column(name: str, values: Sequence[str]) -> object:
    """Return the values of a column: numbers as float64, NaN where empty; text unchanged."""
    if name in REQUIRED and "" in values:
        raise SchemaError(f"line {values.index('') + 2}: {name} is empty")
    if name in COUNTS or name in REALS:
        return _numbers(name, values)
    different = set(values)
    if max(map(len, different)) > MOST_CHARACTERS:
        text = next(v for v in values if len(v) > MOST_CHARACTERS)
        raise SchemaError(f"line {values.index(text) + 2}: {name} has {len(text)} characters")
    if UNPRINTABLE.search("".join(different)):
        text = next(v for v in values if UNPRINTABLE.search(v))
        raise SchemaError(f"line {values.index(text) + 2}: {name} holds control characters")
    return list(values)


def _numbers(name: str, values: Sequence[str]) -> NDArray[np.float64]:
    """Return numbers; each different text is parsed once."""
    known = {text: _number(name, text) for text in set(values)}
    wrong = {text: why for text, why in known.items() if isinstance(why, str)}
    if wrong:
        text = next(v for v in values if v in wrong)
        raise SchemaError(f"line {values.index(text) + 2}: {name} is {text[:40]!r}, which is {wrong[text]}")
    return np.fromiter(map(known.__getitem__, values), np.float64, len(values))


def _number(name: str, text: str) -> float | str:
    """Return a number, or the reason why the text is none."""
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return "no number"
    if not math.isfinite(value) or "_" in text:
        return "no finite number"
    if name in COUNTS and (value < 0 or value != int(value)):
        return "no count"
    if name in SHARES and not 0 <= value <= 1:
        return "not within 0 and 1"
    return value


def _check_rows(frame: "pd.DataFrame") -> None:
    words = {"status": STATUSES, "suspect_kind": tuple(SuspectKind), "access": ("", *Access)}
    for column, allowed in words.items():
        strange = (~frame[column].isin(allowed)).to_numpy()
        if strange.any():
            at = int(strange.argmax())
            known = ", ".join(filter(None, allowed))
            raise SchemaError(f"line {at + 2}: {column} is {frame[column].iloc[at]!r}, not one of {known}")
    stolen = frame.suspect_kind == SuspectKind.STOLEN
    for text, wrong in (
        ("is done but has no score", (frame.status == Status.DONE) & frame.score.isna()),
        ("has a score but is not done", (frame.status != Status.DONE) & frame.score.notna()),
        ("is stolen but names no attack", stolen & (frame.attack == "")),
        ("is stolen but has no attack_version", stolen & frame.attack_version.isna()),
        ("is irrelevant but names an attack", ~stolen & (frame.attack != "")),
        ("can be judged but names no suspect_dataset", (frame.status == Status.DONE) & (frame.suspect_dataset == "")),
        ("is a trial that stands there twice", frame.duplicated(list(IDENTITY))),
        ("has a key that stands there twice", frame.key.duplicated() & (frame.key != "")),
    ):
        if wrong.any():
            raise SchemaError(f"line {int(wrong.to_numpy().argmax()) + 2} {text}")
    for kind in (ComponentKind.METHOD, ComponentKind.ATTACK):
        versions = frame[frame[kind] != ""].groupby(kind, sort=False)[f"{kind}_version"].unique()
        for name, found in versions.items():
            if len(found) > 1:
                both = " and ".join(f"{v:g}" for v in found)
                raise SchemaError(f"it mixes versions {both} of the {kind} {name!r}: rows of several runs")


def _same_run(frame: "pd.DataFrame", run: Mapping[str, JSON], folder: Path) -> None:
    """Raise BenchError if rows and `run.json` differ in the names or versions of components."""
    spec, path = Spec.from_json(run["spec"]), folder / "trials.csv"
    for column, names in (
        ("dataset", spec.datasets),
        ("source_architecture", spec.sources),
        ("attack", spec.attacks),
        ("method", spec.methods + spec.baselines),
    ):
        strange = [n for n in frame[column].unique() if n not in ("", *names)]
        if strange:
            problem = f"{path} has rows of the {column} {strange[0]!r}, which run.json beside it does not name"
            raise BenchError(f"{problem}. {remedy(path)}")
    for kind in (ComponentKind.METHOD, ComponentKind.ATTACK):
        for name, version in frame[frame[kind] != ""].groupby(kind)[f"{kind}_version"].first().items():
            recorded = run["components"][kind][name]["version"]
            if recorded != version:
                raise BenchError(
                    f"{path} has version {version:g} of the {kind} {name!r}, run.json beside it {recorded}. "
                    f"{remedy(path)}"
                )
