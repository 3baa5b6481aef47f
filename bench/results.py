"""Read the two files of a results folder that are the truth: `trials.csv`, a row per trial, and `run.json`.

Every table is made from these two alone, so they are checked when they are read: whoever wrote them, a table is either
right or not there.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.components import check_types
from bench.errors import BenchError
from bench.rows import COLUMNS, COUNTS, REALS, SHARES, UNPRINTABLE, clean
from bench.types import ACCESS, JSON, Reported, ReportedAccuracy, Spec

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

FILLED = ("dataset", "source_architecture", "source_seed", "method", "method_version", "suspect_kind",
          "suspect_architecture", "replicate", "status")  # fmt: skip
"""Columns that no row may leave empty."""
IDENTITY = ("dataset", "source_architecture", "source_seed", "method", "budget", "suspect_kind", "attack",
            "suspect_dataset", "suspect_architecture", "replicate")  # fmt: skip
"""What tells two trials apart."""
STATUSES = ("done", "failed", "blocked", "not_applicable", "not_run")
KINDS = ("dataset", "architecture", "attack", "method")

MOST_BYTES = 1 << 29
MOST_ROWS = 2_000_000
MOST_CHARACTERS = 2_000
"""Of one cell."""
LONGEST_NAME = 100
LONGEST_TEXT = 20_000
"""Of `run.json`, which holds the command line."""


def _text(value: JSON) -> bool:
    return isinstance(value, str)


def _flag(value: JSON) -> bool:
    return isinstance(value, bool)


def _count(value: JSON) -> bool:
    return type(value) is int and value >= 0


def _names(value: JSON) -> bool:
    return isinstance(value, list) and all(map(_text, value))


ATTRIBUTES: dict[str, Callable[[JSON], bool]] = {
    **dict.fromkeys(("access", "budget", "label_space", "lands_on", "paper", "precision", "starts_from"), _text),
    **dict.fromkeys(("any_label_space", "flip", "floor", "same_architecture"), _flag),
    **dict.fromkeys(("crop", "num_classes"), _count),
    **dict.fromkeys(("reported", "reported_accuracy", "downloads"), lambda v: isinstance(v, list)),
    **dict.fromkeys(("checksums", "related"), lambda v: isinstance(v, dict) and all(map(_text, v.values()))),
    "helper_architectures": _names,
    "shape": lambda v: isinstance(v, list) and all(map(_count, v)),
}
"""What a component's declarations are in `run.json`, where they stand there."""


def load(folder: Path) -> tuple[pd.DataFrame, dict[str, JSON]]:
    """Read a results folder, and check it: the rows as a frame of COLUMNS, and what `run.json` holds.

    Counts and reals are float64, NaN where a cell is empty; all else is text. BenchError, in one line, where a file is
    missing, damaged, mixed from several runs, or not what bench wrote.
    """
    folder = Path(folder)
    run = _load_run(folder / "run.json")
    frame = _load_trials(folder / "trials.csv")
    _same_run(frame, run, folder)
    return frame, run


class _Fault(Exception):
    """What is wrong with a file, without its name and the way out."""


