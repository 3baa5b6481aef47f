"""Dataset inference: is the suspect surer of the owner's training images than of images that it cannot know?

P. Maini, M. Yaghini, N. Papernot: Dataset Inference: Ownership Resolution in Machine Learning, ICLR 2021,
https://arxiv.org/abs/2104.10706. An image's features are how far the suspect's decision boundary is from it: by labels
only, the steps along random directions until the label is not the true one (Blind Walk); with weights, the distances
in three norms to images of other classes, by gradient descent (MinGD). A regressor, fitted on the source, tells
features of its training images from those of unseen ones. The regressor's values of a suspect on private images and on
public ones are compared by a one-sided t-test; the score is -log10 of its p-value.

That p-value is of the images, not of networks: it asks if the suspect treats both groups alike. S. Szyller, R. Zhang,
J. Liu, N. Asokan: On the Robustness of Dataset Inference, TMLR 2023, https://arxiv.org/abs/2210.13631, show that
networks trained on other data of the same distribution are accused, too. So it is no exact test.

Deviations: the regressor is linear, by least squares, on images that no suspect is asked about. Directions are of
uniform, normal and Laplacian noise in turn. All steps of a walk are asked at once, so every suspect is asked equally
much. Gradient descent aims at a few classes, takes steps of equal length in all norms, and stops at the boundary.
Unseen images are those of `probe`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl

FITTED = 150
"""Most images of each group on which the regressor is fitted."""


def directions(count: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Draw directions [count, C, H, W] of uniform, normal and Laplacian noise in turn, each of mean square 1."""
    size = (count, *shape)
    uniform = torch.rand(size, generator=generator, device=generator.device) * 2 - 1
    normal = torch.randn(size, generator=generator, device=generator.device)
    u = torch.rand(size, generator=generator, device=generator.device) - 0.5
    laplace = -u.sign() * (1 - 2 * u.abs()).clamp_min(1e-6).log()
    found = torch.stack([(uniform, normal, laplace)[i % 3][i] for i in range(count)])
    return found / found.square().mean((1, 2, 3), keepdim=True).sqrt()


def walk(x: Tensor, along: Tensor, steps: int, step: float) -> Tensor:
    """Compute the images on walks of N images along D directions, of 1 to `steps` steps: [N D steps, C, H, W]."""
    far = step * torch.arange(1, steps + 1, device=x.device).reshape(1, 1, -1, 1, 1, 1)
    return (x[:, None, None] + far * along[None, :, None]).clamp(0, 1).flatten(0, 2)


def lengths(labels: Tensor, truth: Tensor, walks: int) -> Tensor:
    """Count the images of each walk before the label is not the true one, from the labels of all walks in turn.

    truth: [N]. Returns float64 [N, walks].
    """
    right = labels.reshape(len(truth), walks, -1) == truth[:, None, None]
    return right.double().cumprod(2).sum(2)


