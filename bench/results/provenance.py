"""Describe a run for `run.json`: its Spec, its components, and the machine and software that made it."""

import datetime
import importlib.metadata
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.core.canonical import JSON
from bench.core.hardware import hardware
from bench.core.kinds import ComponentKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration
from bench.planning.declarations import Declarations
from bench.results.run_schema import FORMAT

ORIGIN = ("libraries", "hardware", "git_commit", "command", "date")
"""The entries of `run.json` that say where and when its numbers were made."""
LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "safetensors", "distributed", "fingerprint-bench")


def describe(spec: Spec, known: Declarations, command: Sequence[str]) -> dict[str, JSON]:
    """Make the content of `run.json`: what tables need besides the rows. `command` is what followed `bench`."""

    def plain(d: Declaration) -> dict[str, JSON]:
        return {
            "version": d.version,
            "distribution": d.distribution,
            "summary": d.summary,
            "params": dict(d.params),
            "attributes": dict(d.attributes),
            "watermark": d.watermark,
        }

    methods = {name: versions[0][1] for name, versions in known.methods.items()}
    groups = {
        ComponentKind.DATASET: known.datasets,
        ComponentKind.ARCHITECTURE: known.architectures,
        ComponentKind.ATTACK: known.attacks,
        ComponentKind.METHOD: methods,
    }
    libraries = {}
    for name in LIBRARIES:
        try:
            libraries[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            libraries[name] = ""
    return {
        "format": FORMAT,
        "spec": spec.to_json(),
        "components": {kind: {n: plain(d) for n, d in sorted(ds.items())} for kind, ds in groups.items()},
        "libraries": {"python": sys.version.split()[0], **libraries},
        "hardware": hardware(),
        "git_commit": _commit(),
        "command": shlex.join(["bench", *command]),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        known = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return head.stdout.strip() if known.returncode == 0 else ""