def _content(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BenchError(f"{path} has {size >> 20} MiB, more than a results file can have. Is it the right file?")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchError(f"{path} is missing: {path.parent} holds no results. Make some with: bench run") from None
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is no UTF-8 text (byte {error.start}). {_remedy(path)}") from None
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from None


def _remedy(path: Path) -> str:
    if path.name == "run.json":
        return "Make the results again, in another folder: bench run --out FOLDER"
    return f"Make it again: bench run --spec {path.parent / 'run.json'} --out {path.parent}"


def _load_run(path: Path) -> dict[str, JSON]:
    try:
        run = json.loads(_content(path), parse_constant=_refuse)
        if not isinstance(run, dict) or run.get("format") != 1 or run["format"] is True:
            raise _Fault("it is not of format 1")
        _plain(run)
        if not all(isinstance(run.get(part, {}), dict) for part in ("hardware", "libraries")):
            raise _Fault("it does not say on what it was made")
        spec = Spec.from_json(run["spec"])
        check_types(spec, "recipe")
        check_types(spec.recipe)
        for kind in KINDS:
            for name, entry in run["components"][kind].items():
                _check_component(kind, name, entry)
        for group, names in (("dataset", spec.datasets), ("architecture", spec.sources + spec.suspects),
                             ("attack", spec.attacks), ("method", spec.methods + spec.floors)):  # fmt: skip
            for name in names:
                if name not in run["components"][group]:
                    raise _Fault(f"it does not describe the {group} {name!r}")
    except KeyError as error:
        raise BenchError(f"{path} lacks {error}. {_remedy(path)}") from None
    except (ValueError, TypeError, AttributeError, RecursionError, _Fault) as error:
        raise BenchError(f"{path} is no run.json that bench wrote: {_line(error)}. {_remedy(path)}") from None
    return run


def _plain(value: JSON) -> None:
    """See that text can be shown and that numbers are finite, and no larger than a float can tell apart."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _plain(name)
            _plain(inner)
    elif isinstance(value, list):
        for inner in value:
            _plain(inner)
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT or UNPRINTABLE.search(value):
            raise _Fault(f"it holds text that cannot be shown, {value!r:.60}")
    elif isinstance(value, int | float) and not abs(value) <= 1 << 53:
        raise _Fault(f"it holds the number {value!r:.60}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _line(error: Exception) -> str:
    return clean((str(error).splitlines() or [type(error).__name__])[0])


def _check_component(kind: str, name: str, entry: Mapping[str, JSON]) -> None:
    attributes = entry["attributes"]
    good = _count(entry["version"]) and isinstance(entry["params"], dict) and isinstance(attributes, dict)
    good = good and _flag(entry.get("watermark", False))
    if not good or not 0 < len(name) <= LONGEST_NAME:
        raise _Fault(f"its {kind} {clean(name)!r} is not described as bench does")
    for attribute, value in attributes.items():
        if attribute in ATTRIBUTES and not ATTRIBUTES[attribute](value):
            raise _Fault(f"its {kind} {name!r} declares {attribute} = {value!r:.60}")
    if kind == "method":
        _check_figures(name, entry["params"], attributes)


def _check_figures(name: str, params: Mapping[str, JSON], attributes: Mapping[str, JSON]) -> None:
    """See that a method's budget is a number, and that what its paper reports are shares."""
    budget = params.get(attributes.get("budget", ""))
    if budget is not None and not _count(budget):
        raise _Fault(f"the budget of {name!r} is {budget!r:.60}")
    reported = [Reported(**r) for r in attributes.get("reported", ())]
    accuracies = [ReportedAccuracy(**r) for r in attributes.get("reported_accuracy", ())]
    for figure in (*reported, *accuracies):
        check_types(figure)
    if not all(0 <= f <= 1 for f in (*(r.auc for r in reported), *(r.accuracy for r in accuracies))):
        raise _Fault(f"a figure that {name!r} reports is not within 0 and 1")


def _load_trials(path: Path) -> pd.DataFrame:
    import pandas as pd

    text = _content(path)
    try:
        lines = csv.reader(io.StringIO(text), strict=True)
        header = next(lines, [])
        _check_header(header)
        table: list[list[str]] = []
        for values in lines:
            if len(values) != len(header):
                raise _Fault(f"line {len(table) + 2} has {len(values)} values instead of {len(header)}")
            table.append(values)
        if len(table) > MOST_ROWS:
            raise _Fault(f"it has {len(table)} rows, more than {MOST_ROWS}")
        if not table:
            raise _Fault("it has no rows")
        columns = dict(zip(header, zip(*table, strict=True), strict=True))
        frame = pd.DataFrame({c: _column(c, columns[c]) for c in COLUMNS})
        _check_rows(frame)
    except csv.Error as error:
        raise BenchError(f"{path} is no CSV file: {_line(error)}. {_remedy(path)}") from None
    except _Fault as error:
        raise BenchError(f"{path}: {_line(error)}. {_remedy(path)}") from None
    return frame


def _check_header(header: Sequence[str]) -> None:
    missing = [c for c in COLUMNS if c not in header]
    if missing:
        raise _Fault(f"it lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}")
    if len(header) != len(COLUMNS):
        strange = [c for c in header if c not in COLUMNS] or ["a column twice"]
        raise _Fault(f"it has columns that bench does not know: {', '.join(strange)}")


def _column(name: str, values: Sequence[str]) -> object:
    """Read a column: numbers as float64, NaN where empty; text as it stands."""
    if name in FILLED and "" in values:
        raise _Fault(f"line {values.index('') + 2}: {name} is empty")
    if name in COUNTS or name in REALS:
        return _numbers(name, values)
    different = set(values)
    if max(map(len, different)) > MOST_CHARACTERS:
        text = next(v for v in values if len(v) > MOST_CHARACTERS)
        raise _Fault(f"line {values.index(text) + 2}: {name} has {len(text)} characters")
    if UNPRINTABLE.search("".join(different)):
        text = next(v for v in values if UNPRINTABLE.search(v))
        raise _Fault(f"line {values.index(text) + 2}: {name} holds control characters")
    return list(values)


def _numbers(name: str, values: Sequence[str]) -> NDArray[np.float64]:
    """Read numbers, each different text once: a column has few of them, or it is read but once."""
    import numpy as np

    known = {text: _number(name, text) for text in set(values)}
    wrong = {text: why for text, why in known.items() if isinstance(why, str)}
    if wrong:
        text = next(v for v in values if v in wrong)
        raise _Fault(f"line {values.index(text) + 2}: {name} is {text[:40]!r}, which is {wrong[text]}")
    return np.fromiter(map(known.__getitem__, values), np.float64, len(values))


def _number(name: str, text: str) -> float | str:
    """Read a number, or say what it is not."""
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


def _check_rows(frame: pd.DataFrame) -> None:
    words = {"status": STATUSES, "suspect_kind": ("stolen", "irrelevant"), "access": ("", *ACCESS)}
    for column, allowed in words.items():
        strange = (~frame[column].isin(allowed)).to_numpy()
        if strange.any():
            at = int(strange.argmax())
            known = ", ".join(filter(None, allowed))
            raise _Fault(f"line {at + 2}: {column} is {frame[column].iloc[at]!r}, not one of {known}")
    for text, wrong in (
        ("is done but has no score", (frame.status == "done") & frame.score.isna()),
        ("has a score but is not done", (frame.status != "done") & frame.score.notna()),
        ("is stolen but names no attack", (frame.suspect_kind == "stolen") & (frame.attack == "")),
        ("is stolen but has no attack_version", (frame.suspect_kind == "stolen") & frame.attack_version.isna()),
        ("is irrelevant but names an attack", (frame.suspect_kind == "irrelevant") & (frame.attack != "")),
        ("can be judged but names no suspect_dataset", (frame.status == "done") & (frame.suspect_dataset == "")),
        ("is a trial that stands there twice", frame.duplicated(list(IDENTITY))),
        ("has a key that stands there twice", frame.key.duplicated() & (frame.key != "")),
    ):
        if wrong.any():
            raise _Fault(f"line {int(wrong.to_numpy().argmax()) + 2} {text}")
    for kind in ("method", "attack"):
        versions = frame[frame[kind] != ""].groupby(kind, sort=False)[f"{kind}_version"].unique()
        for name, found in versions.items():
            if len(found) > 1:
                both = " and ".join(f"{v:g}" for v in found)
                raise _Fault(f"it mixes versions {both} of the {kind} {name!r}: rows of several runs")


def _same_run(frame: pd.DataFrame, run: Mapping[str, JSON], folder: Path) -> None:
    """See that rows and `run.json` tell of the same run: its names and its versions."""
    spec, path = Spec.from_json(run["spec"]), folder / "trials.csv"
    for column, names in (("dataset", spec.datasets), ("source_architecture", spec.sources), ("attack", spec.attacks),
                          ("method", spec.methods + spec.floors)):  # fmt: skip
        strange = [n for n in frame[column].unique() if n not in ("", *names)]
        if strange:
            told = f"{path} has rows of the {column} {strange[0]!r}, which run.json beside it does not name"
            raise BenchError(f"{told}. {_remedy(path)}")
    for kind in ("method", "attack"):
        for name, version in frame[frame[kind] != ""].groupby(kind)[f"{kind}_version"].first().items():
            told = run["components"][kind][name]["version"]
            if told != version:
                raise BenchError(
                    f"{path} has version {version:g} of the {kind} {name!r}, run.json beside it {told}. {_remedy(path)}"
                )
