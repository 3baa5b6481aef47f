"""Fine-tune the last layer of the stolen source model.

The thief has the network and trains its last layer only, on images and true labels of his own (Guan, Liang, He:
Are You Stealing My Model?, NeurIPS 2022, https://arxiv.org/abs/2210.15427, "Finetune-L"). Everything else stays bit
for bit the same, batch statistics included. The authors' code instead trains the whole block that holds the last layer
(VGG's three linear layers) and lets batch normalisation update its statistics: `part = "classifier"`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, BenchError, Context, Source, Split, hookimpl


def all_in_train_mode(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross-entropy with batch normalisation in training mode everywhere, frozen layers included."""
    model.train()
    return functional.cross_entropy(model(x).float(), targets)


def block_of(model: nn.Module, head: nn.Module) -> nn.Module:
    """Find the classifier: the largest part of a network that holds its head and no convolution."""
    return next(
        part
        for part in model.modules()
        if any(m is head for m in part.modules()) and not any(isinstance(m, nn.Conv2d) for m in part.modules())
    )


@dataclass(frozen=True)
class FinetuneL(Attack):
    """Fine-tune the last layer of the source on true labels."""

    name: str = "finetune_l"
    version: int = 1
    length: float = 0.15
    lr: float = 0.01
    part: str = "last"

    access = "weights"
    same_architecture = True

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train the last layer (or the classifier block) of a copy of the source."""
        if self.part not in ("last", "classifier"):
            raise BenchError(f"finetune_l.part is 'last' or 'classifier', not {self.part!r}")
        model = source.model()
        part, loss = context.head(model), None
        if self.part == "classifier":
            part, loss = block_of(model, part), all_in_train_mode
        return context.fit(model, data.images, data.labels, length=self.length, lr=self.lr, trainable=part, loss=loss)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [FinetuneL()]
