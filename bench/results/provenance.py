"""Describe a run for `run.json`: its Spec, its components, and the machine and software that made it."""

import datetime
import importlib.metadata
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.core.canonical import JSON
from bench.core.errors import printable
from bench.core.hardware import hardware
from bench.core.kinds import ComponentKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration
from bench.planning.declarations import Declarations
from bench.results.run_schema import FORMAT, LONGEST_TEXT

ORIGIN = ("libraries", "hardware", "git_commit", "command", "date")
"""The entries of `run.json` that describe where and when its numbers were made."""
DESCRIBED = ("version", "distribution", "summary", "params", "attributes", "watermark")
"""The fields of a Declaration that `run.json` has."""
LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "safetensors", "distributed", "fingerprint-bench")


def describe(spec: Spec, known: Declarations, command: Sequence[str]) -> dict[str, JSON]:
    """Return the content of `run.json`: what tables need besides the rows. `command`: the words after `bench`."""
    methods = {name: versions[0].method for name, versions in known.methods.items()}
    groups: dict[ComponentKind, Mapping[str, Declaration]] = {
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
        "components": {
            kind: {name: {field: getattr(one, field) for field in DESCRIBED} for name, one in sorted(group.items())}
            for kind, group in groups.items()
        },
        "libraries": {"python": sys.version.split()[0], **libraries},
        "hardware": hardware(),
        "git_commit": _commit(),
        "command": printable(shlex.join(["bench", *command]))[:LONGEST_TEXT],
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        known = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return ""
    return head.stdout.strip() if known.returncode == 0 else ""
