"""Extract the source without any image: a generator draws what source and student disagree about.

J.-B. Truong, P. Maini, R. J. Walls, N. Papernot: Data-Free Model Extraction, CVPR 2021,
https://arxiv.org/abs/2011.14779. Student S and generator G play against each other: S minimises, G maximises the L1
distance of S's logits from the source's, which are recovered from its probabilities as log p less its mean. The
gradient of the source is estimated by forward differences along one random direction, at the generator's output before
its last non-linearity. A round is one step of G and five of S.

Deviations: the student follows the host's recipe, and its steps are `length` times those of an ordinary training, a few
hundred where the paper asks millions of queries; the generator is smaller, and ends in a sigmoid, for pixels in [0, 1].
With `images = "noise"` there is no generator: each image is uniform noise of a random coarseness, enlarged.
Of the thief's images only the number and the shape are used.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, BenchError, Context, Source, Split, hookimpl

LATENT, WIDTH = 64, 32


class Generator(nn.Module):
    """From a latent vector [N, 64] to images [N, C, H, W] before the sigmoid."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, *size = shape
        self.small = (WIDTH, max(1, size[0] // 4), max(1, size[1] // 4))
        self.first = nn.Linear(LATENT, self.small[0] * self.small[1] * self.small[2])
        self.rest = nn.Sequential(
            nn.BatchNorm2d(WIDTH),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(WIDTH, WIDTH, 3, padding=1),
            nn.BatchNorm2d(WIDTH),
            nn.LeakyReLU(0.2),
            nn.Upsample(size=tuple(size)),
            nn.Conv2d(WIDTH, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Return images before the sigmoid."""
        images: Tensor = self.rest(self.first(z).unflatten(1, self.small))
        return images


def recovered(p: Tensor) -> Tensor:
    """Recover logits, less their mean, from probabilities [N, K]."""
    logs = p.clamp_min(1e-7).log()
    return logs - logs.mean(1, keepdim=True)


def slopes(distance: Callable[[Tensor], Tensor], at: Tensor, direction: Tensor, step: float) -> Tensor:
    """Estimate the gradient of a distance [N] at points [N, ...] by a forward difference along unit directions."""
    size = at[0].numel()
    rise = (distance(at + step * direction) - distance(at)) / step
    return size * rise.reshape(-1, *[1] * (at.dim() - 1)) * direction


def coarse_noise(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Draw uniform noise [count, C, H, W] in [0, 1], of one coarseness between a single colour and single pixels."""
    cells = int(torch.randint(1, max(shape[1:]) + 1, (1,), generator=generator, device=generator.device))
    noise = torch.rand(count, shape[0], cells, cells, generator=generator, device=generator.device)
    return functional.interpolate(noise, size=shape[1:], mode="bilinear", align_corners=False).clamp(0, 1)


@dataclass(frozen=True)
class DataFree(Attack):
    """Train a student on images that a generator makes where it and the source disagree."""

    name: str = "data_free"
    version: int = 1
    images: str = "generator"
    """Where images come from: the `generator`, or coarse `noise`."""
    length: float = 3.0
    student_steps: int = 5
    """Steps of the student for each step of the generator."""
    generator_lr: float = 0.001
    step: float = 0.001
    """Of the forward differences."""

    access = "probabilities"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Train student and generator in turn."""
        if self.images not in ("generator", "noise"):
            raise BenchError(f"data_free.images is 'generator' or 'noise', not {self.images!r}")
        if self.student_steps < 1:
            raise BenchError("data_free.student_steps must be 1 or more")
        random, device = context.generator, context.device
        _, channels, height, width = data.images.shape
        shape = (channels, height, width)
        maker = Generator(shape).to(device).train()
        adam = torch.optim.Adam(maker.parameters(), lr=self.generator_lr)
        steps = 0

        def latent(count: int) -> Tensor:
            return torch.randn(count, LATENT, generator=random, device=random.device).to(device)

        def sharpen(student: nn.Module, count: int) -> None:
            """Move the generator one step up the disagreement."""
            before = maker(latent(count))
            direction = torch.randn(before.shape, generator=random, device=random.device).to(device).flatten(1)
            direction = functional.normalize(direction).view_as(before)
            student.eval()

            @torch.no_grad()
            def disagreement(a: Tensor) -> Tensor:
                x = a.sigmoid()
                return (student(x).float() - recovered(source.probabilities(x))).abs().sum(1)

            gradient = slopes(disagreement, before.detach(), direction, self.step)
            student.train()
            adam.zero_grad()
            before.backward(-gradient / count)
            adam.step()

        def loss(student: nn.Module, x: Tensor, unused: Tensor) -> Tensor:
            nonlocal steps
            if self.images == "generator":
                if steps % self.student_steps == 0:
                    with torch.autocast(device.type, enabled=False):  # bf16 has no differences so small
                        sharpen(student, len(x))
                with torch.no_grad():
                    x = maker(latent(len(x))).float().sigmoid()
            else:
                x = coarse_noise(len(x), shape, random).to(device)
            steps += 1
            return (student(x).float() - recovered(source.probabilities(x))).abs().sum(1).mean()

        blank = torch.zeros_like(data.images)
        return context.fit(build(), blank, torch.zeros_like(data.labels), length=self.length, loss=loss)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [DataFree()]
