"""Transfer the stolen source model to another task, training a new last layer only.

The thief puts a new head on the source's frozen backbone and trains it on another dataset with other labels (Guan,
Liang, He: Are You Stealing My Model?, NeurIPS 2022, https://arxiv.org/abs/2210.15427, "Transfer-L"). The backbone
stays bit for bit the source's, batch statistics too; the network takes the normalisation of the new dataset.
"""

from dataclasses import dataclass

from torch import nn

from bench import Attack, Context, Source, Split, hookimpl


def new_head(source, fresh, head):
    """Copy the source's backbone into a fresh network, which keeps its own head and normalisation."""
    prefix = next(name for name, module in fresh.named_modules() if module is head)
    own = {name for name in fresh.state_dict() if name.startswith(prefix + ".") or name in ("mean", "std")}
    backbone = {name: value for name, value in source.state_dict().items() if name not in own}
    fresh.load_state_dict({**fresh.state_dict(), **backbone})
    return fresh


@dataclass(frozen=True)
class TransferL(Attack):
    """Transfer the source to another dataset: new head, backbone frozen."""

    name: str = "transfer_l"
    version: int = 1
    length: float = 0.25
    lr: float = 0.1

    access = "weights"
    same_architecture = True
    target = "transfer"

    def steal(self, source: Source, data: Split, build, context: Context) -> nn.Module:
        """Train a new head on the source's frozen backbone."""
        fresh = build()
        head = context.head(fresh)
        model = new_head(source.model(), fresh, head)
        return context.fit(model, data.images, data.labels, length=self.length, lr=self.lr, trainable=head)


@hookimpl
def bench_attacks():
    """List this file's attack."""
    return [TransferL()]
