"""From a trial and what became of its tasks to a row of `trials.csv`, and how files of results are written."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bench.errors import BenchError
from bench.types import JSON, Outcome, Trial

WRITING = 60
"""Seconds after which nobody can still be at a file that was begun."""
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
UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]+")
"""Control characters, and those that are invisible or turn the direction of writing."""
KEY = re.compile(r"\b[0-9a-f]{64}\b")
FORMULA = ("=", "+", "-", "@")
"""What a spreadsheet takes for the beginning of a formula."""
MOST_WRITTEN = 500
"""Characters of a cell that is written; longer text is cut."""


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
        with suppress(OSError):  # whoever wrote it may be at it in just this moment
            if time.time() - partial.stat().st_mtime > WRITING:
                partial.unlink()
    put(folder / "run.json", json.dumps(run, indent=1, sort_keys=True, allow_nan=False) + "\n")
    put(folder / "trials.csv", text)


def partials(folder: Path) -> list[Path]:
    """List what a run left in its results folder that was killed while it wrote a file."""
    return list(folder.glob(".*.part"))


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
