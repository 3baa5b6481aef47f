"""Seconds and bytes of finished tasks, recorded to estimate those of the next plan."""

import json
from collections.abc import Container, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import MappingProxyType

from bench.core.canonical import JSON, digest
from bench.core.kinds import Status, TaskKind
from bench.core.tasks import Outcome, Task
from bench.store.atomic import write_atomically
from bench.store.store import Store

TIMINGS = "timings.json"
DATA_INPUTS = ("data", "surrogate_data")
"""The inputs of a task that are datasets."""
JUDGED: Mapping[str, str] = {TaskKind.SCORE: "suspect", TaskKind.FINGERPRINT: "source"}
"""The input that is the network on whose architecture the length of a task depends."""


class _Signatures:
    """Digests of what decides how long a task takes: kind, role, data, and all parameters that are no repetition.

    `tasks` are those of the plan: the parameters of a score name neither its data nor a network, but its inputs do.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self.tasks = tasks
        self.known: dict[tuple[object, ...], tuple[str, ...]] = {}

    def of(self, task: Task) -> tuple[str, ...]:
        """Return the digests of a task: with its network's architecture, with its data, and without either."""
        data = tuple(task.inputs[name] for name in DATA_INPUTS if name in task.inputs)
        network = self.tasks.get(task.inputs.get(JUDGED.get(task.kind, ""), ""))
        architecture = str(network.params.get("architecture", {}).get("name", "")) if network else ""
        same = (task.kind, task.role, id(task.params), data, architecture)  # a method's scores share their parameters
        if same not in self.known:
            params = {k: v for k, v in task.params.items() if k not in ("replicate", "source_seed", "draw")}
            facts: dict[str, JSON] = {"kind": task.kind, "role": task.role, "params": params}
            known = [self.tasks[key].params for key in data if key in self.tasks]
            on: list[JSON] = [{name: params.get(name) for name in ("dataset", "images")} for params in known]
            closer = [facts | {"data": on, "architecture": architecture}, facts | {"data": on}] if on else []
            self.known[same] = tuple(digest(f)[:16] for f in (*closer, facts))
        return self.known[same]


def record_timings(
    store: Store,
    tasks: Mapping[str, Task],
    outcomes: Mapping[str, Outcome],
    sizes: Mapping[str, int],
    weights: Mapping[str, int] = MappingProxyType({}),
) -> None:
    """Record the seconds and bytes of tasks, from which the next plan estimates its own; `tasks` are all of a plan.

    `sizes` are in bytes, removed weights included; `weights` is the part of them that `--keep scores` removes.
    """
    timings, signatures = _timings(store), _Signatures(tasks)
    for key, outcome in outcomes.items():
        if outcome.status == Status.DONE and not outcome.stored and key in tasks:
            for signature in signatures.of(tasks[key]):
                count, seconds, size, removed = timings.get(signature, (0, 0.0, 0, 0))
                size, removed = size + sizes.get(key, 0), removed + weights.get(key, 0)
                timings[signature] = (count + 1, seconds + outcome.seconds, size, removed)
    with suppress(OSError):  # a full disk must not prevent the tables of a finished run
        write_atomically(store.root / TIMINGS, json.dumps(timings))


def _timings(store: Store) -> dict[str, tuple[int, float, int, int]]:
    """Return what was recorded; records of before `weights` were counted have three numbers."""
    try:
        content = json.loads((store.root / TIMINGS).read_text(encoding="utf-8"))
        return {str(k): (int(n), float(s), int(b), sum(map(int, w))) for k, (n, s, b, *w) in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@dataclass(frozen=True)
class Estimate:
    """Expected costs of tasks: seconds on one slot, bytes, and the number of tasks that were never measured.

    `elsewhere` is the number of tasks whose like was measured on other data, or another number of images, only, or by a
    version that did not record on which.
    """

    seconds: float
    size: int
    unknown: int
    elsewhere: int


def estimate(
    store: Store, tasks: Mapping[str, Task], planned: Mapping[str, Task], removed: Container[str] = ()
) -> Estimate:
    """Estimate the costs of tasks from the seconds and bytes that earlier runs measured, on the same data if possible.

    `planned` are all tasks of the plan, those among them that are stored included; `removed` are those whose weights do
    not stay on the disk.
    """
    timings, signatures = _timings(store), _Signatures(planned)
    seconds, size, unknown, elsewhere = 0.0, 0, 0, 0
    for key, task in tasks.items():
        own = signatures.of(task)
        found = next((s for s in own if timings.get(s, (0,))[0]), None)
        if found is None:
            unknown += 1
            continue
        count, spent, bytes_, weights = timings[found]
        seconds, size = seconds + spent / count, size + (bytes_ - weights * (key in removed)) // count
        elsewhere += found != own[0] and found == own[-1]
    return Estimate(seconds, size, unknown, elsewhere)
