"""The two files of a results folder that are the truth: `trials.csv`, a row per trial, and `run.json`, what made them.

Every table is made from these two alone, so they are checked when they are read: whoever wrote them, a table is either
right or not there.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BenchError
from bench.types import ACCESS, JSON, Outcome, Reported, ReportedAccuracy, Spec, Trial

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = (
    "dataset", "source_architecture", "source_seed", "method", "method_version", "budget", "suspect_kind", "attack",
    "attack_version", "variant", "suspect_dataset", "suspect_architecture", "replicate", "status", "score", "queries",
    "access", "source_queries", "source_accuracy", "suspect_accuracy", "agreement", "fingerprint_seconds",
    "fingerprint_networks", "seconds", "key", "note", "error",
)  # fmt: skip
"""The columns of `trials.csv`, in their order; `docs/results.md` describes each."""

COUNTS = ("source_seed", "method_version", "budget", "attack_version", "replicate", "queries", "source_queries",
          "fingerprint_networks")  # fmt: skip
SHARES = ("source_accuracy", "suspect_accuracy", "agreement")
REALS = ("score", *SHARES, "fingerprint_seconds", "seconds")
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
"""Of one cell. What is written is cut to a quarter of it."""
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]+")
"""Control characters, and those that are invisible or turn the direction of writing."""
KEY = re.compile(r"\b[0-9a-f]{64}\b")
FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""


# --- from a trial to a row ----------------------------------------------------------------------------------------


def row(
    trial: Trial,
    score: Outcome | None,
    source: Outcome | None,
    suspect: Outcome | None,
    fingerprint: Outcome | None = None,
    helpers: Sequence[Outcome] = (),
) -> dict[str, object]:
    """Make the row of a trial from what became of its tasks; None stands for a task that never ran.

    A score's facts name the cost of its fingerprint; `fingerprint` and `helpers` tell it where there is no score.
    Gives a value for each of COLUMNS, None where there is none.
    """
    facts = _facts(score)
    bought, asked = _facts(source), _facts(suspect)
    seconds, networks = _cost(facts, fingerprint, helpers)
    status, error = _status(trial, score)
    notes = dict(facts.get("notes") or _facts(fingerprint).get("notes") or {})
    notes |= {f"suspect.{k}": v for k, v in (asked.get("notes") or {}).items()}
    return {
        "dataset": trial.dataset,
        "source_architecture": trial.source_architecture,
        "source_seed": trial.source_seed,
        "method": trial.method,
        "method_version": trial.method_version,
        "budget": trial.budget,
        "suspect_kind": trial.suspect_kind,
        "attack": trial.attack,
        "attack_version": trial.attack_version,
        "variant": trial.variant,
        "suspect_dataset": trial.suspect_dataset,
        "suspect_architecture": trial.suspect_architecture,
        "replicate": trial.replicate,
        "status": status,
        "score": facts.get("score"),
        "queries": facts.get("queries"),
        "access": facts.get("access") or "",
        "source_queries": asked.get("queries") if trial.suspect_kind == "stolen" else None,
        "source_accuracy": bought.get("accuracy"),
        "suspect_accuracy": asked.get("accuracy"),
        "agreement": facts.get("agreement"),
        "fingerprint_seconds": seconds,
        "fingerprint_networks": networks,
        "seconds": score.seconds if score is not None and status == "done" else None,
        "key": trial.score,
        "note": trial.reason or ";".join(f"{k}={_short(v)}" for k, v in sorted(notes.items())),
        "error": error,
    }


def _facts(outcome: Outcome | None) -> Mapping[str, JSON]:
    return outcome.facts if outcome is not None and outcome.status == "done" else {}


def _short(value: JSON) -> str:
    """Write a note's value: numbers to six digits, and nothing that would look like the next entry."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace(";", ",").replace("=", ":")


def _cost(
    facts: Mapping[str, JSON], fingerprint: Outcome | None, helpers: Sequence[Outcome]
) -> tuple[float | None, int | None]:
    """Give the seconds that a fingerprint took, its helpers' training included, and how many helpers there were."""
    if "fingerprint_seconds" in facts:
        return round(facts["fingerprint_seconds"], 6), facts.get("fingerprint_networks", 0)
    if fingerprint is None or fingerprint.status != "done":
        return None, None
    return round(fingerprint.seconds + sum(h.seconds for h in helpers), 6), len(helpers)


def _status(trial: Trial, score: Outcome | None) -> tuple[str, str]:
    if trial.reason:
        return "not_applicable", ""
    if score is None:
        return "not_run", ""
    if score.status == "done":
        return "done", ""
    lines = KEY.sub("(key)", score.error).strip().splitlines() or ["no reason was given"]
    return score.status, f"{score.root}: {lines[0]}" if score.root else lines[0]


# --- writing ------------------------------------------------------------------------------------------------------


