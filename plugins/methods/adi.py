"""Adi: a backdoor as a watermark, abstract images with random labels.

Y. Adi, C. Baum, M. Cisse, B. Pinkas, J. Keshet: Turning Your Weakness Into a Strength: Watermarking Deep Neural
Networks by Backdooring, USENIX Security 2018, https://arxiv.org/abs/1802.04633. The source learns a trigger set,
abstract images that have nothing to do with the task, with labels that are drawn at random; it is trained from scratch
on images and triggers ("FromScratch"), a few triggers in every batch. A suspect is a copy if it gets the labels of the
triggers.

Deviations: the abstract images are computed, a few cells in full colours; the paper's are pictures of abstract art.
Triggers are not augmented. More of them are in a batch than the paper's two of a hundred, since trainings here have a
hundred steps and not a hundred thousand. The paper's commitment to the triggers is no part of a score.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, Context, DefenderData, Suspect, Watermark, hookimpl


def abstract(count: int, shape: tuple[int, int, int], cells: int, generator: torch.Generator) -> Tensor:
    """Draw images of a few cells, each of one colour without halftones, uint8 [count, C, H, W]."""
    coarse = torch.rand(count, shape[0], cells, cells, generator=generator, device=generator.device).round()
    return (functional.interpolate(coarse, size=shape[1:], mode="nearest") * 255).to(torch.uint8)


@dataclass(frozen=True)
class Adi(Watermark):
    """Count the abstract images that a suspect labels as the marked source does."""

    name: str = "adi"
    version: int = 1
    samples: int = 100
    """Triggers."""
    length: float = 1.0
    share: float = 0.25
    """Triggers in a batch, as a share of its images."""
    cells: int = 4
    """Coloured cells of a trigger along each side."""

    access = "labels"
    budget = "samples"
    paper = (
        "Y. Adi, C. Baum, M. Cisse, B. Pinkas, J. Keshet: Turning Your Weakness Into a Strength: Watermarking Deep "
        "Neural Networks by Backdooring, USENIX Security 2018, https://arxiv.org/abs/1802.04633"
    )

    def embed(
        self, build: Callable[[], nn.Module], data: DefenderData, context: Context
    ) -> tuple[nn.Module, dict[str, Tensor]]:
        """Train on images and triggers; return the model, the `triggers`, uint8 [n, C, H, W], and `labels` [n]."""
        if min(self.samples, self.cells) < 1 or not 0 < self.share <= 1:
            raise BenchError("adi.samples and adi.cells must be 1 or more, and adi.share above 0 and at most 1")
        model, random, device = build(), context.generator, context.device
        with torch.no_grad():
            classes = model.eval()(data.train.images[:1].float() / 255).shape[1]
        _, channels, height, width = data.train.images.shape
        triggers = abstract(self.samples, (channels, height, width), self.cells, random).to(device)
        labels = torch.randint(classes, (self.samples,), generator=random, device=random.device).to(device)

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            count = max(1, round(self.share * len(x)))
            mine = torch.randperm(self.samples, generator=random, device=random.device)[:count].to(device)
            logits = network(torch.cat([x, triggers[mine].float() / 255])).float()
            return functional.cross_entropy(logits, torch.cat([y, labels[mine]]))

        context.fit(model, data.train.images, data.train.labels, length=self.length, loss=loss)
        with torch.no_grad():
            learned = float((model(triggers.float() / 255).argmax(1) == labels).double().mean())
        context.note(learned=round(learned, 4))
        return model, {"triggers": triggers, "labels": labels}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the share of triggers that get the label they were given, in [0, 1]."""
        answers = suspect.labels(fingerprint["triggers"].float() / 255)
        return float((answers == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods() -> list[Watermark]:
    """Return the method."""
    return [Adi()]
