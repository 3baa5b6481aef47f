"""Fine-tune the stolen source model: all layers, the last layer, or all layers on a corrupted version of its dataset.

The thief has the network and continues its training with a small learning rate on images and true labels of his own
(J. Guan, J. Liang, R. He: Are You Stealing My Model?, NeurIPS 2022, https://arxiv.org/abs/2210.15427, "Finetune-A",
"Finetune-L" and "CIFAR10 to CIFAR10-C").

`finetune_a` trains all layers. The authors' code: 30 epochs of 200, SGD 5e-4 at a constant rate, batch 512; here the
rate follows the recipe's schedule.

`finetune_l` trains the last layer only. Everything else stays bit for bit the same, batch statistics included. The
authors' code instead trains the whole block that holds the last layer (VGG's three linear layers) and lets batch
normalisation update its statistics: `part = "classifier"`.

`finetune_c` is `finetune_a` on corrupted images: the label space stays, the images change. The copy keeps the source's
normalisation. Its innocent counterparts are trained from scratch on the corrupted images.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, BenchError, Context, Source, Split, hookimpl


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


@dataclass(frozen=True)
class FinetuneC(FinetuneA):
    """Fine-tune all layers of the source on corrupted images."""

    name: str = "finetune_c"
    version: int = 1
    length: float = 0.25

    target = "corrupted"


def all_in_train_mode(model: nn.Module, x: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross-entropy with batch normalisation in training mode everywhere, frozen layers included."""
    model.train()
    return functional.cross_entropy(model(x).float(), targets)


def block_of(model: nn.Module, head: nn.Module) -> nn.Module:
    """Find the classifier: the largest part of a network that holds its head and no convolution; else the head."""
    parts = (
        part
        for part in model.modules()
        if any(m is head for m in part.modules()) and not any(isinstance(m, nn.Conv2d) for m in part.modules())
    )
    return next(parts, head)


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
    """Return the three attacks."""
    return [FinetuneA(), FinetuneL(), FinetuneC()]
