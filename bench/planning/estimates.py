"""Seconds and bytes of finished tasks, recorded to estimate those of the next plan."""

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
    """Return a digest of what decides how long a task takes: kind, role and all parameters that are no repetition."""
    params = {k: v for k, v in task.params.items() if k not in ("replicate", "source_seed", "draw")}
    return digest({"kind": task.kind, "role": task.role, "params": params})[:16]


def record_timings(
    store: Store, tasks: Mapping[str, Task], outcomes: Mapping[str, Outcome], sizes: Mapping[str, int]
) -> None:
    """Record the seconds and bytes of tasks, from which the next plan estimates its own."""
    timings = _timings(store)
    for key, outcome in outcomes.items():
        if outcome.status == Status.DONE and not outcome.stored and key in tasks:
            count, seconds, size = timings.get(_signature(tasks[key]), (0, 0.0, 0))
            timings[_signature(tasks[key])] = (count + 1, seconds + outcome.seconds, size + sizes.get(key, 0))
    with suppress(OSError):  # a full disk must not prevent the tables of a finished run
        write_atomically(store.root / TIMINGS, json.dumps(timings))


def _timings(store: Store) -> dict[str, tuple[int, float, int]]:
    try:
        content = json.loads((store.root / TIMINGS).read_text(encoding="utf-8"))
        return {str(k): (int(n), float(s), int(b)) for k, (n, s, b) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True)
class Estimate:
    """Expected costs of tasks: seconds on one slot, bytes, and the number of tasks that were never measured."""

    seconds: float
    size: int
    unknown: int


def estimate(store: Store, tasks: Mapping[str, Task]) -> Estimate:
    """Estimate the costs of tasks from the seconds and bytes that earlier runs measured."""
    timings = _timings(store)
    seconds, size, unknown = 0.0, 0, 0
    signatures: dict[tuple[str, str, int], str] = {}  # a method's scores share one object of parameters
    for task in tasks.values():
        same = (task.kind, task.role, id(task.params))
        signature = signatures[same] if same in signatures else signatures.setdefault(same, _signature(task))
        count, spent, bytes_ = timings.get(signature, (0, 0.0, 0))
        if count:
            seconds, size = seconds + spent / count, size + bytes_ // count
        else:
            unknown += 1
    return Estimate(seconds, size, unknown)
