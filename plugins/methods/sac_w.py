"""SAC-w: compare correlations of answers to images that are hard for the source, the suspect's with the source's.

J. Guan, J. Liang, R. He: Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural Networks,
NeurIPS 2022, https://arxiv.org/abs/2210.15427. As SAC-m, but the probes are plain images that the source and networks
derived from it (surrogates) get wrong: copies inherit these mistakes, an innocent network makes others. The authors'
selection is not published; here it is a ranking (`hardest`), and the note counts the probes of each step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the logits of uint8 images in batches."""
    with torch.no_grad():
        return torch.cat([model(part.float() / 255) for part in images.split(512)])


def hardest(logits: Tensor, votes: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Rank images by the evidence that a mistake on them is inherited: (indices, best first; the step of each image).

    logits: the source's, [N, K]; votes: the surrogates' labels, [S, N]; truth: [N]. Steps: 0 the source and all
    surrogates are wrong, 1 the source and most surrogates, 2 the source, 3 the source is right. Within a step, images
    on which more surrogates share the source's wrong label come first, then those with a smaller margin between the
    source's two largest logits.
    """
    labels, best = logits.argmax(1), logits.topk(2, dim=1).values
    wrong = labels != truth
    missed = (votes != truth).double().mean(0)
    step = torch.where(missed == 1, 0, torch.where(missed > 0.5, 1, 2)).masked_fill(~wrong, 3)
    shared = (votes == labels).double().mean(0) * wrong
    margin = best[:, 0] - best[:, 1]
    keys = list(zip(step.tolist(), (-shared).tolist(), margin.tolist(), strict=True))
    return torch.tensor(sorted(range(len(keys)), key=keys.__getitem__), device=truth.device), step


def correlation(logits: Tensor) -> Tensor:
    """Compute C_ij = (1 - cosine of answers i and j) / 2, [N, K] to float64 [N, N]; 0 on the diagonal."""
    directions = normalize(logits.double(), dim=1)
    return (1 - (directions @ directions.T).clamp(-1, 1).fill_diagonal_(1)) / 2


def surrogate_labels(surrogates: Sequence[nn.Module], images: Tensor) -> Tensor:
    """Compute the surrogates' labels, [S, N]; surrogates are loaded one at a time."""
    votes = [logits_of(surrogates[i], images).argmax(1) for i in range(len(surrogates))]
    return torch.stack(votes)


@dataclass(frozen=True)
class SacW(Fingerprint):
    """Compare the correlations of answers to images that are hard for the source: SAC-w."""

    name: str = "sac_w"
    version: int = 1
    samples: int = 100
    surrogates: int = 20

    any_label_space = True
    budget = "samples"
    paper = (
        "J. Guan, J. Liang, R. He: Are You Stealing My Model? Sample Correlation for Fingerprinting Deep Neural "
        "Networks, NeurIPS 2022, https://arxiv.org/abs/2210.15427"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Choose the probes, uint8 [n, C, H, W], and compute the source's C of them, float64 [n, n].

        The note counts the probes of each step: `common`, `most`, `source_only`, `right`.
        """
        if not len(helpers.surrogates):
            raise BenchError("sac_w needs surrogates: --set sac_w.surrogates=8")
        images = data.probe.images
        logits = logits_of(source, images)
        order, step = hardest(logits, surrogate_labels(helpers.surrogates, images), data.probe.labels)
        chosen = order[: self.samples]
        counts = torch.bincount(step[chosen], minlength=4).tolist()
        context.note(**dict(zip(("common", "most", "source_only", "right"), counts, strict=True)))
        return {"probes": images[chosen].contiguous(), "matrix": correlation(logits[chosen])}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return -D, D the mean |C_ij(suspect) - C_ij(source)|; in [-1, 0]."""
        matrix = correlation(suspect.logits(fingerprint["probes"].float() / 255))
        return -float((matrix - fingerprint["matrix"]).abs().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the method."""
    return [SacW()]
