"""Label agreement on noise: a baseline that needs no data.

Each pixel of an image is drawn uniformly; the score is the share of images on which the suspect returns the source's
label. Training does not determine labels of noise, so they are particular to a network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


@dataclass(frozen=True)
class Noise(Fingerprint):
    """Agreement with the source's labels on uniform noise."""

    name: str = "noise"
    version: int = 1
    samples: int = 100

    baseline = True
    budget = "samples"

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Draw `samples` images of noise, uint8 [n, C, H, W], and label them."""
        random, images = context.generator, data.probe.images
        shape = (self.samples, *images.shape[1:])
        probes = torch.randint(256, shape, generator=random, device=random.device, dtype=torch.uint8).to(images.device)
        with torch.no_grad():
            labels = torch.cat([source(part.float() / 255).argmax(1) for part in probes.split(512)])
        return {"probes": probes, "labels": labels}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the share of probes that get the source's label, in [0, 1]."""
        return float((suspect.labels(fingerprint["probes"].float() / 255) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the baseline."""
    return [Noise()]
