"""Label agreement on blends of two images.

A blend has no true label, so a network's label of it is arbitrary. A copy inherits the source's labels; an independent
network has others.
"""

from dataclasses import dataclass

import torch

from bench import Fingerprint, hookimpl


@dataclass(frozen=True)
class OutsideMethod(Fingerprint):
    """Match the source's labels on blends of two probe images."""

    name: str = "outside_method"
    version: int = 1
    samples: int = 100
    share: float = 0.5

    budget = "samples"

    def extract(self, source, data, helpers, context):
        """Blend pairs of probe images, and keep the source's labels."""
        pairs = torch.randint(len(data.probe), (2, self.samples), generator=context.generator, device=context.device)
        x = torch.lerp(data.probe.x[pairs[0]], data.probe.x[pairs[1]], self.share)
        with torch.no_grad():
            return {"x": x, "labels": source(x).argmax(1)}

    def score(self, fingerprint, suspect):
        """Return the share of blends that the suspect labels as the source does."""
        return float((suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods():
    """Offer the method."""
    return [OutsideMethod()]
