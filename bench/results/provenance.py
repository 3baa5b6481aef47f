"""Describe a run for `run.json`: its Spec, its components, and the machine and software that made it."""

import datetime
import importlib.metadata
import re
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from bench.core.canonical import JSON
from bench.core.errors import printable
from bench.core.hardware import hardware
from bench.core.kinds import ComponentKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration
from bench.models.kinds import ModelFormat
from bench.planning.declarations import Declarations
from bench.registry.code import imported_packages
from bench.registry.registry import OWN, Registry
from bench.results.run_schema import FORMAT, LONGEST_TEXT

ORIGIN = ("libraries", "hardware", "git_commit", "command", "date")
"""The entries of `run.json` that describe where and when its numbers were made."""
DESCRIBED = ("version", "distribution", "summary", "params", "attributes", "watermark")
"""The fields of a Declaration that `run.json` has."""
LIBRARIES = (
    "torch",
    "torchvision",
    "numpy",
    "scipy",
    "scikit-learn",
    "pillow",
    "pandas",
    "safetensors",
    "distributed",
    OWN,
)
"""Distributions whose versions decide results of the shipped components."""


def describe(spec: Spec, known: Declarations, command: str = "", registry: Registry | None = None) -> dict[str, JSON]:
    """Return the content of `run.json`: what tables need besides the rows.

    `command` is the line that started the run; `registry` has the components, whose own libraries are listed, too.
    """
    methods = {name: versions[0].method for name, versions in known.methods.items()}
    groups: dict[ComponentKind, Mapping[str, Declaration]] = {
        ComponentKind.DATASET: known.datasets,
        ComponentKind.ARCHITECTURE: known.architectures,
        ComponentKind.ATTACK: known.attacks,
        ComponentKind.METHOD: methods,
    }
    return {
        "format": FORMAT,
        "spec": spec.to_json(),
        "components": {
            kind: {name: {field: getattr(one, field) for field in DESCRIBED} for name, one in sorted(group.items())}
            for kind, group in groups.items()
        },
        "libraries": {
            "python": sys.version.split()[0],
            **{name: _version(name) for name in LIBRARIES},
            **(_of_plugins(groups, registry) if registry else {}),
            **({"onnxruntime": _version("onnxruntime")} if known.models.has_format(ModelFormat.ONNX) else {}),
        },
        "hardware": hardware(),
        "git_commit": _commit(),
        "command": printable(command)[:LONGEST_TEXT],
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


def _version(distribution: str) -> str:
    """Return the installed version of a distribution; empty if there is none."""
    try:
        return importlib.metadata.version(distribution)
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return ""


def _of_plugins(groups: Mapping[ComponentKind, Mapping[str, Declaration]], registry: Registry) -> dict[str, str]:
    """Return the versions of what plugins require by their metadata, or use in their code, apart from bench's own."""
    wanted: set[str] = set()
    packages: set[str] = set()
    for kind, group in groups.items():
        for name, one in group.items():
            distribution = one.distribution.rpartition(" ")[0]
            if distribution != OWN and name in registry.entries[kind]:  # descriptions of networks declare others
                wanted |= {distribution, *_requirements(distribution)}
                packages |= imported_packages(type(registry.entries[kind][name].component))
    if unknown := {package for package in packages if not _version(package)}:
        providers = _providers()
        packages |= {provider for package in unknown for provider in providers.get(package, ())}
    found = {name: _version(name) for name in sorted(wanted | packages)}
    known = {re.sub(r"[-_.]+", "-", name).lower() for name in LIBRARIES}
    return {name: v for name, v in found.items() if v and re.sub(r"[-_.]+", "-", name).lower() not in known}


@cache
def _providers() -> Mapping[str, list[str]]:
    """Return the distributions that provide each top-level package; it reads the metadata of all that are installed."""
    return importlib.metadata.packages_distributions()


def _requirements(distribution: str) -> set[str]:
    """Return the names that a distribution requires, without those of its extras."""
    try:
        lines = importlib.metadata.requires(distribution) or []
    except (importlib.metadata.PackageNotFoundError, ValueError):
        return set()
    names = (re.match(r"[A-Za-z0-9][\w.-]*", line) for line in lines if not re.search(r";.*\bextra\b", line))
    return {name[0] for name in names if name}


@cache
def _commit() -> str:
    """Return the commit of the code that this process has imported; empty outside a checkout."""
    git = ["git", "-C", str(Path(__file__).resolve().parent)]
    try:
        known = subprocess.run([*git, "ls-files", "--error-unmatch", __file__], capture_output=True, check=False)
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, encoding="utf-8", check=False)
    except OSError:
        return ""
    return head.stdout.strip() if known.returncode == 0 else ""
