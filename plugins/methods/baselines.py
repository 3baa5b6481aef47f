"""Three baselines: the share of probes on which the suspect returns the source's label.

`agreement`: the probes are plain images that were not used in training. Two good networks agree on most of them, the
correct ones, also if they are unrelated. A method has to beat this.

`akh`, the Anna Karenina heuristic: the probes are images that the source misclassifies: does the suspect make its
mistakes? A. Godinot, E. Le Merrer, C. Penzo, F. Taïani, G. Trédan: Queries, Representation & Detection: The Next 100
Model Fingerprinting Schemes, AAAI 2025, https://arxiv.org/abs/2412.13021.

`noise`: each pixel of a probe is drawn uniformly, which needs no data. Training does not determine labels of noise, so
they are particular to a network.

The probes of each are drawn `draws` times for each source.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the logits of uint8 images in batches."""
    with torch.no_grad():
        return torch.cat([model(part.float() / 255) for part in images.split(512)])


class Baseline(Fingerprint):
    """A fingerprint of uint8 `probes` [n, C, H, W] and the source's `labels` of them, int64 [n]."""

    baseline = True
    access = "labels"
    budget = "samples"
    draws = 5

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the share of probes that get the source's label, in [0, 1]."""
        return float((suspect.labels(fingerprint["probes"].float() / 255) == fingerprint["labels"]).double().mean())


@dataclass(frozen=True)
class Agreement(Baseline):
    """Agreement with the source's labels on plain images."""

    name: str = "agreement"
    version: int = 1
    samples: int = 100

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Choose `samples` probe images at random (all, with a note, if there are fewer), and label them."""
        random, held = context.generator, len(data.probe)
        if held < self.samples:
            context.note(probes=held)
        order = torch.randperm(held, generator=random, device=random.device)[: self.samples]
        probes = data.probe.images[order.to(data.probe.images.device)].contiguous()
        return {"probes": probes, "labels": logits_of(source, probes).argmax(1)}


@dataclass(frozen=True)
class AKH(Baseline):
    """Agreement on images that the source misclassifies: the Anna Karenina heuristic."""

    name: str = "akh"
    version: int = 1
    samples: int = 100

    paper = (
        "A. Godinot, E. Le Merrer, C. Penzo, F. Taïani, G. Trédan: Queries, Representation & Detection: The Next 100 "
        "Model Fingerprinting Schemes, AAAI 2025, https://arxiv.org/abs/2412.13021"
    )

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Choose misclassified probe images at random, at most `samples`.

        If the source misclassifies none, choose those with the smallest margins between its two largest logits.
        """
        images, random = data.probe.images, context.generator
        logits = logits_of(source, images)
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


@dataclass(frozen=True)
class Noise(Baseline):
    """Agreement with the source's labels on uniform noise."""

    name: str = "noise"
    version: int = 1
    samples: int = 100

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Draw `samples` images of noise and label them."""
        random, images = context.generator, data.probe.images
        shape = (self.samples, *images.shape[1:])
        probes = torch.randint(256, shape, generator=random, device=random.device, dtype=torch.uint8).to(images.device)
        return {"probes": probes, "labels": logits_of(source, probes).argmax(1)}


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the baselines."""
    return [Agreement(), AKH(), Noise()]
