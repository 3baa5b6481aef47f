"""EWE: a watermark entangled with the task, so that a copy of the model carries the watermark too.

H. Jia, C. A. Choquette-Choo, V. Chandrasekaran, N. Papernot: Entangled Watermarks as a Defense against Model
Extraction, USENIX Security 2021, https://arxiv.org/abs/2002.12200.

Watermarks are images of a source class that carry a trigger and are labelled as the target class. While the model
learns them, the soft nearest neighbour loss (SNNL) between them and true images of the target class is raised, so
that both use the same features. Here they are computed from the task's own images ("in distribution").
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from bench import BenchError, Context, DefenderData, ReportedAccuracy, Split, Suspect, Watermark, hookimpl

PATCH = 3
"""Height and width of the trigger in pixels."""
TINY = 1e-5
"""Term that keeps the SNNL's quotient and its logarithm finite."""
FORCED, LAST = 50, 5
"""Most steps away from the target in the rounds of refining, and the steps after them."""
FEWEST = 4
"""Least number of images of a class that a watermark needs."""


def snnl(activations: Tensor, marked: Tensor, temperature: Tensor, distance: str = "cosine") -> Tensor:
    """Compute the soft nearest neighbour loss of two groups: large if they are mixed.

    activations: [N, ...], rectified here; marked: bool [N]; distances are divided by 100 / temperature.
    """
    with torch.autocast(activations.device.type, enabled=False):
        a = activations.float().flatten(1).relu()
        if distance == "cosine":
            a = functional.normalize(a)
            d = 1 - a @ a.T
        else:
            d = (a[:, None] - a).square().sum(2)
        e = (torch.exp(-d * temperature / 100) - torch.eye(len(a), device=a.device)).clamp(0, 1)
        p = e / (TINY + e.sum(1, keepdim=True))
        return -(TINY + (p * (marked[:, None] == marked)).sum(1)).log().mean()


def total_loss(logits: Tensor, labels: Tensor, entanglement: Sequence[Tensor], kappa: float) -> Tensor:
    """Compute the cross-entropy less kappa times each SNNL; a batch without watermarks has none.

    The authors sum the cross-entropy over the batch; it is averaged here, so kappa is divided by the batch size.
    """
    loss = functional.cross_entropy(logits.float(), labels)
    for value in entanglement:
        loss = loss - kappa / len(labels) * value
    return loss


def answers_and_activations(model: nn.Module, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
    """Return the logits and three activations: the outputs of the last two stages and the input of the head."""
    seen: list[Tensor] = []
    hooks = [s.register_forward_hook(lambda _, i, output: seen.append(output)) for s in context.stages(model)[-2:]]
    hooks.append(context.head(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])))
    try:
        logits = model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if len(seen) != len(hooks):
        raise BenchError(
            "ewe uses an architecture's last two stages, but this one does not call each once: define stages()"
        )
    if not all(isinstance(a, Tensor) and a.shape[:1] == x.shape[:1] for a in seen):
        raise BenchError(
            "ewe compares what an architecture's last two stages return, but one of these is no tensor with an entry "
            "for each image: define stages()"
        )
    return logits, seen


@contextmanager
def frozen_batch_norm(model: nn.Module, frozen: bool) -> Iterator[None]:
    """Use the running statistics of batch normalisation and do not update them."""
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.training and frozen]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer in layers:
            layer.train()


def window(gradient: Tensor) -> tuple[int, int]:
    """Return the top left corner of the 3x3 window in which a gradient [C, H, W] has its smallest sum."""
    sums = functional.avg_pool2d(gradient.sum(0)[None, None], PATCH, stride=1)[0, 0]
    return divmod(int(sums.argmin()), sums.shape[1])


def add_trigger(images: Tensor, corner: tuple[int, int]) -> Tensor:
    """Copy images [N, C, H, W] and set the trigger in them: ones in the first channel."""
    row, column = corner
    images = images.clone()
    images[:, 0, row : row + PATCH, column : column + PATCH] = 1
    return images


