"""Fine-tune the stolen source model on a corrupted version of its dataset.

The label space stays, the images change (Guan, Liang, He: Are You Stealing My Model?, NeurIPS 2022,
https://arxiv.org/abs/2210.15427, "CIFAR10 to CIFAR10-C"). The copy keeps the source's normalisation. Its innocent
counterparts are trained from scratch on the corrupted images.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bench import Attack, Context, Source, Split, hookimpl


@dataclass(frozen=True)
class FinetuneC(Attack):
    """Fine-tune all layers of the source on corrupted images."""

    name: str = "finetune_c"
    version: int = 1
    length: float = 0.25
    lr: float = 0.01

    access = "weights"
    same_architecture = True
    target = "corrupted"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train a copy of the source on the corrupted images and their true labels."""
        return context.fit(source.model(), data.images, data.labels, length=self.length, lr=self.lr)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [FinetuneC()]
