"""Distil the source into a network of the thief's, on blended images and at a temperature.

The student minimises T^2 KL(softmax(log p / T) || softmax(z / T)), summed over classes, with the source's probabilities
p and its own logits z (G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015,
https://arxiv.org/abs/1503.02531, section 2). Source and student see the same view, and a view is a blend of two images
("function matching": L. Beyer, X. Zhai, A. Royer, L. Markeeva, R. Anil, A. Kolesnikov: Knowledge Distillation: A Good
Teacher Is Patient and Consistent, CVPR 2022, https://arxiv.org/abs/2106.05237; mixup of H. Zhang, M. Cisse, Y. Dauphin,
D. Lopez-Paz, ICLR 2018, https://arxiv.org/abs/1710.09412). There is no term with a label, true or answered, which is
what `extract_p` has. Every blend is a query. "Patient" means very long schedules; here `length` is 1.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Attack, BenchError, Context, Source, Split, hookimpl


def blend(x: Tensor, most: float, generator: torch.Generator) -> Tensor:
    """Blend each image [N, C, H, W] with another of its batch, whose share is uniform in [0, most]."""
    share = most * torch.rand(len(x), 1, 1, 1, generator=generator, device=generator.device).to(x.device)
    others = x[torch.randperm(len(x), generator=generator, device=generator.device).to(x.device)]
    return ((1 - share) * x + share * others).clamp(0, 1)


def softened(logits: Tensor, p: Tensor, temperature: float) -> Tensor:
    """Compute the loss above from student logits and source probabilities, both [N, K]."""
    teacher = (p.clamp_min(1e-30).log() / temperature).log_softmax(1)
    student = (logits / temperature).log_softmax(1)
    return temperature**2 * (teacher.exp() * (teacher - student)).sum(1).mean()


@dataclass(frozen=True)
class Distil(Attack):
    """Distil the source on blended images, without any label."""

    name: str = "distil"
    version: int = 1
    length: float = 1.0
    temperature: float = 1.0
    mixup: float = 1.0
    """Largest share of the second image of a blend; 0: images as they are."""

    access = "probabilities"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Ask about blends of augmented views, and train a fresh network on the answers."""
        if not self.temperature > 0 or not 0 <= self.mixup <= 1:
            raise BenchError("distil.temperature must be above 0, and distil.mixup within 0 and 1")

        def loss(model: nn.Module, x: Tensor, unused: Tensor) -> Tensor:
            view = blend(x, self.mixup, context.generator)
            return softened(model(view).float(), source.probabilities(view), self.temperature)

        nothing = torch.zeros_like(data.labels)
        return context.fit(build(), data.images, nothing, length=self.length, loss=loss)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [Distil()]
