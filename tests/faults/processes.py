"""`bench run` as processes that can be killed, and what these leave behind."""

import csv
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from command_line import here

from bench.store.store import Store

PLUGIN = Path(__file__).with_name("slow_plugin.py")
OPTIONS = (
    "--plugin",
    str(PLUGIN),
    "--datasets",
    "slow_images",
    "--architectures",
    "slow_net",
    "--attacks",
    "slow_tune,slow_copy",
    "--methods",
    "slow_match",
    "--no-baselines",
    "--preset",
    "smoke",
    "--set",
    "recipe.images=0",
    "--set",
    "recipe.epochs=2",
    "--set",
    "recipe.precision=fp32",
    "--replicates",
    "3",
    "--copies",
    "3",
)
"""A run of TASKS tasks of the slow plugin."""
TASKS = 21
CACHES = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
"""Where the fonts are listed that matplotlib has found: without it, each process looks for seconds."""
TIMINGS = ("fingerprint_seconds", "seconds")
PATIENCE = 300
"""Seconds after which a process that should have ended is called hanging. Generous: the machine may be busy."""


def wait(until, what, seconds=PATIENCE):
    """Wait until something is so; give what it gave."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := until():
            return found
        time.sleep(0.01)
    pytest.fail(f"{seconds} s were not enough: {what}")


def seed_of(key):
    return int(key[:15], 16)


def _kind(process):
    text = " ".join(process.cmdline()) if process is not None else ""
    return "spawn" if "spawn_main" in text else "fork" if "multiprocessing.forkserver" in text else "other"


class Running:
    """A command, the first of a process group of its own, as a shell starts one."""

    number = itertools.count()

    def __init__(self, command, folder, environment):
        folder.mkdir(parents=True, exist_ok=True)
        self.output = folder / f"output{next(self.number)}.txt"
        with self.output.open("wb") as file:
            self.process = subprocess.Popen(
                [str(part) for part in command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def text(self):
        return self.output.read_text(errors="replace")

    @property
    def alive(self):
        return self.process.poll() is None

    def members(self):
        """List the live processes of the group, the first one too."""
        found = []
        for process in psutil.process_iter(["status"]):
            try:
                if os.getpgid(process.pid) == self.pid and process.info["status"] != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except ProcessLookupError:
                continue
        return found

    def workers(self):
        """List its worker processes: those that were started anew, and those that were forked."""
        return [process for process, names in self._named() if names[0] == "spawn" or names[:2] == ["fork", "fork"]]

    def nest(self):
        """List the process that workers are forked from, where there is one."""
        return [process for process, names in self._named() if names[0] == "fork" != names[1]]

    def _named(self):
        """Pair each process but the first with its kind and its parent's: `spawn`, `fork`, or something else."""
        found = []
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                if process.pid != self.pid:
                    found.append((process, [_kind(process), _kind(process.parent())]))
        return found

    def signal(self, number, everybody=False):
        if everybody:
            os.killpg(self.pid, number)
        else:
            self.process.send_signal(number)

    def kill(self):
        """Kill the whole group with -9, and see it gone."""
        if self.alive or self.members():
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        self.process.wait()
        self.vanish()

    def vanish(self):
        """Wait until nothing of the group is left."""
        wait(lambda: not self.members(), f"these are left over: {self.members()}\n{self.text}", 60)

    def end(self, code=0):
        """Wait for the end; give the output. No process may be left behind."""
        try:
            found = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it hangs:\n{self.text}")
        assert found == code, self.text
        self.vanish()
        assert "Traceback" not in self.text, self.text
        return self.text


@dataclass
class World:
    """A folder with a store, a results folder and a journal, and the processes that work there."""

    folder: Path
    processes: list[Running] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    """The artifacts that were there, but not whole. It has to stay empty."""

    @property
    def journal(self):
        return self.folder / "journal.txt"

    @property
    def store(self):
        return Store(self.folder / "store")

    def environment(self, home="home", pause=0.0, hang=""):
        """Return the environment of a process: its own home, nothing of the user's but caches."""
        home = self.folder / home
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        changes = {
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "XDG_CACHE_HOME": CACHES,
            "OMP_NUM_THREADS": "1",
            "BENCH_STORE": "/nonexistent",
            "SLOW_JOURNAL": str(self.journal),
            "SLOW_PAUSE": str(pause),
            "SLOW_HANG": str(hang),
            "COLUMNS": "200",
        }
        return {**os.environ, **changes}

    def command(self, *command, home="home", pause=0.0, hang=""):
        """Start some command of the tests' own Python environment."""
        program, *arguments = command
        found = Path(sys.executable).with_name(program)
        self.processes.append(Running([found, *arguments], self.folder / home, self.environment(home, pause, hang)))
        return self.processes[-1]

    def run(self, *more, out="out", **how):
        """Start `bench run`."""
        return self.command("bench", *self._run(out), *more, **how)

    def here(self):
        """Run in this process what is missing; return what is printed."""
        ended = here((*self._run("out"), "--workers", "0"), **self.environment())
        assert (ended.code, "Traceback" in ended.err) == (0, False), ended.err
        return ended.out

    def _run(self, out):
        return ("run", *OPTIONS, "--store", self.folder / "store", "--out", self.folder / out)

    def starts(self):
        """List the seed and the process of each task that began, in order; a task may stand there several times."""
        text = self.journal.read_text() if self.journal.exists() else ""
        lines = [line.split() for line in text.splitlines(keepends=True) if line.endswith("\n")]
        return [(int(seed), int(pid)) for _, seed, pid in lines]

    def started(self):
        return [seed for seed, _ in self.starts()]

    def processes_that_worked(self):
        return {pid for _, pid in self.starts()}

    def begun(self, count, running):
        """Wait until the journal has so many lines, or the run has ended."""
        wait(lambda: len(self.started()) >= count or not running.alive, f"task {count} began\n{running.text}")
        assert running.alive, running.text

    def whole(self):
        """List the artifacts that are there, every byte of each checked."""
        store = self.store
        found = {key for key in store.all_keys() if store.verify(key)}
        self.damaged += store.quarantined
        return found

    def rows(self, out="out", timings=False):
        with (self.folder / out / "trials.csv").open(newline="") as file:
            return [{k: v for k, v in r.items() if timings or k not in TIMINGS} for r in csv.DictReader(file)]

    def statuses(self, out="out"):
        return Counter(row["status"] for row in self.rows(out))


@dataclass(frozen=True)
class Undisturbed:
    """What the run gives that nothing disturbs."""

    store: Store
    rows: list[dict[str, str]]
    keys: frozenset[str]
    seeds: dict[str, int]
    """By the name of the task."""
