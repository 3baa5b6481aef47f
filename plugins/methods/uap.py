"""UAP: what a universal perturbation of the source does to a suspect, read by a learned encoder.

Z. Peng, S. Li, G. Chen, C. Zhang, H. Zhu, M. Xue: Fingerprinting Deep Neural Networks Globally via Universal
Adversarial Perturbations, CVPR 2022, https://arxiv.org/abs/2202.08602. One perturbation v, for all images, raises the
source's loss. n images x_i are spread over the source's own clusters of its training images, one in each, and the
fingerprint of a network f is the vector of all f(x_i) and f(x_i + v). An encoder learns by supervised contrast (P.
Khosla et al., NeurIPS 2020, https://arxiv.org/abs/2004.11362) that fingerprints of the source and its copies
are alike, and unlike those of other networks; each step sees other images of the same clusters. The score is the cosine
of the encoded fingerprints of suspect and source.

Deviations: v is found by signed gradients on batches, not by DeepFool image after image; clusters are those of the
source's logits, of at most 2,000 images. Copies are the host's surrogates, which learned the source's answers, other
networks its references; the paper's copies are of several kinds of theft. Presets with few helpers leave the encoder
little to learn from.
"""

from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl

HIDDEN, CODE, HEAT, LLOYD, BATCH = 64, 16, 0.1, 10, 128
POOL = 2000
"""Most of the owner's images that are used."""


def universal(model: nn.Module, images: Tensor, epsilon: float, rounds: int, generator: torch.Generator) -> Tensor:
    """Find one perturbation [1, C, H, W] within epsilon that raises the loss of a model's own labels of all images."""
    v = torch.zeros_like(images[:1])
    with torch.no_grad():
        labels = torch.cat([model(part).argmax(1) for part in images.split(512)])
    for _ in range(rounds):
        order = torch.randperm(len(images), generator=generator, device=generator.device).to(images.device)
        for part in order.split(BATCH):
            v.requires_grad_()
            loss = functional.cross_entropy(model((images[part] + v).clamp(0, 1)), labels[part])
            (gradient,) = torch.autograd.grad(loss, v)
            v = (v.detach() + epsilon / 5 * gradient.sign()).clamp(-epsilon, epsilon)
    return v.detach()


def clusters(points: Tensor, count: int, generator: torch.Generator) -> list[Tensor]:
    """Divide points [N, K] into clusters by k-means (Lloyd's algorithm); return the members of each, none empty."""
    order = torch.randperm(len(points), generator=generator, device=generator.device).to(points.device)
    centres = points[order[:count]]
    for _ in range(LLOYD):
        nearest = torch.cdist(points, centres).argmin(1)
        members = [(nearest == i).nonzero()[:, 0] for i in range(len(centres))]
        centres = torch.stack([points[m].mean(0) if len(m) else c for m, c in zip(members, centres, strict=True)])
    distances = torch.cdist(centres, points)
    return [m if len(m) else distances[i].argmin()[None] for i, m in enumerate(members)]


def contrast(codes: Tensor, copies: Tensor) -> Tensor:
    """Compute the supervised contrastive loss of unit vectors [M, D] of two groups, bool [M]."""
    likeness = codes @ codes.T / HEAT
    itself = torch.eye(len(codes), dtype=torch.bool, device=codes.device)
    logs = likeness.masked_fill(itself, -torch.inf).log_softmax(1).masked_fill(itself, 0)
    same = (copies[:, None] == copies) & ~itself
    return -((logs * same).sum(1) / same.sum(1).clamp_min(1)).mean()


