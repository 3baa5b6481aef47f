"""A plugin-based benchmark for model fingerprinting. These are the names that plugins and scripts use."""

from bench.sandbox.import_path import protect_command

protect_command()  # before any other import: a file of the working folder may have the name of a module

import importlib
from typing import TYPE_CHECKING

import pluggy

from bench.api.components import Architecture, Attack, Dataset, Fingerprint, Watermark
from bench.api.context import Context, Helpers, Source, Suspect
from bench.api.data import DefenderData, Download, Reported, ReportedAccuracy, Split
from bench.api.torchvision import prepare_torchvision
from bench.core.errors import BenchError, NotApplicable

if TYPE_CHECKING:
    from bench.frontend.commit import CommitOptions, commit
    from bench.frontend.innocents import innocents
    from bench.frontend.judge import judge
    from bench.frontend.options import RunOptions
    from bench.frontend.progress import RunProgress
    from bench.frontend.results import Results, load_results
    from bench.frontend.run import run
    from bench.frontend.verify import Verdict, verify

__version__ = "1.0.0rc1"

hookimpl = pluggy.HookimplMarker("bench")
"""Mark a function of a plugin as a hook: `bench_datasets`, `bench_architectures`, `bench_attacks` or `bench_methods`.

A hook takes no arguments and returns a list of components.
"""

__all__ = [
    "Architecture",
    "Attack",
    "BenchError",
    "CommitOptions",
    "Context",
    "Dataset",
    "DefenderData",
    "Download",
    "Fingerprint",
    "Helpers",
    "NotApplicable",
    "Reported",
    "ReportedAccuracy",
    "Results",
    "RunOptions",
    "RunProgress",
    "Source",
    "Split",
    "Suspect",
    "Verdict",
    "Watermark",
    "commit",
    "hookimpl",
    "innocents",
    "judge",
    "load_results",
    "prepare_torchvision",
    "run",
    "verify",
]

_LAZY = {
    "CommitOptions": "bench.frontend.commit",
    "Results": "bench.frontend.results",
    "RunOptions": "bench.frontend.options",
    "RunProgress": "bench.frontend.progress",
    "commit": "bench.frontend.commit",
    "innocents": "bench.frontend.innocents",
    "judge": "bench.frontend.judge",
    "load_results": "bench.frontend.results",
    "run": "bench.frontend.run",
    "Verdict": "bench.frontend.verify",
    "verify": "bench.frontend.verify",
}
"""Names whose modules take long to import, or need what plugins do not: they are imported when they are used."""


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
