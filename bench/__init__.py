"""A plugin-based benchmark for model fingerprinting. These are the names that plugins use."""

import pluggy

from bench.errors import BenchError
from bench.types import (
    Architecture,
    Attack,
    Context,
    Dataset,
    DefenderData,
    Download,
    Fingerprint,
    Helpers,
    Reported,
    ReportedAccuracy,
    Source,
    Split,
    Suspect,
    Watermark,
)
from bench.vision import prepare_torchvision

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
    "Reported",
    "ReportedAccuracy",
    "Source",
    "Split",
    "Suspect",
    "Watermark",
    "hookimpl",
    "prepare_torchvision",
]
