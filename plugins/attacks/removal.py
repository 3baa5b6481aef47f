"""Remove fingerprints that are not known: push the answers on likely probes away, and keep those on real images.

An adaptive thief as N. Lukas, E. Jiang, X. Li, F. Kerschbaum: SoK: How Robust is Image Classification Deep Neural
Network Watermarking?, IEEE S&P 2022, https://arxiv.org/abs/2108.04974, demand one: he knows what methods ask about
(images with a box of another image, images moved across the source's decision boundary, noise), not which probes were
drawn. This attack is no published one; its loss, for a copy of the source f with probabilities q, is

    CE(q(x), y) + weight * mean over probes u of relu(margin - TV(p_f(u), q(u)))

with true labels y, the source's probabilities p_f and the total variation TV in [0, 1]: the answers on likely probes
are moved by `margin`, and no further. A third of each batch is made into each kind of probe. Batch normalisation
keeps the source's statistics.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, BenchError, Context, Source, Split, hookimpl


def boxed(x: Tensor, generator: torch.Generator) -> Tensor:
    """Paste a random box of another image into each image [N, C, H, W], at the same place (CutMix)."""
    height, width = x.shape[2:]
    at = torch.rand(2, 2, generator=generator, device=generator.device).sort(1).values.tolist()
    (top, bottom), (left, right) = (
        [round(v * side) for v in pair] for pair, side in zip(at, (height, width), strict=True)
    )
    mixed, others = x.clone(), x.roll(1, 0)
    mixed[:, :, top:bottom, left:right] = others[:, :, top:bottom, left:right]
    return mixed


def crossed(model: nn.Module, x: Tensor, labels: Tensor, epsilon: float, steps: int) -> Tensor:
    """Move images up the loss of a network, within epsilon (largest change of a pixel) and [0, 1]."""
    moved = x.clone()
    for _ in range(steps):
        moved.requires_grad_()
        loss = functional.cross_entropy(model(moved).float(), labels, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, moved)
        moved = moved.detach() + 2 * epsilon / steps * gradient.sign()
        moved = moved.clamp(x - epsilon, x + epsilon).clamp(0, 1)
    return moved.detach()


@dataclass(frozen=True)
class Removal(Attack):
    """Fine-tune the source on true labels and away from its own answers on likely probes."""

    name: str = "removal"
    version: int = 1
    length: float = 0.3
    lr: float = 0.02
    weight: float = 1.0
    margin: float = 0.5
    epsilon: float = 0.15
    """Largest change of a pixel when an image is moved across the boundary, in [0, 1] units."""
    steps: int = 3

    access = "weights"
    same_architecture = True

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Fine-tune a copy of the source against another copy of it."""
        if self.steps < 1 or not 0 <= self.margin <= 1:
            raise BenchError("removal.steps must be 1 or more, and removal.margin within 0 and 1")
        original, generator = source.model(), context.generator

        def probes(x: Tensor, labels: Tensor) -> Tensor:
            third = max(1, len(x) // 3)
            shape = x[2 * third :].shape
            noise = torch.rand(shape, generator=generator, device=generator.device).to(x.device)
            moved = crossed(original, x[third : 2 * third], labels[third : 2 * third], self.epsilon, self.steps)
            return torch.cat([boxed(x[:third], generator), moved, noise])

        def loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
            asked = probes(x, labels)
            with torch.no_grad():
                before = original(asked).float().softmax(1)
            model.eval()  # one network for images and probes: with the statistics that answer later
            after = model(asked).float().softmax(1)
            kept = functional.relu(self.margin - (before - after).abs().sum(1) / 2).mean()
            value = functional.cross_entropy(model(x).float(), labels) + self.weight * kept
            model.train()
            return value

        return context.fit(source.model(), data.images, data.labels, length=self.length, lr=self.lr, loss=loss)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [Removal()]
