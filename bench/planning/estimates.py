"""Seconds and bytes of finished tasks, recorded to estimate those of the next plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from bench.core.canonical import digest
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.store.atomic import write_atomically
from bench.store.store import Store

TIMINGS = "timings.json"


def _signature(task: Task) -> str:
    """Name what decides how long a task takes: everything in its parameters but the replicate."""
    params = {k: v for k, v in task.params.items() if k != "replicate"}
    return digest({"kind": task.kind, "role": task.role, "params": params})[:16]


def learn(store: Store, tasks: Mapping[str, Task], settled: Mapping[str, Outcome], sizes: Mapping[str, int]) -> None:
    """Keep what tasks took, so that the next plan can say what it expects."""
    known = _timings(store)
    for key, outcome in settled.items():
        if outcome.status == Status.DONE and not outcome.stored and key in tasks:
            count, seconds, size = known.get(_signature(tasks[key]), (0, 0.0, 0))
            known[_signature(tasks[key])] = (count + 1, seconds + outcome.seconds, size + sizes.get(key, 0))
    with suppress(OSError):  # a full disk must not cost the tables of a run that is done
        write_atomically(store.root / TIMINGS, json.dumps(known))


def _timings(store: Store) -> dict[str, tuple[int, float, int]]:
    try:
        content = json.loads((store.root / TIMINGS).read_text())
        return {str(k): (int(n), float(s), int(b)) for k, (n, s, b) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True)
class Expectation:
    """What tasks are expected to cost: seconds on one slot, bytes, and how many of them nothing is known about."""

    seconds: float
    size: int
    unknown: int


def expect(store: Store, tasks: Mapping[str, Task]) -> Expectation:
    """Estimate from the measured seconds and bytes of earlier runs what tasks will cost."""
    known = _timings(store)
    seconds, size, unknown = 0.0, 0, 0
    signatures: dict[tuple[str, str, int], str] = {}  # a method's scores share their parameters, object and all
    for task in tasks.values():
        same = (task.kind, task.role, id(task.params))
        signature = signatures[same] if same in signatures else signatures.setdefault(same, _signature(task))
        count, spent, bytes_ = known.get(signature, (0, 0.0, 0))
        if count:
            seconds, size = seconds + spent / count, size + bytes_ // count
        else:
            unknown += 1
    return Expectation(seconds, size, unknown)
