"""A plugin-based benchmark for model fingerprinting. These are the names that plugins use."""

from bench.sandbox.import_path import protect_command

protect_command()  # before other modules are looked for

import pluggy

from bench.api.components import Architecture, Attack, Dataset, Fingerprint, Watermark
from bench.api.context import Context, Helpers, Source, Suspect
from bench.api.data import DefenderData, Download, Reported, ReportedAccuracy, Split
from bench.api.torchvision import prepare_torchvision
from bench.core.errors import BenchError, NotApplicable

__version__ = "1.0.0rc1"

hookimpl = pluggy.HookimplMarker("bench")

__all__ = [
    "Architecture",
    "Attack",
    "BenchError",
    "Context",
    "Dataset",
    "DefenderData",
    "Download",
    "Fingerprint",
    "Helpers",
    "NotApplicable",
    "Reported",
    "ReportedAccuracy",
    "Source",
    "Split",
    "Suspect",
    "Watermark",
    "hookimpl",
    "prepare_torchvision",
]
