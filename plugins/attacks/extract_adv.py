"""Extract the source model through its labels, then train adversarially.

The thief continues with the student of `extract_l`: PGD attacks each batch against the student itself, and the student
learns the source's labels of the clean images on both (Guan, Liang, He: Are You Stealing My Model?, NeurIPS
2022, https://arxiv.org/abs/2210.15427, "Extract-Adv"; PGD of Madry et al., ICLR 2018,
https://arxiv.org/abs/1706.06083). The source never sees an attacked image. The authors' code leaves batch
normalisation in training mode while it attacks (`train_mode`), which drifts the statistics; here the attacked student
is the one that answers.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, Context, Source, Split, hookimpl


def pgd(model: nn.Module, x: Tensor, labels: Tensor, epsilon: float, step: float, steps: int) -> Tensor:
    """Raise the loss of a model, starting from x, within epsilon (largest change of a pixel) of x and inside [0, 1]."""
    attacked = x.clone()
    for _ in range(steps):
        attacked.requires_grad_()
        loss = functional.cross_entropy(model(attacked).float(), labels)
        (gradient,) = torch.autograd.grad(loss, attacked)  # leaves the parameters' gradients alone
        with torch.no_grad():
            attacked = attacked + step * gradient.sign()
            attacked = torch.clamp(attacked, x - epsilon, x + epsilon).clamp(0, 1)
    return attacked.detach()


@dataclass(frozen=True)
class ExtractAdv(Attack):
    """Train the student of extract_l on adversarial images as well."""

    name: str = "extract_adv"
    version: int = 1
    length: float = 0.1
    lr: float = 0.01
    epsilon: float = 4 / 255
    step: float = 1 / 255
    steps: int = 10
    train_mode: bool = False

    access = "labels"
    starts_from = "extract_l"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train the extracted student on clean and attacked views with the source's labels."""

        def loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
            model.train(self.train_mode)
            attacked = pgd(model, x, labels, self.epsilon, self.step, self.steps)
            model.train()
            clean = functional.cross_entropy(model(x).float(), labels)
            return clean + functional.cross_entropy(model(attacked).float(), labels)

        assert context.start is not None  # the host sets it, since `starts_from` is declared
        student = copy.deepcopy(context.start)
        return context.fit(student, data.images, source.labels, length=self.length, lr=self.lr, loss=loss)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [ExtractAdv()]