def encode(fingerprints: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """Encode fingerprints [M, F] as unit vectors [M, 16]: a hidden layer and a ReLU between two linear maps."""
    hidden = functional.relu(fingerprints.float() @ weights["first"] + weights["first_bias"])
    return functional.normalize(hidden @ weights["second"], dim=1)


def view(members: list[Tensor], generator: torch.Generator) -> Tensor:
    """Draw one image of each cluster, and return their indices."""
    draw = torch.rand(len(members), generator=generator, device=generator.device).tolist()
    return torch.stack([m[int(u * len(m))] for m, u in zip(members, draw, strict=True)])


def learn(
    answers: Tensor, copies: Tensor, members: list[Tensor], steps: int, lr: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Train the encoder on two views of each network per step, and return its weights.

    answers: [M, N, 2K], of M networks to N images, plain and perturbed side by side; copies: bool [M].
    """
    inputs, device = len(members) * answers.shape[2], answers.device
    sizes = (inputs, HIDDEN), (HIDDEN, CODE)
    first, second = (torch.randn(size, generator=generator, device=generator.device) for size in sizes)
    weights = {
        "first": (first / inputs**0.5).to(device).requires_grad_(),
        "first_bias": torch.zeros(HIDDEN, device=device).requires_grad_(),
        "second": (second / HIDDEN**0.5).to(device).requires_grad_(),
    }
    adam, values = torch.optim.Adam(weights.values(), lr=lr), tuple(weights.values())
    for _ in range(steps):
        seen = torch.cat([answers[:, view(members, generator)].flatten(1) for _ in range(2)])
        loss = contrast(encode(seen, weights), copies.repeat(2))
        for value, gradient in zip(values, torch.autograd.grad(loss, values), strict=True):
            value.grad = gradient
        adam.step()
    return {name: value.detach() for name, value in weights.items()}


@dataclass(frozen=True)
class UAP(Fingerprint):
    """Compare encoded answers to images with and without the source's universal perturbation."""

    name: str = "uap"
    version: int = 1
    samples: int = 100
    """Images that a suspect is asked about: n as they are and n perturbed."""
    surrogates: int = 20
    references: int = 20
    epsilon: float = 0.15
    """Largest change of a pixel, in [0, 1] units."""
    rounds: int = 5
    """Passes over the images in which the perturbation is found."""
    steps: int = 200
    """Steps of the encoder's training."""
    lr: float = 0.002

    access = "probabilities"
    budget = "samples"
    paper = (
        "Z. Peng, S. Li, G. Chen, C. Zhang, H. Zhu, M. Xue: Fingerprinting Deep Neural Networks Globally via Universal "
        "Adversarial Perturbations, CVPR 2022, https://arxiv.org/abs/2202.08602"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return float32 `probes` [2n, C, H, W] in [0, 1], the encoder's weights and the source's `code` [16].

        The note has the share of images whose label the perturbation changes (`fooled`).
        """
        if not len(helpers.surrogates) or not len(helpers.references) or self.samples < 2 or self.steps < 1:
            raise BenchError("uap needs surrogates, references and steps, 1 or more, and two samples")
        random, train = context.generator, data.train.images
        order = torch.randperm(len(train), generator=random, device=random.device)[:POOL].to(train.device)
        images = train[order].float() / 255
        perturbed = (images + universal(source, images, self.epsilon, self.rounds, random)).clamp(0, 1)
        pairs = []
        for model in chain((source,), helpers.surrogates, helpers.references):  # each is loaded, asked and dropped
            with torch.no_grad():
                pairs.append([torch.cat([model(part) for part in x.split(512)]) for x in (images, perturbed)])
        plain, moved = (torch.stack(answers) for answers in zip(*pairs, strict=True))
        copies = torch.arange(len(pairs), device=images.device) <= len(helpers.surrogates)
        context.note(fooled=round(float((plain[0].argmax(1) != moved[0].argmax(1)).double().mean()), 4))
        members = clusters(plain[0].double(), min(self.samples // 2, len(images)), random)
        answers = torch.cat([plain.softmax(2), moved.softmax(2)], 2)

        weights = learn(answers, copies, members, self.steps, self.lr, random)
        chosen = view(members, random)
        code = encode(answers[:1, chosen].flatten(1), weights)[0]
        return {"probes": torch.cat([images[chosen], perturbed[chosen]]), "code": code, **weights}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the cosine of the suspect's code and the source's, in [-1, 1]."""
        plain, moved = suspect.probabilities(fingerprint["probes"]).chunk(2)
        mine = torch.cat([plain, moved], 1).flatten()[None]
        return float(encode(mine, fingerprint)[0].double() @ fingerprint["code"].double())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [UAP()]
