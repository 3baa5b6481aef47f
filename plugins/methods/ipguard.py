"""IPGuard: points just across the source's decision boundary, and the source's labels of them.

X. Cao, J. Jia, N. Z. Gong: IPGuard: Protecting Intellectual Property of Deep Neural Networks via Fingerprinting the
Classification Boundary, AsiaCCS 2021, https://arxiv.org/abs/1910.12903.

A seed of class i is moved until the source labels it j with i as the runner-up, by a margin k of logits. A copy keeps
that boundary and a network trained independently has another one. The score is the share of points on which the suspect
returns the source's label.

`ipguard` takes the largest k, relative to the source's own margins, that 95 % of the points reach on networks of the
defender's side. `ipguard_k10` takes the published k = 10, which most points of networks of `noisy_digits` do not
reach.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Reported, Suspect, hookimpl

BATCH = 512
"""Points that are moved at once."""
HALVINGS = 20
"""Halvings of the distance to its seed, by which a point is moved back to its margin."""


def boundary_loss(logits: Tensor, i: Tensor, j: Tensor, k: float) -> Tensor:
    """Compute the distance of points from the region k inside class j with class i as the runner-up.

    logits: [N, K]; i, j: int64 [N], i != j. Returns [N], >= 0; zero if and only if Z_j >= Z_i + k and Z_i >= Z_t for
    every other t.
    """
    pair = torch.stack([i, j], 1)
    own, wanted = logits.gather(1, pair).unbind(1)
    others = logits.scatter(1, pair, -torch.inf).amax(1)
    return relu(own - wanted + k) + relu(others - own)


def move(model: nn.Module, seeds: Tensor, i: Tensor, j: Tensor, k: float, lr: float, steps: int) -> Tensor:
    """Move seeds [N, C, H, W] down the loss by Adam, within [0, 1]; each stops as soon as its loss is zero.

    Adam's last step overshoots the margin: points whose loss is zero are moved back, see `moved_back`.
    """
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
        stopped = points.clone()
        points.grad.zero_()
        points.grad[moving] = gradient
        adam.step()
        stopped[moving] = points[moving].clamp(0, 1)
        points.copy_(stopped)
    return moved_back(model, seeds, points, i, j, k)


@torch.no_grad()
def moved_back(model: nn.Module, seeds: Tensor, points: Tensor, i: Tensor, j: Tensor, k: float) -> Tensor:
    """Bisect between seeds and points [N, C, H, W], and return the last points from there whose loss is zero.

    Points whose loss is not zero stay as they are.
    """

    def there(x: Tensor) -> Tensor:
        return (boundary_loss(model(x), i, j, k) == 0).reshape(-1, *[1] * (x.dim() - 1))

    found = there(points)
    near, far = torch.where(found, seeds, points), points
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        zero = there(middle) & found
        near, far = torch.where(zero, near, middle), torch.where(zero, middle, far)
    return torch.where(found, far, points)


@torch.no_grad()
def answers(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the logits of images, uint8 or float in [0, 1], in batches."""
    scale = 255 if images.dtype == torch.uint8 else 1
    return torch.cat([model(part.float() / scale) for part in images.split(BATCH)])


def lead(logits: Tensor) -> float:
    """Compute the median margin of points: the largest logit less the second one, in logits [N, K]."""
    best = logits.topk(2, 1).values
    return float((best[:, 0] - best[:, 1]).median())


