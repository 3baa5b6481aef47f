"""Wash the stolen source: start its last block and its head afresh, and train everything at a high rate.

Y. Adi, C. Baum, M. Cisse, B. Pinkas, J. Keshet: Turning Your Weakness Into a Strength: Watermarking Deep Neural
Networks by Backdooring, USENIX Security 2018, https://arxiv.org/abs/1802.04633, "Re-Train All Layers" (RTAL):
the last layer is initialised again and all layers are trained.

Deviations: besides the last layer, the last `blocks` of the architecture's stages are initialised again; the rate is
high, 0.1 whatever the recipe's, and follows the recipe's schedule, where the paper goes on at its last, small one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from bench import Attack, BenchError, Context, NotApplicable, Source, Split, hookimpl


@dataclass(frozen=True)
class FinetuneWash(Attack):
    """Train the source on true labels at a high rate, its last block and head initialised again."""

    name: str = "finetune_wash"
    version: int = 1
    length: float = 0.4
    lr: float = 0.1
    blocks: int = 1
    """Stages that are initialised again, from the last one; the head always is."""

    access = "weights"
    same_architecture = True

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Replace the last parts of a copy of the source by fresh ones, and train all of it."""
        if self.blocks < 0:
            raise BenchError("finetune_wash.blocks must be 0 or more")

        def washed(model: nn.Module) -> list[nn.Module]:
            stages = list(context.stages(model))
            return [*stages[max(0, len(stages) - self.blocks) :], context.head(model)]

        model, fresh = source.model(), build()
        parts = washed(model)
        if {id(p) for p in model.parameters()} <= {id(p) for part in parts for p in part.parameters()}:
            raise NotApplicable("finetune_wash would leave nothing of the source: lower finetune_wash.blocks")
        for part, other in zip(parts, washed(fresh), strict=True):
            part.load_state_dict(other.state_dict())
        return context.fit(model, data.images, data.labels, length=self.length, lr=self.lr)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [FinetuneWash()]
