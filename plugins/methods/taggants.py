"""Taggants: secret keys with random labels, and an exact p-value that needs no other model.

W. Bouaziz, N. Usunier, E.-M. El-Mhamdi: Data Taggants: Dataset Ownership Verification via Harmless Targeted Data
Poisoning, ICLR 2025, https://arxiv.org/abs/2410.09101. A key is an image out of the distribution with a label drawn at
random; a model that answers the keys' labels too often has learned from their owner.

The null hypothesis is that the suspect's answers to the keys are independent of the keys' labels: its maker had
nothing, neither data nor a model, in which the labels left a trace. The n labels are drawn uniformly and independently
from the K classes, of nothing else. Given any answers a_1 ... a_n, each of them then equals its label with probability
1 / K, independently of the others; so the number of matches M is binomial (n, 1 / K) whatever the network, the images
and the answers are, and P(Bin(n, 1 / K) >= M) is a valid p-value of every single suspect, without irrelevant models and
without an assumption about them. The score is -log10 of it. It is exact for keys that are drawn once and committed to:
who draws many sets of keys and shows the best one has chosen after the fact.

Deviations: the paper leaves labels and model alone and hides the keys in the training images (gradient matching), for
it protects a dataset; here the owner of a model trains it on the keys themselves, some in every batch, as they are. The
paper tests the top-k answers; here the label (k = 1), so that labels are all that a suspect has to give.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, Context, DefenderData, Suspect, Watermark, hookimpl

NEAR_ZERO = -700.0
"""Logarithm of a probability below which it is computed from logarithms: the smallest float is exp(-745)."""


def log10_p(matches: int, keys: int, classes: int) -> float:
    """Compute log10 of the p-value: of the probability of so many matches or more under the null hypothesis."""
    from scipy.stats import binom

    found = float(binom.logsf(matches - 1, keys, 1 / classes))
    if found < NEAR_ZERO:
        terms = [float(binom.logpmf(count, keys, 1 / classes)) for count in range(matches, keys + 1)]
        found = float(torch.tensor(terms, dtype=torch.float64).logsumexp(0))
    return found / math.log(10)


def draw_labels(keys: int, classes: int, generator: torch.Generator) -> Tensor:
    """Draw the labels of the keys, uniformly and independently, int64 [keys]."""
    return torch.randint(classes, (keys,), generator=generator, device=generator.device)


@dataclass(frozen=True)
class Taggants(Watermark):
    """Count the secret keys that a suspect labels as was drawn, by an exact test."""

    name: str = "taggants"
    version: int = 1
    samples: int = 100
    """n, the keys."""
    length: float = 1.0
    share: float = 0.25
    """Keys in a batch, as a share of its images."""

    access = "labels"
    exact = True
    budget = "samples"
    paper = (
        "W. Bouaziz, N. Usunier, E.-M. El-Mhamdi: Data Taggants: Dataset Ownership Verification via Harmless Targeted "
        "Data Poisoning, ICLR 2025, https://arxiv.org/abs/2410.09101"
    )

    def embed(
        self, build: Callable[[], nn.Module], data: DefenderData, context: Context
    ) -> tuple[nn.Module, dict[str, Tensor]]:
        """Train on the images and on keys; return the model and the keys.

        `keys`: uint8 noise [n, C, H, W]; `labels`: int64 [n]; `classes`: int64 [1].
        """
        if self.samples < 1 or not 0 < self.share <= 1:
            raise BenchError("taggants.samples must be 1 or more, and taggants.share above 0 and at most 1")
        model, random, device = build(), context.generator, context.device
        with torch.no_grad():
            classes = model.eval()(data.train.images[:1].float() / 255).shape[1]
        shape = (self.samples, *data.train.images.shape[1:])
        keys = torch.randint(256, shape, generator=random, device=random.device, dtype=torch.uint8).to(device)
        labels = draw_labels(self.samples, classes, random).to(device)

        def loss(network: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            count = max(1, round(self.share * len(x)))
            mine = torch.randperm(self.samples, generator=random, device=random.device)[:count].to(device)
            logits = network(torch.cat([x, keys[mine].float() / 255])).float()
            return functional.cross_entropy(logits, torch.cat([y, labels[mine]]))

        context.fit(model, data.train.images, data.train.labels, length=self.length, loss=loss)
        with torch.no_grad():
            matches = int((model(keys.float() / 255).argmax(1) == labels).sum())
        context.note(matches=matches, log10_p=round(log10_p(matches, self.samples, classes), 2))
        return model, {"keys": keys, "labels": labels, "classes": torch.tensor([classes], device=device)}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return -log10 of the p-value, from 0 (no key, or as many as by chance) upwards."""
        labels = fingerprint["labels"]
        matches = int((suspect.labels(fingerprint["keys"].float() / 255) == labels).sum())
        return abs(log10_p(matches, len(labels), int(fingerprint["classes"])))


@hookimpl
def bench_methods() -> list[Watermark]:
    """Return the method."""
    return [Taggants()]
