"""Extract the source model through its labels.

The thief trains a network of his own on unlabelled images and the source's predicted labels (Guan, Liang, He: Are You
Stealing My Model?, NeurIPS 2022, https://arxiv.org/abs/2210.15427, "Extract-L"). As in the authors' code every
augmented view is a query. Their learning rate (cosine, stepped per batch instead of per epoch) rises and falls some 24
times; here it follows the recipe.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bench import Attack, Context, Source, Split, hookimpl


@dataclass(frozen=True)
class ExtractL(Attack):
    """Train a student on the source's labels."""

    name: str = "extract_l"
    version: int = 1
    length: float = 1.0

    access = "labels"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train a fresh network on augmented views and the source's labels for them."""
        return context.fit(build(), data.images, source.labels, length=self.length)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [ExtractL()]
