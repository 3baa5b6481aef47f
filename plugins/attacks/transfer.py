"""Transfer the stolen source model to another task.

The thief puts a new head on the source's backbone and trains on another dataset with other labels: `transfer_a` all
layers, `transfer_l` the head only (Guan, Liang, He: Are You Stealing My Model?, NeurIPS 2022,
https://arxiv.org/abs/2210.15427, "Transfer-A" and "Transfer-L": CIFAR10 to the first ten labels of CIFAR100). The
network gets the normalisation of the new dataset. In `transfer_l` the backbone stays bit for bit the source's, batch
statistics included. The paper does not state epochs, learning rates and whether the authors kept the head.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from bench import Attack, BenchError, Context, Source, Split, hookimpl


def with_new_head(source: nn.Module, fresh: nn.Module, head: nn.Module) -> nn.Module:
    """Copy the source's backbone into a fresh network, which keeps its own head and normalisation.

    BenchError if a tensor outside the head depends on the number of classes.
    """
    prefix = next(name for name, module in fresh.named_modules() if module is head)
    parts = {id(t) for t in (*head.parameters(), *head.buffers())}
    state, stolen = fresh.state_dict(keep_vars=True), source.state_dict()
    own = {n for n, t in state.items() if n.startswith(prefix + ".") or n in ("mean", "std") or id(t) in parts}
    for name, value in stolen.items():
        if name not in own and isinstance(value, Tensor) and value.shape != state[name].shape:
            raise BenchError(
                f"transfer needs a network whose head(model) holds all that depends on the number of classes, but "
                f"{name!r} is {list(value.shape)} in the source and {list(state[name].shape)} in the new network"
            )
    state.update((name, value) for name, value in stolen.items() if name not in own)  # it keeps its modules' versions
    fresh.load_state_dict(state)
    buffers = dict(source.named_buffers())
    for name, buffer in fresh.named_buffers():
        same = name in buffers and buffers[name].shape == buffer.shape
        if same and name not in state and name not in own and id(buffer) not in parts:
            buffer.copy_(buffers[name])  # those that are not persistent
    return fresh


@dataclass(frozen=True)
class TransferA(Attack):
    """Transfer the source to another dataset: new head, all layers trained."""

    name: str = "transfer_a"
    version: int = 1
    length: float = 0.25
    lr: float = 0.05

    access = "weights"
    same_architecture = True
    target = "transfer"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train the source's backbone under a new head."""
        fresh = build()
        model = with_new_head(source.model(), fresh, context.head(fresh))
        return context.fit(model, data.images, data.labels, length=self.length, lr=self.lr)


@dataclass(frozen=True)
class TransferL(TransferA):
    """Transfer the source to another dataset: new head, backbone frozen."""

    name: str = "transfer_l"
    version: int = 1
    lr: float = 0.1

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train a new head on the source's frozen backbone."""
        fresh = build()
        head = context.head(fresh)
        model = with_new_head(source.model(), fresh, head)
        return context.fit(model, data.images, data.labels, length=self.length, lr=self.lr, trainable=head)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return both attacks."""
    return [TransferA(), TransferL()]
