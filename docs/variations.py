"""Attacks for `docs/findings.md`: networks that copy nothing, and attacks of other lengths than their defaults."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.attacks.finetune import FinetuneA
from bench_plugins.attacks.prune import Prune
from torch import nn

from bench import Attack, Context, Source, Split, hookimpl


@dataclass(frozen=True)
class Independent(Attack):
    """Train a fresh network on true labels, some of them replaced; the source is not asked."""

    name: str = "independent"
    version: int = 1
    length: float = 1.0
    wrong: float = 0.0
    """Share of the labels that are drawn at random, in [0, 1]."""

    access = "labels"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train from scratch for `length` times the epochs of the recipe."""
        labels, random = data.labels.cpu(), context.generator
        replaced = torch.rand(labels.shape, generator=random, device=random.device).cpu() < self.wrong
        drawn = torch.randint(int(labels.max()) + 1, labels.shape, generator=random, device=random.device).cpu()
        labels = torch.where(replaced, drawn, labels).to(data.labels.device)
        return context.fit(build(), data.images, labels, length=self.length)


def lengths(attack: Attack, *percents: int) -> list[Attack]:
    """Return an attack with other lengths, in percent of the recipe's epochs."""
    return [dataclasses.replace(attack, name=f"{attack.name}_{p}", length=p / 100) for p in percents]


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return all of them."""
    return [
        Independent(),
        Independent(name="independent_50", length=0.5),
        Independent(name="independent_20", length=0.2),
        Independent(name="independent_wrong", wrong=0.3),
        *lengths(Prune(), 5, 20, 40, 100),
        *lengths(ExtractL(), 25, 100, 400),
        *lengths(FinetuneA(), 15, 100, 200),
    ]
