"""Make a row of `trials.csv` from a trial and the outcomes of its tasks."""

import re
from collections.abc import Mapping, Sequence

from bench.core.canonical import JSON
from bench.core.kinds import Status
from bench.core.tasks import NOT_APPLICABLE, Outcome, Trial
from bench.results.columns import MODEL_COLUMNS, TRIAL_COLUMNS, TrialRecord
from bench.results.writer import MOST_WRITTEN
from bench.stats.majority import MAJORITY
from bench.stats.renumbering import RENUMBERED

KEY = re.compile(r"\b[0-9a-f]{64}\b")
OF_NETWORKS = (RENUMBERED, MAJORITY)
"""The notes of a source that its rows repeat."""
MARKS = (
    *(f"{whose}.{name}" for name in OF_NETWORKS for whose in ("source", "suspect")),
    "restarted",
    "suspect.restarted",
    "warning",
)
"""The names of the notes that the tables read or the host sets: long notes of plugins do not displace them."""


def row(
    trial: Trial,
    score: Outcome | None,
    source: Outcome | None,
    suspect: Outcome | None,
    fingerprint: Outcome | None = None,
    helpers: Sequence[Outcome] = (),
) -> dict[str, object]:
    """Return the row of a trial, a value for each of COLUMNS; None for a task that never ran.

    The facts of a score contain the cost of its fingerprint; without a score, it follows from the
    outcomes of `fingerprint` and `helpers`.
    """
    facts, suspect_facts = _facts(score), _facts(suspect)
    seconds, networks = _cost(facts, fingerprint, helpers)
    reason = trial.reason or str(facts.get(NOT_APPLICABLE, ""))
    status, error = _status(reason, score)
    notes = dict(facts.get("notes") or _facts(fingerprint).get("notes") or {})
    source_notes = _facts(source).get("notes") or {}
    notes |= {f"source.{name}": source_notes[name] for name in OF_NETWORKS if name in source_notes}
    notes |= {f"suspect.{k}": v for k, v in (suspect_facts.get("notes") or {}).items()}
    record = TrialRecord(
        trial,
        status,
        score=facts,
        source=_facts(source),
        suspect=suspect_facts,
        fingerprint_seconds=seconds,
        fingerprint_networks=networks,
        seconds=score.seconds if score is not None and status == Status.DONE else None,
        note=reason or _note(notes),
        error=error,
    )
    described = MODEL_COLUMNS if trial.source_model or trial.suspect_model else ()
    return {column.name: column.value(record) for column in (*TRIAL_COLUMNS, *described)}


def _facts(outcome: Outcome | None) -> Mapping[str, JSON]:
    return outcome.facts if outcome is not None and outcome.status == Status.DONE else {}


def _note(notes: Mapping[str, JSON]) -> str:
    """Return notes by name as text that fits into a cell: MARKS stay, of the others what is too long is cut."""
    entries = {name: f"{name}={_short(value)}" for name, value in sorted(notes.items())}
    kept, left = {}, MOST_WRITTEN
    for name in sorted(entries, key=lambda name: MARKS.index(name) if name in MARKS else len(MARKS)):
        entry = entries[name] if len(entries[name]) <= left else f"{entries[name][: max(0, left - 1)]}…"
        if "=" in entry:  # its whole name is left
            kept[name] = entry
            left -= len(entry) + 1
    return ";".join(kept[name] for name in entries if name in kept)


def _short(value: JSON) -> str:
    """Return a note's value as text: numbers to six digits, without the separators of notes."""
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text.replace(";", ",").replace("=", ":")


def _cost(
    facts: Mapping[str, JSON], fingerprint: Outcome | None, helpers: Sequence[Outcome]
) -> tuple[float | None, int | None]:
    """Return the seconds of a fingerprint, with the training of its helpers, and the number of helpers."""
    if "fingerprint_seconds" in facts:
        return round(facts["fingerprint_seconds"], 6), facts.get("fingerprint_networks", 0)
    if fingerprint is None or fingerprint.status != Status.DONE:
        return None, None
    return round(fingerprint.seconds + sum(h.seconds for h in helpers), 6), len(helpers)


def _status(reason: str, score: Outcome | None) -> tuple[str, str]:
    if reason:
        return Status.NOT_APPLICABLE, ""
    if score is None:
        return Status.NOT_RUN, ""
    if score.status == Status.DONE:
        return Status.DONE, ""
    lines = KEY.sub("(key)", score.error).strip().splitlines() or ["no reason was given"]
    return score.status, f"{score.root}: {lines[0]}" if score.root else lines[0]