def uphill(gradient: Tensor, norm: str) -> Tensor:
    """Return the directions of steepest ascent [N, C, H, W] of gradients, each of mean square 1: `linf`, `l2` or `l1`.

    The last one changes the tenth of the pixels with the largest gradients.
    """
    flat = gradient.flatten(1)
    if norm == "linf":
        found = flat.sign()
    elif norm == "l2":
        found = flat
    else:
        best = flat.abs().topk(max(1, flat.shape[1] // 10), dim=1).indices
        found = torch.zeros_like(flat).scatter(1, best, flat.gather(1, best).sign())
    return functional.normalize(found, dim=1).reshape(gradient.shape) * math.sqrt(flat.shape[1])


def size(change: Tensor, norm: str) -> Tensor:
    """Return the sizes [N] of changes: the largest (`linf`), root mean square (`l2`) or mean (`l1`) of all pixels."""
    flat = change.flatten(1)
    return {"linf": flat.abs().amax(1), "l2": flat.square().mean(1).sqrt(), "l1": flat.abs().mean(1)}[norm]


def distances(model: nn.Module, x: Tensor, targets: Tensor, steps: int, step: float) -> Tensor:
    """Compute the sizes of the changes in which gradient descent ends: float64 [N, 3 T], by norm and target class.

    A change ends where the network answers the target [T], or after `steps` steps of root mean square `step`.
    """
    aim = targets.repeat(len(x))
    start = x.repeat_interleave(len(targets), dim=0).detach()
    found = []
    for norm in ("linf", "l2", "l1"):
        now = start
        for _ in range(steps):
            now = now.detach().requires_grad_()
            logits = model(now)
            (gradient,) = torch.autograd.grad(functional.cross_entropy(logits, aim, reduction="sum"), now)
            on = (logits.argmax(1) != aim)[:, None, None, None]
            now = torch.where(on, now - step * uphill(gradient, norm), now).clamp(0, 1)
        found.append(size(now.detach() - start, norm).reshape(len(x), -1))
    return torch.cat(found, 1).double()


def log10_p(private: Tensor, public: Tensor) -> float:
    """Compute log10 of the p-value of Welch's one-sided t-test that the mean of private values is the larger one.

    B. L. Welch, Biometrika 34, 1947. log10(1/2) if neither group varies and both are equal.
    """
    from scipy.stats import t

    parts = [float(v.var(correction=1)) / len(v) + 1e-24 for v in (private, public)]
    freedom = sum(parts) ** 2 / sum(p**2 / (len(v) - 1) for p, v in zip(parts, (private, public), strict=True))
    statistic = float(private.mean() - public.mean()) / math.sqrt(sum(parts))
    return float(t.logsf(statistic, freedom)) / math.log(10)


def draw(data: DefenderData, images: int, generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], ...]:
    """Draw images that suspects are asked about, and others to fit on: images [2n, C, H, W] and labels [2n] of each.

    At most `images` private ones come before as many public ones. BenchError if there are too few images.
    """
    splits = data.train, data.probe
    count = min(images, *(len(split) // 2 for split in splits))
    if count < 2:
        raise BenchError("dataset_inference needs 4 images or more of each group, half of them to fit its regressor on")
    both = min(count + FITTED, *map(len, splits))
    device, groups = data.train.images.device, []
    for split in splits:
        order = torch.randperm(len(split), generator=generator, device=generator.device)[:both].to(device)
        groups.append((split.images[order].float() / 255, split.labels[order]))
    (x, truth), (public, labels) = groups
    return tuple(
        (torch.cat([x[part], public[part]]), torch.cat([truth[part], labels[part]]))
        for part in (slice(count), slice(count, None))
    )


def fit(values: Tensor) -> Tensor:
    """Fit a regressor by least squares: 1 on the first half of features [2n, F], -1 on the second; float64 [F + 1]."""
    design = functional.pad(values, (0, 1), value=1.0)
    wanted = torch.ones(len(values) // 2, dtype=values.dtype, device=values.device)
    return torch.linalg.pinv(design) @ torch.cat([wanted, -wanted])


def judged(regressor: Tensor, values: Tensor) -> float:
    """Return -log10 of the p-value of features [2n, F], those of private images in the first half; from 0 upwards."""
    return abs(log10_p(*(functional.pad(values, (0, 1), value=1.0) @ regressor).chunk(2)))


@dataclass(frozen=True)
class DatasetInference(Fingerprint):
    """Compare how far the suspect's boundary is from the owner's training images and from unseen ones."""

    name: str = "dataset_inference"
    version: int = 1
    images: int = 50
    """Images of each group on which a suspect is judged."""
    walks: int = 6
    """Directions from each image; a suspect is asked about all `steps` in all of them."""
    steps: int = 10
    """Of each walk, or of gradient descent at most."""
    step: float = 0.05
    """Length of a step: root mean square change of a pixel, in [0, 1] units."""
    features: str = "walk"
    """`walk`, by labels; or `descent`, by weights (MinGD)."""
    targets: int = 5
    """Classes that the descent aims at, drawn once; all, where there are fewer."""

    paper = (
        "P. Maini, M. Yaghini, N. Papernot: Dataset Inference: Ownership Resolution in Machine Learning, ICLR 2021, "
        "https://arxiv.org/abs/2104.10706"
    )

    @property
    def access(self) -> str:
        """Return what it asks for: labels of the walks, or weights to descend."""
        return "weights" if self.features == "descent" else "labels"

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return `images` [2n, C, H, W], n private ones before n public ones, with their `truth`, int64 [2n].

        Also the directions `along` [walks, C, H, W] or the `targets`, int64 [T], and the `regressor`, float64
        [F + 1], its last element the constant.
        """
        self._check()
        random, device = context.generator, data.train.images.device
        found: dict[str, Tensor] = {}
        if self.features == "walk":
            found["along"] = directions(self.walks, tuple(data.train.images.shape[1:]), random).to(device)
        else:
            with torch.no_grad():
                classes = source(data.train.images[:1].float() / 255).shape[1]
            order = torch.randperm(classes, generator=random, device=random.device)
            found["targets"] = order[: self.targets].to(device)
        asked, fitted = draw(data, self.images, random)

        def labels(x: Tensor) -> Tensor:
            with torch.no_grad():
                return torch.cat([source(part).argmax(1) for part in x.split(512)])

        found["regressor"] = fit(self._values(found, *fitted, labels, lambda: source))
        own = judged(found["regressor"], self._values(found, *asked, labels, lambda: source))
        context.note(images=len(asked[0]) // 2, source=round(own, 2))
        return {**found, "images": asked[0], "truth": asked[1]}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return -log10 of the p-value, from 0 upwards."""
        asked = fingerprint["images"], fingerprint["truth"]
        return judged(fingerprint["regressor"], self._values(fingerprint, *asked, suspect.labels, suspect.model))

    def _check(self) -> None:
        if self.features not in ("walk", "descent"):
            raise BenchError(f"{self.name}.features is walk or descent, not {self.features!r}")
        if self.images < 2 or min(self.walks, self.steps, self.targets) < 1 or not self.step > 0:
            raise BenchError(f"{self.name} needs 2 images or more, 1 walk, step and target, and a step above 0")

    def _values(
        self,
        found: dict[str, Tensor],
        x: Tensor,
        truth: Tensor,
        labels: Callable[[Tensor], Tensor],
        model: Callable[[], nn.Module],
    ) -> Tensor:
        """Compute the features of images of a network, float64 [N, F]: by its labels or by its weights."""
        if self.features == "walk":
            return lengths(labels(walk(x, found["along"], self.steps, self.step)), truth, len(found["along"]))
        network = model()
        parts = [distances(network, part, found["targets"], self.steps, self.step) for part in x.split(100)]
        return torch.cat(parts)


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [DatasetInference()]
