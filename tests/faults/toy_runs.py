"""`bench run` of the toy world by the command line, and what it leaves behind."""

import csv
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import faulty_plugin
from command_line import Ended, here
from processes import TIMINGS

from bench.store.store import Store
from bench.testing import toy_plugins

OPTIONS = (
    "--plugin",
    toy_plugins.__file__,
    "--plugin",
    faulty_plugin.__file__,
    "--datasets",
    "toy",
    "--architectures",
    "toy_net",
    "--attacks",
    "toy_tune,toy_copy",
    "--methods",
    "toy_match,toy_relation,toy_mark",
    "--no-baselines",
    "--preset",
    "smoke",
    "--set",
    "recipe.epochs=2",
)
"""A small run of healthy components; the faulty ones are there, too."""


@dataclass
class Place:
    """A folder with a store and a results folder."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def store(self):
        return Store(self.folder / "store")

    def command(self, *more):
        return [*map(str, ("run", *OPTIONS, "--store", self.folder / "store", "--out", self.folder / "out", *more))]

    def run(self, *more, **how):
        """Run in a process of its own."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "FAULTY_COUNT": str(self.folder), **self.environment}
        command = [sys.executable, "-m", "bench", *self.command(*more)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=500, **how)
        assert "Traceback" not in done.stderr, done.stderr
        return Ended(done.returncode, done.stdout, done.stderr)

    def here(self, *more):
        """Run in this process."""
        return here(self.command("--workers", "0", *more), **{"FAULTY_COUNT": str(self.folder), **self.environment})

    def rows(self, *without):
        with (self.folder / "out" / "trials.csv").open(newline="") as file:
            return [{k: v for k, v in r.items() if k not in (*TIMINGS, *without)} for r in csv.DictReader(file)]

    def named(self, name):
        """Find an artifact by the beginning of its name."""
        store = self.store
        return next(k for k in store.all_keys() if store.record(k)["made"]["name"].startswith(name))

    def whole(self):
        """Count the artifacts, every byte of each checked: none is half-written."""
        store = self.store
        sound = sum(store.verify(key) for key in store.all_keys())
        assert store.quarantined == []
        assert list((store.root / "tmp").glob("*")) == []
        return sound
