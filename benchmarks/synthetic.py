"""Synthetic benchmarks: a real plan with made-up outcomes.

The host's own code plans, finds, schedules and reports.
"""

from __future__ import annotations

import os
import random
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.core.canonical import JSON
from bench.core.hardware import gpus, suitable_precision
from bench.core.spec import Spec
from bench.core.tasks import Outcome, Task
from bench.planning.declarations import Declarations
from bench.planning.options import build
from bench.planning.planner import Plan, plan
from bench.registry.discovery import load_registry
from bench.results.provenance import describe
from bench.results.rows import row
from bench.results.writer import save
from bench.store.store import Store

SEEDS = 5
"""Source seeds of the benchmarks whose rows are made up."""


@dataclass(frozen=True)
class SyntheticBenchmark:
    """A planned benchmark, and the options of `bench` that plan the same."""

    spec: Spec
    declarations: Declarations
    plan: Plan
    words: tuple[str, ...]


def specified(count: int) -> tuple[Spec, Declarations, tuple[str, ...]]:
    """Return the default benchmark with five source seeds and so many copies and replicates, and its options."""
    counts = {"seeds": str(SEEDS), "replicates": count, "copies": count}
    spec, known = build(counts, None, load_registry(()), suitable_precision(gpus()), on_gpus=bool(gpus()))
    return spec, known, tuple(word for name, value in counts.items() for word in (f"--{name}", str(value)))


def planned(count: int) -> SyntheticBenchmark:
    """Plan that benchmark."""
    spec, known, words = specified(count)
    return SyntheticBenchmark(spec, known, plan(spec, known), words)


def benchmark(trials: int, copies: int = 0) -> SyntheticBenchmark:
    """Plan the default benchmark with five source seeds, and enough copies and replicates for `trials` rows.

    `copies` sets the number of copies instead.
    """
    # in steps of three, so that irrelevant models of other datasets grow in proportion
    return planned(copies or 3 * max(1, -(-trials // len(planned(3).plan.trials))))


def facts(task: Task, chance: random.Random) -> dict[str, JSON]:
    """Return made-up facts of a task."""
    if task.kind == "score":
        return {
            "score": chance.gauss(0, 1),
            "queries": 100,
            "access": "labels",
            "agreement": chance.random(),
            "fingerprint_seconds": 1.0,
            "fingerprint_networks": 0,
            "notes": {},
        }
    queries = {"queries": 1000} if task.kind == "steal" else {}
    return {"accuracy": 0.8 + 0.2 * chance.random(), "notes": {}, **queries}


def outcomes(made: SyntheticBenchmark) -> dict[str, Outcome]:
    """Return a made-up outcome of every task."""
    chance = random.Random(0)
    return {key: Outcome(key, "done", facts=facts(task, chance), seconds=0.01) for key, task in made.plan.tasks.items()}


def results(made: SyntheticBenchmark, folder: Path) -> int:
    """Write `trials.csv` and `run.json` as the run would have; return the number of rows."""
    get: Mapping[str, Outcome] = outcomes(made)
    rows = [row(t, get.get(t.score), get.get(t.source), get.get(t.suspect)) for t in made.plan.trials]
    save(folder, rows, describe(made.spec, made.declarations, shlex.join(["bench", "run", *made.words])))
    return len(rows)


@contextmanager
def _without_waiting_for_the_disk() -> Iterator[None]:
    """Skip every fsync inside: these artifacts need not survive a power cut."""
    was, os.fsync = os.fsync, lambda handle: None
    try:
        yield
    finally:
        os.fsync = was


def fill(store: Store, made: SyntheticBenchmark) -> int:
    """Save an artifact without tensors for every task, with the store's own `save`; return their number."""
    with _without_waiting_for_the_disk():
        for key, outcome in outcomes(made).items():
            task = made.plan.tasks[key]
            how = {"name": task.name, "inputs": dict(task.inputs), "seconds": outcome.seconds, "device": "cpu"}
            store.save(key, task.kind, outcome.facts, {}, how)
    return len(made.plan.tasks)
