"""Hide one copy among several: an `ensemble` of extracted students, or a `soup` of fine-tuned copies.

`ensemble` trains some students on the source's labels and answers the mean of their probabilities (B. Lakshminarayanan,
A. Pritzel, C. Blundell: Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles, NeurIPS 2017,
https://arxiv.org/abs/1612.01474, section 2.4: networks that differ in their random start and the order of the images).
Each student asks for itself. The suspect only answers.

`soup` fine-tunes some copies of the source at different learning rates and averages their weights (M. Wortsman et al.:
Model Soups: Averaging Weights of Multiple Fine-Tuned Models Improves Accuracy without Increasing Inference Time, ICML
2022, https://arxiv.org/abs/2203.05482, the uniform soup of Table 2). Deviation: the paper's networks have no batch
normalisation; here running means and variances are averaged like the weights.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Attack, BenchError, Context, Source, Split, hookimpl


class Members(nn.ModuleList):
    """Networks that answer together."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the mean of their probabilities, [N, K]."""
        return torch.stack([member(x).softmax(1) for member in self]).mean(0)


@dataclass(frozen=True)
class Ensemble(Attack):
    """Offer the mean answer of students that were trained on the source's labels."""

    name: str = "ensemble"
    version: int = 1
    students: int = 3
    length: float = 1.0

    access = "labels"
    answers = "probabilities"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train the students one after the other."""
        if self.students < 1:
            raise BenchError("ensemble.students must be 1 or more")
        made = [context.fit(build(), data.images, source.labels, length=self.length) for _ in range(self.students)]
        return Members(made)

    def rebuild(self, build: Callable[[], nn.Module], tensors: dict[str, Tensor]) -> nn.Module:
        """Build as many networks, and load what was stored."""
        members = Members([build() for _ in range(self.students)])
        members.load_state_dict(tensors)
        return members


@torch.no_grad()
def average(models: list[nn.Module]) -> nn.Module:
    """Set the floats of the first network's state to the mean over all networks, and return it."""
    states = [model.state_dict() for model in models]
    numbers = {n: v for n, v in states[0].items() if isinstance(v, Tensor) and v.is_floating_point()}  # others are data
    means = [torch.stack([state[name] for state in states]).mean(0) for name in numbers]
    for value, mean in zip(numbers.values(), means, strict=True):  # afterwards: two names may mean one tensor
        value.copy_(mean)
    return models[0]


@dataclass(frozen=True)
class Soup(Attack):
    """Average the weights of copies that were fine-tuned at different rates."""

    name: str = "soup"
    version: int = 1
    length: float = 0.15
    rates: tuple[float, ...] = (0.005, 0.01, 0.02)
    """Highest learning rate of each copy."""

    access = "weights"
    same_architecture = True

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Fine-tune the copies one after the other, and average them."""
        if not self.rates:
            raise BenchError("soup.rates must hold at least one learning rate")
        return average(
            [context.fit(source.model(), data.images, data.labels, length=self.length, lr=lr) for lr in self.rates]
        )


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return both attacks."""
    return [Ensemble(), Soup()]
