"""Rows about size: ten times the trials, a store of 100,000 artifacts, a report of 100,000 rows.

Scaling is measured in this process, so that no start-up common to both sizes flatters the ratio. Planning is `plan` and
`missing_tasks` of `bench.planning.planner`, against an empty store. Scheduling is the task queue of a run: it takes
every task of such a plan and settles it unexecuted. Reporting is `bench.reporting.build.render`, from the two files
of a results folder to all others. Rows and artifacts are synthetic, the plans are real.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.core.tasks import Outcome, Task
from bench.planning.planner import missing_tasks, plan
from bench.reporting.build import render
from bench.store.store import Store
from bench.testing.toy_run import execute_all
from benchmarks import synthetic
from benchmarks.commands import bench, executed, timed
from benchmarks.measure import GROWTH, LIMIT, Row, interleaved

TRIALS = 3_000
"""Of the smaller benchmark; the larger one has ten times as many."""
ARTIFACTS, ROWS = 100_000, 100_000
LARGEST_PAGE = 2_000_000
"""Bytes of `index.html`."""
SMOKE = (
    "run",
    "--quiet",
    "--preset",
    "smoke",
    "--methods",
    "sac_m",
    "--attacks",
    "finetune_a,extract_l",
    "--workers",
    "0",
)


def _never(key: str) -> bool:
    return False


def _planned(made: synthetic.SyntheticBenchmark) -> None:
    gc.collect()  # or each side would pay for the other's garbage
    missing_tasks(plan(made.spec, made.declarations), _never, _never)


def _scheduled(made: synthetic.SyntheticBenchmark) -> None:
    def settle(task: Task) -> Outcome:
        return Outcome(task.key, "done")

    gc.collect()
    execute_all(made.plan.tasks, settle)


def _reported(folder: Path) -> None:
    gc.collect()
    render(folder)


def rows(rounds: int, trials: int = TRIALS) -> Iterator[Row]:
    """Measure ten times the trials against once, in plan, schedule and report."""
    small = synthetic.benchmark(trials)
    large = synthetic.benchmark(0, 10 * small.spec.replicates)
    counts = f"{len(large.plan.trials):,} trials against {len(small.plan.trials):,}"
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        few, many = Path(folder) / "few", Path(folder) / "many"
        synthetic.results(small, few)
        synthetic.results(large, many)
        sides: dict[str, tuple[Callable[[], None], Callable[[], None]]] = {
            "plan": (lambda: _planned(large), lambda: _planned(small)),
            "schedule": (lambda: _scheduled(large), lambda: _scheduled(small)),
            "report": (lambda: _reported(many), lambda: _reported(few)),
        }
        for what, (more, less) in sides.items():
            ours, plain = interleaved(more, less, rounds)
            yield Row(f"scaling: {what}, ten times the trials", ours, plain, 11, f"{counts}, in this process", GROWTH)


def large(rounds: int, artifacts: int = ARTIFACTS, count: int = ROWS) -> Iterator[Row]:
    """Measure whole commands on a store of 100,000 artifacts and on a report of 100,000 rows."""
    made = synthetic.benchmark(artifacts)
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        store = Path(folder) / "store"
        bench(store, *SMOKE, "--out", "smoke")
        there = synthetic.fill(Store(store), made)
        yield from _found(store, rounds, made, there)
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        results = Path(folder) / "results"
        written = synthetic.results(synthetic.benchmark(count), results)
        spent = [timed(Path(folder) / "store", "report", str(results))[0] for _ in range(rounds)]
        page = (results / "index.html").stat().st_size
        yield Row(
            f"`bench report` of {written:,} rows",
            spent,
            (),
            10,
            f"page {page / 1e6:.2f} MB",
            LIMIT,
            f"page < {LARGEST_PAGE / 1e6:g} MB",
            page < LARGEST_PAGE,
        )


def _found(store: Path, rounds: int, made: synthetic.SyntheticBenchmark, there: int) -> Iterator[Row]:
    """Time a small run whose store holds much else, and the run that asks for all of it."""
    runs = [timed(store, *SMOKE, "--out", "smoke") for _ in range(rounds)]
    did = sum(executed(output) for _, output in runs)
    yield Row(
        f"`bench run` that finds everything in a store of {there:,} artifacts",
        [s for s, _ in runs],
        (),
        10,
        f"executed {did} tasks",
        LIMIT,
        "nothing executed",
        did == 0,
    )
    words = ("run", "--quiet", *made.words, "--out", "all")
    first, output = timed(store, *words)
    again, output = timed(store, *words)
    note = (
        f"its own {there:,} artifacts, {len(made.plan.trials):,} trials, executed {executed(output)} tasks; its tables "
        f"kept from the first time, which took {first:.3g} s"
    )
    yield Row("the same, where all of them are the run's own", [again], (), None, note, LIMIT)
