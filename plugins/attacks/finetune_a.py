"""Fine-tune all layers of the stolen source model.

The thief has the network and continues its training with a small learning rate on images and true labels of
his own (Guan, Liang, He: Are You Stealing My Model?, NeurIPS 2022, https://arxiv.org/abs/2210.15427, "Finetune-A").
Their code: 30 epochs of 200, SGD 5e-4 at a constant rate, batch 512; here the rate follows the recipe's schedule.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bench import Attack, Context, Source, Split, hookimpl


@dataclass(frozen=True)
class FinetuneA(Attack):
    """Fine-tune all layers of the source on true labels."""

    name: str = "finetune_a"
    version: int = 1
    length: float = 0.15
    lr: float = 0.01

    access = "weights"
    same_architecture = True

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Continue the training of a copy of the source."""
        return context.fit(source.model(), data.images, data.labels, length=self.length, lr=self.lr)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [FinetuneA()]
