"""IPGuard: points just across the source's decision boundary, and the labels the source gives them.

Cao, Jia, Gong: IPGuard: Protecting intellectual property of deep neural networks via fingerprinting the classification
boundary. AsiaCCS 2021. https://arxiv.org/abs/1910.12903

A seed of class i is moved until the source calls it j and would next call it i, by a margin k of logits. A copy keeps
that boundary, a network trained alone has another one; so the score is the share of points with the source's label.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Reported, Suspect, hookimpl

BATCH = 512
"""Points that are moved at once."""


def boundary_loss(logits: Tensor, i: Tensor, j: Tensor, k: float) -> Tensor:
    """Measure how far points are from lying k inside class j with class i as the runner-up.

    logits: [N, K]; i, j: int64 [N], i != j. Gives [N], >= 0; zero if and only if Z_j >= Z_i + k and Z_i >= Z_t for
    every other t.
    """
    pair = torch.stack([i, j], 1)
    own, wanted = logits.gather(1, pair).unbind(1)
    others = logits.scatter(1, pair, -torch.inf).amax(1)
    return relu(own - wanted + k) + relu(others - own)


def move(model: nn.Module, seeds: Tensor, i: Tensor, j: Tensor, k: float, lr: float, steps: int) -> Tensor:
    """Move seeds [N, C, H, W] down the loss by Adam, within [0, 1]; each rests as soon as its loss is zero."""
    points = seeds.clone()
    points.grad = torch.zeros_like(points)
    adam = torch.optim.Adam([points], lr=lr)
    moving = torch.arange(len(points), device=points.device)
    for _ in range(steps):
        x = points[moving].requires_grad_()
        loss = boundary_loss(model(x), i[moving], j[moving], k)
        (gradient,) = torch.autograd.grad(loss.sum(), x)
        unfinished = loss > 0
        moving, gradient = moving[unfinished], gradient[unfinished]
        if not len(moving):
            break
        resting = points.clone()
        points.grad.zero_()
        points.grad[moving] = gradient
        adam.step()
        resting[moving] = points[moving].clamp(0, 1)
        points.copy_(resting)
    return points


def balanced(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Order indices at random, so that any first few hold the classes as evenly as can be."""
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    turn = torch.empty_like(order)
    for label in labels.unique():
        members = labels[order] == label
        turn[members] = torch.arange(int(members.sum()), device=labels.device)
    return order[turn.argsort(stable=True)]


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """Pass an option's value, or say which ones there are."""
    if value not in choices:
        raise BenchError(f"ipguard.{name} is {value!r}, but must be one of: {', '.join(choices)}")
    return value


@dataclass(frozen=True)
class IPGuard(Fingerprint):
    """Match the source's labels on points just across its decision boundary."""

    name: str = "ipguard"
    version: int = 1
    samples: int = 100
    seeds: str = "train"
    """Where points start: `train` (the defender half), `probe`, or `noise` (uniform)."""
    target: str = "least_likely"
    """The class j: `least_likely` (smallest logit on the seed) or `random` (never i)."""
    margin: float = 0.05
    """k as a share of the source's median top-1 minus top-2 logit on the seeds."""
    k: float = 0.0
    """k itself, in logits; 0: use `margin`. The published reading is 10."""
    lr: float = 0.01
    steps: int = 1000

    budget = "samples"
    paper = "Cao, Jia, Gong: IPGuard. AsiaCCS 2021. https://arxiv.org/abs/1910.12903"

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Give float32 `points` [samples, C, H, W] in [0, 1] and the source's `labels` on them, int64 [samples]."""
        seeds, logits = self._seeds(source, data, context.generator)
        i = logits.argmax(1)
        if one_of("target", self.target, ("least_likely", "random")) == "random":
            ahead = torch.randint(1, logits.shape[1], i.shape, generator=context.generator, device=i.device)
            j = (i + ahead) % logits.shape[1]
        else:
            j = logits.argmin(1)
        best = logits.topk(2, 1).values
        k = self.k or self.margin * float((best[:, 0] - best[:, 1]).median())
        parts = zip(*(t.split(BATCH) for t in (seeds, i, j)), strict=True)
        points = torch.cat([move(source, *part, k, self.lr, self.steps) for part in parts])
        with torch.no_grad():
            final = torch.cat([source(x) for x in points.split(BATCH)])
        reached = boundary_loss(final, i, j, k) <= 1e-4 * k
        context.note(converged=round(float(reached.double().mean()), 4), k=round(k, 4))
        return {"points": points, "labels": final.argmax(1)}

    def _seeds(self, source: nn.Module, data: DefenderData, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw the seeds and give them with the source's logits: images it gets right, classes evenly."""
        if one_of("seeds", self.seeds, ("train", "probe", "noise")) == "noise":
            shape = (self.samples, *data.train.images.shape[1:])
            images = torch.rand(shape, generator=generator, device=data.train.images.device)
        else:
            split = data.train if self.seeds == "train" else data.probe
            with torch.no_grad():
                right = torch.cat([source(x).argmax(1) for x in split.x.split(BATCH)]) == split.labels
            if int(right.sum()) < self.samples:
                raise BenchError(
                    f"ipguard needs {self.samples} seeds, but the source is right on {int(right.sum())} images of "
                    f"{self.seeds} only: lower ipguard.samples, or train the source longer"
                )
            chosen = right.nonzero()[:, 0]
            chosen = chosen[balanced(split.labels[chosen], generator)[: self.samples]]
            images = split.x[chosen]
        with torch.no_grad():
            return images, torch.cat([source(x) for x in images.split(BATCH)])

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Give the matching rate, in [0, 1]: the share of points that the suspect labels as the source does."""
        return float((suspect.labels(fingerprint["points"]) == fingerprint["labels"]).double().mean())


def _reported() -> tuple[Reported, ...]:
    """List the AUCs of Guan, Liang, He: Are you stealing my model? NeurIPS 2022, appendix, Tables 3 to 5."""
    others = ("vgg13", "resnet18", "densenet121", "mobilenet_v2")
    attacks = ("finetune_a", "finetune_l", "prune", "extract_l", "extract_p", "extract_adv")
    tables = {
        ("fashion_mnist", "vgg16_bn"): (1.00, 1.00, 1.00, 0.62, 0.57, 0.34),
        ("cifar100", "vgg16_bn"): (1.00, 1.00, 1.00, 0.70, 0.80, 0.58),
        ("cifar10", "resnet34"): (1.00, 1.00, 1.00, 0.61, 0.66, 0.54),
    }
    return tuple(
        Reported(dataset, source, others if extracted else (source,), attack, auc, 20 if extracted else 10, 20)
        for (dataset, source), row in tables.items()
        for attack, auc in zip(attacks, row, strict=True)
        for extracted in [attack.startswith("extract")]
    )


IPGuard.reported = _reported()


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [IPGuard()]
