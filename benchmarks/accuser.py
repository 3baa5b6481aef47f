"""Fingerprints of any method, plugins included, tuned on an innocent network until it answers as the source does.

The accuser has the source, the innocent's weights, and an honest fingerprint. He leaves everything in it as it is but
the images: labels, correlations, signatures and whatever else the source answered to the honest images. These he moves,
each pixel within [0, 1], until innocent and source both answer to the moved images as the source did to the honest
ones. So the innocent has the score that the honest fingerprint gives the source, whatever the method compares, up to
what the optimisation leaves. Such images would fool many networks, and an innocent that scores like all others is not
accused: so the other innocents, which are the accuser's own, are kept away from these answers, one of them in each
step. What is compared decides the distance d of an answer: the cross-entropy of the source's label, the divergence
(Kullback, Leibler) from its probabilities, or the squared distance from its logits, as a share of their variance. The
loss is the mean of d for innocent and source, and of -log(1 - exp(-d)) for the other. What it reaches is a lower bound:
a loss of each method's own may do more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div

from bench.api.components import Method
from bench.core.errors import NotApplicable
from bench.core.kinds import Access
from bench.execution.scores import budget, checked_score
from bench.training.answering import weakened
from bench.training.oracle import Suspect
from bench.verification.likeness import ALIKE, PIXEL
from benchmarks.tuning import Tensors, moved

TINY = 1e-6
"""Least number that is divided by, or of which the logarithm is taken."""


class Questions(Suspect):
    """A network that records with which images a method asks, and their gradients."""

    def __init__(self, network: nn.Module, method: Method) -> None:
        super().__init__(network, method.name, budget(method), method.access)
        self.asked: list[Tensor] = []

    def _answers(self, what: str, x: Tensor) -> Tensor:
        self.asked.append(x)
        with torch.no_grad():
            answers: Tensor = self._model(x)  # type: ignore[operator]
        return weakened(answers, Access.LOGITS, what)

    def model(self) -> nn.Module:
        """Return a copy of the network that records what it is asked."""
        network = super().model()
        network.register_forward_pre_hook(lambda module, inputs: self.asked.append(inputs[0]))
        return network


class Accuser:
    """Tunes the honest fingerprint of a method, `honest`, on an innocent network; `shape` is that of an image.

    `others` are networks whose answers shall be others, if there are any.
    NotApplicable if the fingerprint holds no images, or if the method asks others than those that it holds.
    """

    def __init__(
        self,
        method: Method,
        honest: Tensors,
        shape: Sequence[int],
        source: nn.Module,
        innocent: nn.Module,
        others: Sequence[nn.Module] = (),
    ) -> None:
        self.method, self.honest, self.source, self.innocent = method, honest, source, innocent
        self.others = itertools.cycle(others)
        images = {n: t for n, t in honest.items() if list(t.shape[1:]) == list(shape) and _are_images(t)}
        self.scales = {n: 1 if t.is_floating_point() else 255 for n, t in images.items()}
        self.start = {n: t.float() / self.scales[n] for n, t in images.items()}
        if not images:
            raise NotApplicable(f"a fingerprint of {method.name} holds no images")
        asked, self.kind = self._asked(self._joined(self.start).requires_grad_())
        if not asked.requires_grad:
            raise NotApplicable(f"{method.name} asks other images than those that its fingerprint holds")
        with torch.no_grad():
            self.wanted: Tensor = source(asked)

    @staticmethod
    def _joined(images: Tensors) -> Tensor:
        return torch.cat(list(images.values()))

    def _divided(self, joined: Tensor) -> Tensors:
        return dict(zip(self.start, joined.split([len(t) for t in self.start.values()]), strict=True))

    def _asked(self, joined: Tensor) -> tuple[Tensor, str]:
        """Return the images that the method asks if its fingerprint holds these, and the kind of answers."""
        held = {n: part * self.scales[n] for n, part in self._divided(joined).items()}
        questions = Questions(self.source, self.method)
        self.method.score({**{n: t.clone() for n, t in self.honest.items()}, **held}, questions)
        if not questions.asked:
            raise NotApplicable(f"{self.method.name} asks nothing")
        return torch.cat(questions.asked), questions.strongest

    def loss(self, joined: Tensor) -> Tensor:
        """Compute how far innocent and source are from the wanted answers to what is asked, and the next other near."""
        x, _ = self._asked(joined)
        loss = self._distance(self.innocent(x)).mean() + self._distance(self.source(x)).mean()
        for other in itertools.islice(self.others, 1):
            near = (-self._distance(other(x))).exp()
            loss = loss - (1 - near).clamp_min(TINY).log().mean()
        return loss

    def _distance(self, logits: Tensor) -> Tensor:
        """Compute how far answers are from the wanted ones, [N], at least 0."""
        if self.kind == Access.LABELS:
            return cross_entropy(logits, self.wanted.argmax(1), reduction="none")
        if self.kind == Access.PROBABILITIES:
            return kl_div(logits.log_softmax(1), self.wanted.softmax(1), reduction="none").sum(1).clamp_min(0)
        return (logits - self.wanted).square().mean(1) / self.wanted.var().clamp_min(TINY)

    def tuned(self, steps: int) -> Tensors:
        """Return the fingerprint with images moved without a bound but that of pixels, in the honest one's types."""
        return self._held(moved(self._joined(self.start), self.loss, 1.0, steps))

    def tolerated(self, tuned: Tensors) -> Tensors:
        """Return a fingerprint that is as tuned as `bench judge` lets pass: for the honest one, rounded elsewhere.

        Of each tensor, the share of images that may be others is tuned, those first in which the loss is steepest; the
        others are moved towards the tuned ones by what passes for rounding.
        """
        start = self._joined(self.start).requires_grad_()
        (slope,) = torch.autograd.grad(self.loss(start), start)
        found = {}
        for name, steep in self._divided(slope).items():
            own, scale = self.start[name], self.scales[name]
            goal = tuned[name].float() / scale
            reach = PIXEL * 0.99 if scale == 1 else 0.0
            found[name] = own + (goal - own).clamp(-reach, reach)
            free = steep.flatten(1).norm(dim=1).topk(math.floor((1 - ALIKE) * len(own))).indices
            found[name][free] = goal[free]
        return self._held(self._joined(found))

    def _held(self, joined: Tensor) -> Tensors:
        images = {
            n: ((part * 255).round() if self.scales[n] > 1 else part).to(self.honest[n].dtype)
            for n, part in self._divided(joined.detach().clamp(0, 1)).items()
        }
        return {**self.honest, **images}


def _are_images(tensor: Tensor) -> bool:
    """Return True for pixels of 8 bits, or from 0 to 1."""
    if tensor.dtype == torch.uint8 or not tensor.numel():
        return bool(tensor.numel())
    return tensor.is_floating_point() and float(tensor.min()) >= 0 and float(tensor.max()) <= 1


def score(method: Method, fingerprint: Tensors, network: Any) -> float | None:
    """Return the score of a network; None if the method does not apply to it."""
    copies = {name: tensor.clone() for name, tensor in fingerprint.items()}
    try:
        return checked_score(method, copies, Suspect(network, method.name, budget(method), method.access))
    except NotApplicable:
        return None
