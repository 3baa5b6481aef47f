"""AKH, the Anna Karenina heuristic: does the suspect make the source's own mistakes?

A. Godinot, E. Le Merrer, C. Penzo, F. Taïani, G. Trédan: Queries, Representation & Detection: The Next 100 Model
Fingerprinting Schemes, AAAI 2025, https://arxiv.org/abs/2412.13021. The probes are images that the source
misclassifies; the score is the share on which the suspect returns the source's wrong label. A baseline.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


@dataclass(frozen=True)
class AKH(Fingerprint):
    """Agreement on images that the source misclassifies: the Anna Karenina heuristic."""

    name: str = "akh"
    version: int = 1
    samples: int = 100

    baseline = True
    budget = "samples"
    paper = (
        "A. Godinot, E. Le Merrer, C. Penzo, F. Taïani, G. Trédan: Queries, Representation & Detection: The Next 100 "
        "Model Fingerprinting Schemes, AAAI 2025, https://arxiv.org/abs/2412.13021"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Choose misclassified probe images at random, at most `samples`.

        If the source misclassifies none, choose those with the smallest margins between its two largest logits.
        """
        images, random = data.probe.images, context.generator
        with torch.no_grad():
            logits = torch.cat([source(part.float() / 255) for part in images.split(512)])
        labels = logits.argmax(1)
        wrong = torch.nonzero(labels != data.probe.labels).flatten()
        context.note(misclassified=len(wrong))
        if len(wrong):
            order = torch.randperm(len(wrong), generator=random, device=random.device).to(wrong.device)
            chosen = wrong[order]
        else:
            best = logits.topk(2, dim=1).values
            chosen = (best[:, 0] - best[:, 1]).argsort(stable=True)
        chosen = chosen[: self.samples]
        return {"probes": images[chosen].contiguous(), "labels": labels[chosen]}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the share of probes that get the source's label, in [0, 1]."""
        return float((suspect.labels(fingerprint["probes"].float() / 255) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the baseline."""
    return [AKH()]
