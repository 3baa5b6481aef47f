"""Attacks for `docs/findings.md`: students of a network that has nothing to do with the source."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.attacks.extract_p import ExtractP
from torch import Tensor, nn

from bench import Attack, Context, Source, Split, hookimpl


def teacher(data: Split, build: Callable[[], nn.Module], context: Context) -> Any:
    """Train a network on true labels, and return it with the answers of a source."""
    network = context.fit(build(), data.images, data.labels)

    @torch.no_grad()
    def probabilities(x: Tensor) -> Tensor:
        return network(x).float().softmax(1)

    return SimpleNamespace(probabilities=probabilities, labels=lambda x: probabilities(x).argmax(1))


@dataclass(frozen=True)
class StrangerL(ExtractL):
    """Train a student on the labels of a network that was trained on the thief's own images and true labels."""

    name: str = "stranger_l"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train the teacher, then its student; the source is not asked."""
        return super().steal(teacher(data, build, context), data, build, context)


@dataclass(frozen=True)
class StrangerP(ExtractP):
    """Train a student on the probabilities of such a network."""

    name: str = "stranger_p"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train the teacher, then its student; the source is not asked."""
        return super().steal(teacher(data, build, context), data, build, context)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return both."""
    return [StrangerL(), StrangerP()]