def balanced(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Order indices at random, so that each prefix contains the classes as evenly as possible."""
    order = torch.randperm(len(labels), generator=generator, device=labels.device)
    turn = torch.empty_like(order)
    for label in labels.unique():
        members = labels[order] == label
        turn[members] = torch.arange(int(members.sum()), device=labels.device)
    return order[turn.argsort(stable=True)]


ATTACKS = ("finetune_a", "finetune_l", "prune", "extract_l", "extract_p", "extract_adv")
THIEVES = ("vgg13", "resnet18", "densenet121", "mobilenet_v2")
REPORTED = {
    ("fashion_mnist", "vgg16_bn"): (1.00, 1.00, 1.00, 0.62, 0.57, 0.34),
    ("cifar100", "vgg16_bn"): (1.00, 1.00, 1.00, 0.70, 0.80, 0.58),
    ("cifar10", "resnet34"): (1.00, 1.00, 1.00, 0.61, 0.66, 0.54),
}
"""AUCs in the order of ATTACKS: J. Guan, J. Liang, R. He: Are You Stealing My Model?, NeurIPS 2022, Tables 3 to 5."""


@dataclass(frozen=True)
class IPGuard(Fingerprint):
    """Match the source's labels on points just across its decision boundary."""

    name: str = "ipguard"
    version: int = 3
    samples: int = 100
    start: str = "train"
    """Where points start: correctly classified images of `train` (the defender half) or `probe`, or uniform `noise`."""
    target: str = "random"
    """The class j: `random` (never i) or `least_likely` (smallest logit on the seed)."""
    margin: float = 0.75
    """k as a share of the source's median top-1 minus top-2 logit on the seeds."""
    k: float = 0.0
    """k itself, in logits; 0: use `margin`. The published reading is 10."""
    lr: float = 0.01
    steps: int = 1000

    access = "labels"
    budget = "samples"
    paper = (
        "X. Cao, J. Jia, N. Z. Gong: IPGuard: Protecting Intellectual Property of Deep Neural Networks via "
        "Fingerprinting the Classification Boundary, AsiaCCS 2021, https://arxiv.org/abs/1910.12903"
    )
    reported = tuple(
        Reported(dataset, source, THIEVES, attack, auc, 20, 20)
        if "extract" in attack
        else Reported(dataset, source, (source,), attack, auc, 10, 20)
        for (dataset, source), row in REPORTED.items()
        for attack, auc in zip(ATTACKS, row, strict=True)
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return float32 `points` [samples, C, H, W] in [0, 1] and the source's `labels` on them, int64 [samples]."""
        for name, choices in (("start", ("train", "probe", "noise")), ("target", ("random", "least_likely"))):
            if (value := getattr(self, name)) not in choices:
                raise BenchError(f"{self.name}.{name} is {value!r}, but must be one of: {', '.join(choices)}")
        seeds = self._seeds(source, data, context)
        logits = answers(source, seeds)
        i, j = logits.argmax(1), logits.argmin(1)
        if self.target == "random":
            ahead = torch.randint(1, logits.shape[1], i.shape, generator=context.generator, device=i.device)
            j = (i + ahead) % logits.shape[1]
        k = self.k or self.margin * lead(logits)
        parts = zip(seeds.split(BATCH), i.split(BATCH), j.split(BATCH), strict=True)
        points = torch.cat([move(source, x, own, other, k, self.lr, self.steps) for x, own, other in parts])
        final = answers(source, points)
        # A point stops when its loss is exactly zero; in a batch of another size the loss may be a rounding error.
        converged = float((boundary_loss(final, i, j, k) <= 1e-3 * k).double().mean())
        context.note(converged=round(converged, 4), k=round(k, 4), reached=round(lead(final), 4))
        if converged < 0.5:
            context.note(warning="fewer than half of the points reached the margin k")
        return {"points": points, "labels": final.argmax(1)}

    def _seeds(self, source: nn.Module, data: DefenderData, context: Context) -> Tensor:
        """Draw the images that points start from: ones that the source classifies correctly, the classes evenly."""
        split = data.probe if self.start == "probe" else data.train
        if self.start == "noise":
            shape = (self.samples, *split.images.shape[1:])
            return torch.rand(shape, generator=context.generator, device=split.images.device)
        right = (answers(source, split.images).argmax(1) == split.labels).nonzero()[:, 0]
        if len(right) < self.samples:
            raise BenchError(
                f"{self.name} needs {self.samples} images of {self.start} that the source gets right, but there are "
                f"{len(right)}: lower {self.name}.samples or train the source longer"
            )
        chosen = right[balanced(split.labels[right], context.generator)[: self.samples]]
        return split.images[chosen].float() / 255

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the matching rate, in [0, 1]: the share of points that the suspect labels as the source does."""
        return float((suspect.labels(fingerprint["points"]) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method and its published reading."""
    return [IPGuard(), IPGuard(name="ipguard_k10", target="least_likely", k=10.0)]
