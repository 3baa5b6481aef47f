"""An adaptive thief for each method, and an uninformed one for scale: fine-tune a copy away from the source's answers.

N. Carlini, D. Wagner: Adversarial Examples Are Not Easily Detected, AISec 2017, https://arxiv.org/abs/1705.07263, and
N. Lukas, E. Jiang, X. Li, F. Kerschbaum: SoK: How Robust is Image Classification Deep Neural Network Watermarking?,
IEEE S&P 2022, https://arxiv.org/abs/2108.04974, ask that a defence be judged by attackers who know it. The thief knows
a method's code, and not its key, seed or probes. With a seed and images of his own he makes the method's fingerprint of
the copy that he holds, and takes what the method then asks about for his probes u. For a copy of the source f, with
probabilities q, he minimises

    CE(q(x), y) + w * mean over probes u of relu(margin - TV(p_f(u), q(u)))

with his images x, their true labels y, the source's probabilities p_f and the total variation TV in [0, 1]. The weights
w are the strengths of the attack. Each step draws as many probes as images, and jitters them, since the owner's are
others of their kind. This attack is ours, no published one; its loss is that of `removal`.

`uninformed` is the same training with the same budget by a thief who knows no method: his probes are blends of two of
his images. So the difference between the two is what the knowledge is worth.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, BenchError, Context, Source, Split, hookimpl


def drawn(count: int, among: int, generator: torch.Generator) -> Tensor:
    """Draw so many indices below `among`, with repetition."""
    return torch.randint(among, (count,), generator=generator, device=generator.device)


def blended(images: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Blend pairs of uint8 images with random shares, float [count, C, H, W] in [0, 1]."""
    one, other = (images[drawn(count, len(images), generator).to(images.device)].float() / 255 for _ in range(2))
    share = torch.rand((count, 1, 1, 1), generator=generator, device=generator.device).to(images.device)
    return share * one + (1 - share) * other


@dataclass(frozen=True)
class Graded(Attack, ABC):
    """Fine-tune the source on true labels and away from its own answers on probes, with rising weight."""

    length: float = 0.5
    lr: float = 0.02
    weights: tuple[float, ...] = (0.5, 1.0, 2.0, 5.0)
    """w of the copies, weakest first."""
    margin: float = 0.9
    jitter: float = 0.05
    """Standard deviation of the noise that is added to probes, in [0, 1] units."""

    access = "weights"
    same_architecture = True

    @property
    def strengths(self) -> int:
        """Return the number of weights."""
        return max(1, len(self.weights))

    def variant(self, replicate: int) -> str:
        """Return the weight of a copy."""
        return f"weight={self.weights[replicate % self.strengths]:g}" if self.weights else ""

    @abstractmethod
    def probes(self, count: int, data: Split, context: Context) -> Tensor:
        """Draw images to move the answers on, float [count, C, H, W] in [0, 1]."""

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Fine-tune a copy of the source against another copy of it."""
        if not self.weights or min(self.weights) < 0 or not 0 <= self.margin <= 1 or self.jitter < 0:
            raise BenchError(
                f"{self.name}.weights must be one number or more, from 0, {self.name}.margin within 0 and 1, and "
                f"{self.name}.jitter 0 or more"
            )
        original, random = source.model(), context.generator
        weight = self.weights[context.replicate % self.strengths]

        def loss(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
            asked = self.probes(len(x), data, context).to(x.device)
            noise = torch.randn(asked.shape, generator=random, device=random.device).to(x.device)
            asked = (asked + self.jitter * noise).clamp(0, 1)
            with torch.no_grad():
                before = original(asked).float().softmax(1)
            model.eval()  # one network for images and probes: with the statistics that answer later
            after = model(asked).float().softmax(1)
            kept = functional.relu(self.margin - (before - after).abs().sum(1) / 2).mean()
            value = functional.cross_entropy(model(x).float(), labels) + weight * kept
            model.train()
            return value

        return context.fit(source.model(), data.images, data.labels, length=self.length, lr=self.lr, loss=loss)


@dataclass(frozen=True)
class Adaptive(Graded):
    """Fine-tune the source away from its answers on probes that the thief made by the method itself."""

    name: str = "adaptive"
    version: int = 1

    knows_method = True

    def probes(self, count: int, data: Split, context: Context) -> Tensor:
        """Draw some of the thief's own probes."""
        assert context.probes is not None
        return context.probes[drawn(count, len(context.probes), context.generator).to(context.probes.device)]


@dataclass(frozen=True)
class Uninformed(Graded):
    """Fine-tune the source away from its answers on blends of images, without knowledge of any method."""

    name: str = "uninformed"
    version: int = 1

    def probes(self, count: int, data: Split, context: Context) -> Tensor:
        """Blend pairs of the thief's images."""
        return blended(data.images, count, context.generator)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return both."""
    return [Adaptive(), Uninformed()]