def clean(text: str) -> str:
    """Replace what cannot be printed by spaces, and cut what is too long."""
    text = UNPRINTABLE.sub(" ", text).strip()
    most = MOST_CHARACTERS // 4
    return text if len(text) <= most else text[: most - 1] + "…"


def _written(column: str, value: object) -> str:
    if value is None:
        return ""
    if column in COUNTS:
        return str(int(value))  # type: ignore[call-overload]
    if column in REALS:
        return repr(float(value))  # type: ignore[arg-type]
    text = clean(str(value))
    return f"'{text}" if text.startswith(FORMULA) else text


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
    put(folder / "run.json", json.dumps(run, indent=1, sort_keys=True, allow_nan=False) + "\n")
    put(folder / "trials.csv", text)


def put(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the whole new one, whatever happens in between."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise BenchError(f"{path} cannot be written: {error.strerror or error}. Choose another folder") from error


# --- reading ------------------------------------------------------------------------------------------------------


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
        if not isinstance(run, dict) or run.get("format") != 1:
            raise _Fault("it is not of format 1")
        spec = Spec.from_json(run["spec"])
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


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def _line(error: Exception) -> str:
    return clean((str(error).splitlines() or [type(error).__name__])[0])


def _check_component(kind: str, name: str, entry: Mapping[str, JSON]) -> None:
    attributes = entry["attributes"]
    good = type(entry["version"]) is int and isinstance(entry["params"], dict) and isinstance(attributes, dict)
    if not good or UNPRINTABLE.search(name):
        raise _Fault(f"its {kind} {clean(name)!r} is not described as bench does")
    if kind == "method":
        figures = [Reported(**r).auc for r in attributes.get("reported", ())]
        figures += [ReportedAccuracy(**r).accuracy for r in attributes.get("reported_accuracy", ())]
        if not all(isinstance(f, int | float) and 0 <= f <= 1 for f in figures):
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
    import numpy as np

    if name in FILLED and "" in values:
        raise _Fault(f"line {values.index('') + 2}: {name} is empty")
    if name in COUNTS or name in REALS:
        return np.fromiter((_number(name, v, n) for n, v in enumerate(values, 2)), np.float64, len(values))
    for n, value in enumerate(values, 2):
        if len(value) > MOST_CHARACTERS:
            raise _Fault(f"line {n}: {name} has {len(value)} characters")
        if not value.isprintable() and UNPRINTABLE.search(value):
            raise _Fault(f"line {n}: {name} holds control characters")
    return list(values)


def _number(name: str, text: str, line: int) -> float:
    if not text:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or "_" in text:
        raise _Fault(f"line {line}: {name} is {text[:40]!r}, which is no finite number")
    if name in COUNTS and (value != int(value) or value < 0):
        raise _Fault(f"line {line}: {name} is {text[:40]!r}, which is no count")
    if name in SHARES and not 0 <= value <= 1:
        raise _Fault(f"line {line}: {name} is {text[:40]!r}, which is not within 0 and 1")
    return value


def _check_rows(frame: pd.DataFrame) -> None:
    for column, allowed in (("status", STATUSES), ("suspect_kind", ("stolen", "irrelevant")), ("access", ("", *ACCESS))):
        strange = ~frame[column].isin(allowed)
        if strange.any():
            at = strange.idxmax()
            raise _Fault(f"line {at + 2}: {column} is {frame[column][at]!r}, not one of {', '.join(filter(None, allowed))}")
    for text, wrong in (
        ("is done but has no score", (frame.status == "done") & frame.score.isna()),
        ("has a score but is not done", (frame.status != "done") & frame.score.notna()),
        ("is stolen but names no attack", (frame.suspect_kind == "stolen") & (frame.attack == "")),
        ("is stolen but has no attack_version", (frame.suspect_kind == "stolen") & frame.attack_version.isna()),
        ("is irrelevant but names an attack", (frame.suspect_kind == "irrelevant") & (frame.attack != "")),
        ("can be judged but names no suspect_dataset", (frame.status == "done") & (frame.suspect_dataset == "")),
        ("is a trial that stands there twice", frame.duplicated(list(IDENTITY))),
        ("has a key that stands there twice", frame.key.where(frame.key != "").dropna().duplicated()),
    ):
        if wrong.any():
            raise _Fault(f"line {wrong.idxmax() + 2} {text}")
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
            raise BenchError(
                f"{path} has rows of the {column} {strange[0]!r}, which run.json beside it does not name. {_remedy(path)}"
            )
    for kind in ("method", "attack"):
        for name, version in frame[frame[kind] != ""].groupby(kind)[f"{kind}_version"].first().items():
            told = run["components"][kind][name]["version"]
            if told != version:
                raise BenchError(
                    f"{path} has version {version:g} of the {kind} {name!r}, run.json beside it {told}. {_remedy(path)}"
                )
