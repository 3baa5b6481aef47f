"""ModelDiff: compare how far apart two networks hold the images of a pair.

Y. Li, Z. Zhang, B. Liu, Z. Yang, Y. Liu: ModelDiff: Testing-Based DNN Similarity Comparison for Model Reuse Detection,
ISSTA 2021, https://arxiv.org/abs/2106.08890. A pair is an image x and an image x' that was made from it so that the
source answers otherwise. The decision distance vector (DDV) of a network f has, for each pair, the distance between
f(x) and f(x'), here as there 1 - cos; two networks are as similar as the cosine of their DDVs. The answers of
one network are only compared with each other, so the suspect may have other classes.

Deviations: x' is made by gradient ascent on |f(x') - f(x)|, the paper's first goal for its inputs (divergence), with
the source's gradients; the paper mutates images step by step, and has a second goal (diversity of the answers), which
is left out. The images x are ones that were not used in training. The paper compares pairs of published models; here
the cosine is the score.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl

BATCH = 512
"""Images that are moved at once."""


def diverge(model: nn.Module, x: Tensor, epsilon: float, steps: int, generator: torch.Generator) -> Tensor:
    """Move images up the distance of their logits from those before, within epsilon of each pixel and [0, 1]."""
    with torch.no_grad():
        before = model(x)
    start = 2 * torch.rand(x.shape, generator=generator, device=generator.device).to(x.device) - 1
    moved = (x + 0.1 * epsilon * start).clamp(0, 1)  # at x itself the distance is 0, and has no gradient
    for _ in range(steps):
        moved.requires_grad_()
        distance = (model(moved) - before).square().sum(1).add(1e-12).sqrt()
        (gradient,) = torch.autograd.grad(distance.sum(), moved)
        moved = moved.detach() + 2.5 * epsilon / steps * gradient.sign()
        moved = moved.clamp(x - epsilon, x + epsilon).clamp(0, 1)
    return moved.detach()


def decision_distances(answers: Tensor) -> Tensor:
    """Compute the DDV of answers [2n, K], to n images and to what was made of them, float64 [n], in [0, 2]."""
    plain, moved = answers.double().chunk(2)
    return 1 - cosine_similarity(plain, moved, dim=1)


@dataclass(frozen=True)
class ModelDiff(Fingerprint):
    """Compare the decision distance vectors of suspect and source."""

    name: str = "model_diff"
    version: int = 1
    samples: int = 100
    """Images that a suspect is asked about, two for each pair."""
    epsilon: float = 0.15
    """Largest change of a pixel, in [0, 1] units."""
    steps: int = 20

    any_label_space = True
    budget = "samples"
    draws = 5
    paper = (
        "Y. Li, Z. Zhang, B. Liu, Z. Yang, Y. Liu: ModelDiff: Testing-Based DNN Similarity Comparison for Model Reuse "
        "Detection, ISSTA 2021, https://arxiv.org/abs/2106.08890"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return float32 `probes` [2n, C, H, W], n <= samples / 2, and the source's DDV of them, float64 [n]."""
        if self.samples < 2 or self.steps < 1:
            raise BenchError("model_diff.samples must be 2 or more, and model_diff.steps 1 or more")
        random, images = context.generator, data.probe.images
        order = torch.randperm(len(images), generator=random, device=random.device)[: self.samples // 2]
        x = images[order.to(images.device)].float() / 255
        moved = torch.cat([diverge(source, part, self.epsilon, self.steps, random) for part in x.split(BATCH)])
        probes = torch.cat([x, moved])
        with torch.no_grad():
            distances = decision_distances(torch.cat([source(part) for part in probes.split(BATCH)]))
        context.note(distance=round(float(distances.mean()), 4))
        return {"probes": probes, "distances": distances}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the cosine of the two DDVs, in [-1, 1]; 0 for a suspect that answers all images alike."""
        mine = decision_distances(suspect.logits(fingerprint["probes"]))
        return float(cosine_similarity(mine, fingerprint["distances"], dim=0))


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [ModelDiff()]
