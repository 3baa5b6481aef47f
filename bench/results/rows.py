"""From a trial and what became of its tasks to a row of `trials.csv`, and how files of results are written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from bench.core.canonical import JSON
from bench.core.kinds import Status, SuspectKind
from bench.core.tasks import Outcome, Trial

KEY = re.compile(r"\b[0-9a-f]{64}\b")


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
        "source_queries": asked.get("queries") if trial.suspect_kind == SuspectKind.STOLEN else None,
        "source_accuracy": bought.get("accuracy"),
        "suspect_accuracy": asked.get("accuracy"),
        "agreement": facts.get("agreement"),
        "fingerprint_seconds": seconds,
        "fingerprint_networks": networks,
        "seconds": score.seconds if score is not None and status == Status.DONE else None,
        "key": trial.score,
        "note": trial.reason or ";".join(f"{k}={_short(v)}" for k, v in sorted(notes.items())),
        "error": error,
    }


def _facts(outcome: Outcome | None) -> Mapping[str, JSON]:
    return outcome.facts if outcome is not None and outcome.status == Status.DONE else {}


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
    if fingerprint is None or fingerprint.status != Status.DONE:
        return None, None
    return round(fingerprint.seconds + sum(h.seconds for h in helpers), 6), len(helpers)


def _status(trial: Trial, score: Outcome | None) -> tuple[str, str]:
    if trial.reason:
        return Status.NOT_APPLICABLE, ""
    if score is None:
        return Status.NOT_RUN, ""
    if score.status == Status.DONE:
        return Status.DONE, ""
    lines = KEY.sub("(key)", score.error).strip().splitlines() or ["no reason was given"]
    return score.status, f"{score.root}: {lines[0]}" if score.root else lines[0]
