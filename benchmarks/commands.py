"""Rows about whole commands, in fresh processes on a store of their own."""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.planning.presets import PRESETS
from benchmarks.measure import GROWTH, LIMIT, MEMORY, Row, seconds

ROOT = Path(__file__).parents[1]
ONE_SOURCE = "6f653fd"
"""The last commit whose default run had one source; today's five may cost half as much again."""
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


@dataclass(frozen=True)
class Costs:
    """What a command took, all its processes together, and what it printed; the memory of the largest one of them."""

    wall_seconds: float
    cpu_seconds: float
    peak_bytes: int
    largest_bytes: int
    output: str


def costs(store: Path, *words: str, code: Path | None = None) -> Costs:
    """Run `bench`, that of another checkout if `code` is one, and measure what all its processes took."""
    further = {"BENCH_STORE": str(store), "OMP_NUM_THREADS": "1"}
    if code is not None:
        further["PYTHONPATH"] = str(code)
    return measured([sys.executable, "-m", "bench", *words], store.parent, further)


def measured(command: Sequence[str], folder: Path, further: Mapping[str, str]) -> Costs:
    """Run a command in a folder, with further variables, and measure what all its processes took."""
    measuring = [sys.executable, "-P", str(Path(__file__).with_name("process_tree.py"))]
    begun = time.perf_counter()
    done = subprocess.run(
        [*measuring, *command], env={**os.environ, **further}, cwd=folder, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr[-2000:]}")
    return Costs(wall_seconds=time.perf_counter() - begun, output=done.stderr, **json.loads(done.stdout))


@contextmanager
def checkout(commit: str, folder: Path) -> Iterator[Path | None]:
    """Check out a commit in a folder, from which Python can import it and its plugins; None if git has not got it."""
    git = ["git", "-C", str(ROOT)]
    if subprocess.run([*git, "cat-file", "-e", f"{commit}^{{commit}}"], capture_output=True).returncode:
        yield None
        return
    subprocess.run([*git, "worktree", "add", "--detach", str(folder), commit], check=True, capture_output=True)
    try:
        (folder / "bench_plugins").symlink_to("plugins")  # as setup.cfg names this folder
        entry_points = [sys.executable, "-c", "import setuptools; setuptools.setup()", "-q", "egg_info"]
        subprocess.run(entry_points, cwd=folder, check=True, capture_output=True)
        yield folder
    finally:
        subprocess.run([*git, "worktree", "remove", "--force", str(folder)], check=True, capture_output=True)


def against_one_source(folder: Path, ours: Costs, *words: str) -> Iterator[Row]:
    """Compare what the default run takes with what it took at ONE_SOURCE, here and now."""
    with checkout(ONE_SOURCE, folder / "one_source") as code:
        if code is None:
            yield Row("CPU of the default `bench run`", [ours.cpu_seconds], note=f"git has no commit {ONE_SOURCE} here")
            return
        theirs = costs(folder / "one_source_store", *words, code=code)
    note = f"other: {executed(theirs.output)} tasks of one source, at commit {ONE_SOURCE}"
    what = "CPU of the default `bench run`, all processes, cold"
    yield Row(what, [ours.cpu_seconds], [theirs.cpu_seconds], 1.5, note, GROWTH)
    sources = PRESETS["quick"].seeds
    what, each = f"its CPU per source, of {sources}", ours.cpu_seconds / sources
    yield Row(what, [each], [theirs.cpu_seconds], 0.3, note, GROWTH)
    mebibytes = [[c.peak_bytes / 2**20] for c in (ours, theirs)]
    yield Row("its peak memory, all processes", *mebibytes, 1, note, MEMORY)


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
        store, default = Path(folder) / "store", ("run", "--quiet", "--out", "default")
        ours = costs(store, *default)
        note = f"executed {executed(ours.output)} tasks"
        yield Row("default `bench run`, cold", [ours.wall_seconds], (), 240, note, LIMIT)
        yield from against_one_source(Path(folder), ours, *default[:-1], "one_source_default")
        yield from against_an_import(store, default, rounds)
        words = ("plan", "--preset", "paper", "--seeds", _seeds(store))
        yield Row(
            "`bench plan` for 200,000 trials",
            [timed(store, *words)[0] for _ in range(rounds)],
            (),
            5,
            f"{_trials(bench(store, *words)):,} trials",
            LIMIT,
        )


def against_an_import(store: Path, default: Sequence[str], rounds: int) -> Iterator[Row]:
    """Compare commands that only read, round by round, with a process that imports pandas; `default` has been run."""
    compared = {
        "the same, warm": (default, 2.5),
        "`bench list`": (("list",), 2.0),
        "`bench plan`": (("plan",), 2.5),
    }
    spent: dict[str, list[float]] = {what: [] for what in compared}
    importing, did = [], 0
    for _ in range(rounds + 1):
        importing.append(seconds(partial(subprocess.run, [sys.executable, "-c", "import pandas"], check=True)))
        for what, (words, _) in compared.items():
            took, output = timed(store, *words)
            spent[what].append(took)
            did += executed(output) if words is default else 0
    for what, (words, target) in compared.items():
        ours = spent[what][1:]  # the first round, after which all files are in memory, does not count
        goal, reached = "≤ 2.5 s", statistics.median(ours) <= 2.5
        note = "other: `python -c 'import pandas'`"
        if words is default:
            goal, reached, note = f"{goal}; nothing executed", reached and did == 0, f"executed {did} tasks; {note}"
        yield Row(what, ours, importing[1:], target, note, GROWTH, goal, reached)


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
                "--seeds",
                "1",
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
