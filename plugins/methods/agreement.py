"""Label agreement on plain images: the simplest fingerprint, and a baseline.

The source labels images that were not used in training; the score is the share on which the suspect agrees. Two good
networks agree on most images, the correct ones, also if they are unrelated. A method has to beat this.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


@dataclass(frozen=True)
class Agreement(Fingerprint):
    """Agreement with the source's labels on plain images."""

    name: str = "agreement"
    version: int = 1
    samples: int = 100

    baseline = True
    budget = "samples"

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Choose `samples` probe images at random (all, with a note, if there are fewer), and label them."""
        random, held = context.generator, len(data.probe)
        if held < self.samples:
            context.note(probes=held)
        order = torch.randperm(held, generator=random, device=random.device)[: self.samples]
        probes = data.probe.images[order.to(data.probe.images.device)].contiguous()
        with torch.no_grad():
            labels = torch.cat([source(part.float() / 255).argmax(1) for part in probes.split(512)])
        return {"probes": probes, "labels": labels}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the share of probes that get the source's label, in [0, 1]."""
        return float((suspect.labels(fingerprint["probes"].float() / 255) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the baseline."""
    return [Agreement()]
