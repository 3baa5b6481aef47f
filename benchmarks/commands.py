"""Rows about whole commands, in fresh processes on a store of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import LIMIT, Row, seconds

NAPS = Path(__file__).with_name("sleeping_plugin.py")
SLOTS, COPIES, DEPTH = 4, 50, 4
"""Workers of the scheduler's row, sleeping tasks per depth, depths."""


def bench(store: Path, *words: str) -> str:
    """Run `bench` in a process of its own, in the store's folder; return its output."""
    environment = {**os.environ, "BENCH_STORE": str(store), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words], env=environment, cwd=store.parent, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"bench {' '.join(words)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def executed(output: str) -> int:
    """Read from a run's last lines how many tasks it executed."""
    found = re.search(r"^executed (\d+) tasks", output, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"no count of executed tasks in: {output[-500:]}")
    return int(found[1])


def timed(store: Path, *words: str) -> tuple[float, str]:
    """Time a command; return the seconds and its output."""
    output = []
    spent = seconds(lambda: output.append(bench(store, *words)))
    return spent, output[0]


def rows(rounds: int) -> Iterator[Row]:
    """Measure the default run, cold and warm, and the commands that only read."""
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        store = Path(folder) / "store"
        spent, output = timed(store, "run", "--quiet", "--out", "default")
        yield Row("default `bench run`, cold", [spent], (), 240, f"executed {executed(output)} tasks", LIMIT)
        warm = [timed(store, "run", "--quiet", "--out", "default") for _ in range(rounds)]
        did = sum(executed(t) for _, t in warm)
        yield Row(
            "the same, warm",
            [s for s, _ in warm],
            (),
            2.5,
            f"executed {did} tasks",
            LIMIT,
            "nothing executed",
            did == 0,
        )
        for words in (("list",), ("plan",)):
            yield Row(f"`bench {words[0]}`", [timed(store, *words)[0] for _ in range(rounds)], (), 2.5, aim=LIMIT)
        words = ("plan", "--preset", "paper", "--seeds", _seeds(store))
        yield Row(
            "`bench plan` for 200,000 trials",
            [timed(store, *words)[0] for _ in range(rounds)],
            (),
            5,
            f"{_trials(bench(store, *words)):,} trials",
            LIMIT,
        )


def _trials(output: str) -> int:
    """Read from what `bench plan` printed how many trials there are."""
    found = re.search(r"([\d,]+) trials", output)
    if found is None:
        raise RuntimeError(f"no count of trials in: {output[-500:]}")
    return int(found[1].replace(",", ""))


def _seeds(store: Path) -> str:
    """Count the source seeds that make 200,000 trials of the paper's preset."""
    return str(-(-200_000 // _trials(bench(store, "plan", "--preset", "paper", "--seeds", "1"))))


def scheduler(rounds: int) -> Row:
    """Measure 200 tasks of a second each, of depths one to four, on four workers, start-up and scores included."""
    ideal = COPIES * DEPTH / SLOTS
    spent = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
            words = (
                "run",
                "--quiet",
                "--plugin",
                str(NAPS),
                "--datasets",
                "two_tones",
                "--sources",
                "one_layer",
                "--suspects",
                "one_layer",
                "--attacks",
                "nap,second_nap,third_nap,fourth_nap",
                "--methods",
                "akh",
                "--no-baselines",
                "--copies",
                str(COPIES),
                "--replicates",
                "1",
                "--workers",
                str(SLOTS),
                "--set",
                "recipe.epochs=1",
            )
            spent.append(timed(Path(folder) / "store", *words)[0])
    over = [s / ideal for s in spent]
    note = f"over the ideal {ideal:g} s: {min(over):.3f} to {max(over):.3f}"
    return Row("scheduler: 200 naps of 1 s on 4 workers", spent, (), 1.1 * ideal, note, LIMIT)
