"""Rows about 1,000,000 trials against 100,000: plan, schedule and report, each side in a process of its own.

A step's seconds are those of the step alone; its memory is the peak of its process, libraries and all. Rows are
synthetic, as in `benchmarks.scaling`.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.core.tasks import Outcome
from bench.planning.planner import missing_tasks, plan
from bench.reporting.build import render
from bench.testing.toy_run import execute_all
from benchmarks import synthetic
from benchmarks.commands import ROOT
from benchmarks.measure import GROWTH, Aim, Row

TRIALS = 100_000
"""Of the smaller side."""
STEPS = ("plan", "schedule", "report")
LIMIT = 2048
"""MiB that a process of the larger side may take."""
MOST = Aim(" MiB", most=True, sign=" MiB")


def rows(rounds: int, trials: int = TRIALS) -> Iterator[Row]:
    """Measure each step of both sides in turn, and the memory of the larger one."""
    few = synthetic.benchmark(trials).spec.replicates
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as name:
        written = {count: in_process("write", count, Path(name) / str(count))["trials"] for count in (few, 10 * few)}
        note = f"{written[10 * few]:,} trials against {written[few]:,}"
        for step in STEPS:
            found = {count: list[dict[str, float]]() for count in written}
            for number in range(rounds):
                for count in [*written][:: 1 if number % 2 else -1]:
                    found[count].append(in_process(step, count, Path(name) / str(count)))
            more, less = ([one["seconds"] for one in found[count]] for count in (10 * few, few))
            yield Row(f"{step} of 1,000,000 trials, growth", more, less, 11, note, GROWTH)
            peaks = [one["mebibytes"] for one in found[10 * few]]
            yield Row(f"{step} of 1,000,000 trials, peak memory", peaks, (), LIMIT, note, MOST)


def in_process(step: str, count: int, folder: Path) -> dict[str, float]:
    """Run a step in a process of its own; return its seconds, its peak memory, and the trials if it wrote them."""
    command = [sys.executable, "-m", "benchmarks.million", step, str(count), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{step} of {count} copies ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def prepared(step: str, count: int, folder: Path) -> Callable[[], object]:
    """Return what is timed of a step."""
    if step == "report":
        return lambda: render(folder)
    if step == "plan":
        spec, known, _ = synthetic.specified(count)
        return lambda: missing_tasks(plan(spec, known), _never, _never)
    made = synthetic.planned(count)
    if step == "write":
        return lambda: synthetic.results(made, folder)
    return lambda: execute_all(made.plan.tasks, lambda task: Outcome(task.key, "done"))


def _never(key: str) -> bool:
    return False


def main(step: str, count: str, folder: str) -> None:
    """Run a step; print its seconds and the peak memory of this process, as JSON."""
    step_itself = prepared(step, int(count), Path(folder))
    begun = time.perf_counter()
    done = step_itself()
    spent = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024  # KiB, on Linux
    print(json.dumps({"seconds": spent, "mebibytes": peak, "trials": done if step == "write" else 0}))


if __name__ == "__main__":
    main(*sys.argv[1:])
