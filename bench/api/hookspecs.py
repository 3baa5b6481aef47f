"""The four hooks. A plugin is a module in the entry-point group `bench` that implements one or more.

from bench import hookimpl

@hookimpl
def bench_methods():
    return [MyMethod()]
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from bench.api.components import Architecture, Attack, Dataset, Fingerprint, Watermark

hookspec = pluggy.HookspecMarker("bench")


@hookspec
def bench_datasets() -> Iterable[Dataset]:  # type: ignore[empty-body]
    """Return datasets: labelled images with a train and a test part."""


@hookspec
def bench_architectures() -> Iterable[Architecture]:  # type: ignore[empty-body]
    """Return architectures: builders of untrained networks."""


@hookspec
def bench_attacks() -> Iterable[Attack]:  # type: ignore[empty-body]
    """Return attacks, which derive a stolen suspect from a source model."""


@hookspec
def bench_methods() -> Iterable[Fingerprint | Watermark]:  # type: ignore[empty-body]
    """Return methods: fingerprints and watermarks, which score a suspect."""