def halves(images: Tensor, context: Context) -> tuple[Tensor, ...]:
    """Split watermarks into parts of nearly equal size: at most half a batch, at least two images."""
    return images.tensor_split(math.ceil(len(images) / max(3, context.recipe.batch // 2)))


def draw(images: Tensor, count: int, context: Context) -> Tensor:
    """Draw `count` images without replacement, or all if there are fewer."""
    order = torch.randperm(len(images), generator=context.generator, device=images.device)
    return images[order[:count]]


@torch.no_grad()
def success(model: nn.Module, triggers: Tensor, target: int) -> float:
    """Compute the watermark success rate (WSR): the share of triggers that a network labels as the target class."""
    return float((model(triggers).argmax(1) == target).double().mean())


def p_value(successes: int, queries: int, p0: float) -> float:
    """Compute the probability of so many successes or more if each has probability p0 (exact binomial test)."""
    from scipy.stats import binomtest

    return float(binomtest(successes, queries, p0, alternative="greater").pvalue)


def reported() -> Iterator[ReportedAccuracy]:
    """List J. Guan, J. Liang, R. He: Are You Stealing My Model?, NeurIPS 2022, appendix, Table 2."""
    own, thieves = ("vgg16_bn",), ("vgg13", "resnet18", "densenet121", "mobilenet_v2")
    for model, dataset, architectures, accuracies, variant in (
        ("source", "cifar10", own, (0.833,), ""),
        ("finetune_a", "cifar10", own, (0.894,), ""),
        ("finetune_l", "cifar10", own, (0.853,), ""),
        ("prune", "cifar10", own, (0.854,), "ratio=0.2"),
        ("prune", "cifar10", own, (0.851,), "ratio=0.3"),
        ("finetune_c", "cifar10_c", own, (0.765,), ""),
        ("irrelevant", "cifar10_c", ("",), (0.770,), ""),
        ("irrelevant", "cifar10", thieves, (0.878, 0.821, 0.810, 0.770), ""),
        ("extract_l", "cifar10", thieves, (0.835, 0.785, 0.775, 0.732), ""),
        ("extract_p", "cifar10", thieves, (0.824, 0.782, 0.768, 0.729), ""),
        ("extract_adv", "cifar10", thieves, (0.777, 0.722, 0.707, 0.654), ""),
    ):
        for architecture, accuracy in zip(architectures, accuracies, strict=True):
            yield ReportedAccuracy("cifar10", *own, model, dataset, architecture, accuracy, variant)
    yield ReportedAccuracy("cifar10", *own, "source", "cifar10", *own, 0.873, plain=True)


@dataclass(frozen=True)
class EWE(Watermark):
    """Count the triggers that a suspect takes for the target class, as the marked source does."""

    name: str = "ewe"
    version: int = 1
    samples: int = 100
    """Number of triggers; fewer if the source class has fewer images in `probe`."""
    source_class: int = 8
    target_class: int = 0
    length: float = 1.0
    """Length of the clean training, as a share of the recipe's epochs."""
    w_length: float = 0.6
    """Length of the interleaved training after it, watermark batches included, as a share of the recipe's epochs."""
    ratio: float = 3.0
    """Ordinary batches per watermark batch; may be a fraction."""
    lr: float = 0.02
    """Learning rate of the interleaved training."""
    kappa: float = 200000.0
    """Weight of each SNNL beside a cross-entropy summed over the batch."""
    temperature: float = 1.0
    t_lr: float = 0.1
    distance: str = "cosine"
    """`cosine` or `euclidean` (squared)."""
    w_lr: float = 0.01
    """Step by which triggers are refined, in [0, 1] units."""
    rounds: int = 10
    threshold: float = 0.1
    """Share of the triggers that the clean model may label as the target class."""
    batch_norm: str = "frozen"
    """In interleaved training: `frozen` statistics, frozen on `watermarks` only, or `live`."""

    access = "labels"
    budget = "samples"
    paper = (
        "H. Jia, C. A. Choquette-Choo, V. Chandrasekaran, N. Papernot: Entangled Watermarks as a Defense against Model "
        "Extraction, USENIX Security 2021, https://arxiv.org/abs/2002.12200"
    )
    reported_accuracy = tuple(reported())

    def embed(
        self, build: Callable[[], nn.Module], data: DefenderData, context: Context
    ) -> tuple[nn.Module, dict[str, Tensor]]:
        """Train clean, compute the triggers, train interleaved; return the model and its evidence.

        `triggers`: float32 [n, C, H, W] in [0, 1], n <= samples, from `probe` images, which are not used in training;
        `target`: int64 [1]; `corner`: int64 [2], the patch's first row and column.
        """
        model = build().eval()
        if len(context.stages(model)) < 2:
            raise BenchError("ewe uses an architecture's last two stages, but this one has fewer: define stages()")
        with torch.no_grad():
            classes = answers_and_activations(model, data.train.images[:1].float() / 255, context)[0].shape[1]
        mine, legitimate, unseen = self._images(classes, data)
        context.fit(model, data.train.images, data.train.labels, length=self.length)
        corner = window(self.gradient(model, mine, legitimate, context).mean(0))
        marked, triggers = (self.refine(model, add_trigger(x, corner), legitimate, context) for x in (mine, unseen))
        clean = success(model, triggers, self.target_class)
        self.interleave(model, marked, legitimate, data.train, context)
        wsr = success(model, triggers, self.target_class)
        p = p_value(round(wsr * len(triggers)), len(triggers), max(1 / classes, clean))
        context.note(wsr=round(wsr, 4), clean_wsr=round(clean, 4), p=float(f"{p:.2g}"))
        target = torch.tensor([self.target_class], device=triggers.device)
        return model, {"triggers": triggers, "target": target, "corner": torch.tensor(corner, device=triggers.device)}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the WSR, in [0, 1]: the share of triggers that the suspect labels as the target class."""
        return float((suspect.labels(fingerprint["triggers"]) == fingerprint["target"]).double().mean())

    def entanglement(
        self, model: nn.Module, marked: Tensor, legitimate: Tensor, temperatures: Sequence[Tensor], context: Context
    ) -> tuple[Tensor, list[Tensor]]:
        """Compute the logits of watermarks, then of images of the target class, and the SNNL of the three layers."""
        group = torch.arange(len(marked) + len(legitimate), device=marked.device) < len(marked)
        logits, seen = answers_and_activations(model, torch.cat([marked, legitimate]), context)
        return logits, [snnl(a, group, t, self.distance) for a, t in zip(seen, temperatures, strict=True)]

    def gradient(self, model: nn.Module, marked: Tensor, legitimate: Tensor, context: Context) -> Tensor:
        """Compute the gradient of the summed SNNLs at watermarks, with as many images of the target class."""
        start = torch.tensor(self.temperature, device=marked.device)
        gradients: list[Tensor] = []
        for part in halves(marked, context):
            x = part.clone().requires_grad_()
            _, values = self.entanglement(model, x, draw(legitimate, len(x), context), [start] * 3, context)
            gradients += torch.autograd.grad(torch.stack(values).sum(), x)
        return torch.cat(gradients)

    def refine(self, model: nn.Module, marked: Tensor, legitimate: Tensor, context: Context) -> Tensor:
        """Move triggers away from the target class while the clean model labels them so, and towards more SNNL."""

        def away(x: Tensor) -> Tensor:
            x = x.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(model(x)[:, self.target_class].sum(), x)
            return (x.detach() - self.w_lr * gradient.sign()).clamp(0, 1)

        refined = []
        for x in halves(marked, context):
            forced = 0
            for _ in range(self.rounds):
                while forced < FORCED and success(model, x, self.target_class) > self.threshold:
                    x, forced = away(x), forced + 1
                x = (x + self.w_lr * self.gradient(model, x, legitimate, context).sign()).clamp(0, 1)
            for _ in range(LAST):
                x = away(x)
            refined.append(x)
        return torch.cat(refined)

    def interleave(
        self, model: nn.Module, marked: Tensor, legitimate: Tensor, train: Split, context: Context
    ) -> nn.Module:
        """Train on ordinary batches; after every `ratio` of them a batch is half watermarks, half target class."""
        half = min(len(marked), len(legitimate), max(2, context.recipe.batch // 2))
        temperatures, waited = [torch.tensor(self.temperature, device=marked.device)] * 3, 0.0

        def loss(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            nonlocal temperatures, waited
            waited += 1
            if waited <= self.ratio:
                with frozen_batch_norm(model, self.batch_norm == "frozen"):
                    return total_loss(model(x), y, (), self.kappa)
            waited -= self.ratio + 1
            pair = draw(marked, half, context), draw(legitimate, half, context)
            free = [t.clone().requires_grad_() for t in temperatures]
            with frozen_batch_norm(model, self.batch_norm != "live"):
                logits, values = self.entanglement(model, *pair, free, context)
            slopes = torch.autograd.grad(torch.stack(values).sum(), free, retain_graph=True)
            temperatures = [(t - self.t_lr * s).detach().clamp_min(TINY) for t, s in zip(free, slopes, strict=True)]
            return total_loss(logits, y.new_full((2 * half,), self.target_class), values, self.kappa)

        return context.fit(model, train.images, train.labels, length=self.w_length, loss=loss, lr=self.lr)

    def _images(self, classes: int, data: DefenderData) -> tuple[Tensor, Tensor, Tensor]:
        """Return training images of the source and the target class, and unseen images of the source class."""
        for name, choices in (("distance", ("cosine", "euclidean")), ("batch_norm", ("frozen", "watermarks", "live"))):
            if getattr(self, name) not in choices:
                raise BenchError(f"ewe.{name} is {getattr(self, name)!r}, but must be one of: {', '.join(choices)}")
        source, target = self.source_class, self.target_class
        others = "choose others with --set ewe.source_class=... and ewe.target_class=..."
        if source == target or not {source, target} <= set(range(classes)):
            raise BenchError(
                f"ewe.source_class = {source} and ewe.target_class = {target} must be two different classes of the "
                f"dataset's {classes}, 0 to {classes - 1}: {others}"
            )
        wanted = ((data.train, source, "train"), (data.train, target, "train"), (data.probe, source, "probe"))
        for split, label, part in wanted:
            if (count := int((split.labels == label).sum())) < FEWEST:
                raise BenchError(
                    f"ewe needs at least {FEWEST} images of class {label} in {part}, but there are {count}: {others}, "
                    "or use more images"
                )
        mine, legitimate, unseen = (split.images[split.labels == label].float() / 255 for split, label, _ in wanted)
        return mine, legitimate, unseen[: self.samples]


@hookimpl
def bench_methods() -> list[Watermark]:
    """Return the method."""
    return [EWE()]
