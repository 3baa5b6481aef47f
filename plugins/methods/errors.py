"""A baseline that knows nothing of the source: the share of plain images that a suspect labels wrongly.

Many thefts leave copies that are worse than networks that were trained for as long on true labels: a student that
asked few questions, a copy that was fine-tuned away from its answers. Against such an attack this baseline has a high
AUC, and so has a method that reacts to damage instead of descent: a poor network of nobody's gets a high score, too. A
figure is evidence of descent as far as it is above this one.

The baseline is ours. What two networks' errors have in common beyond what their accuracies explain: R. Geirhos,
K. Meding, F. A. Wichmann: Beyond Accuracy: Quantifying Trial-by-Trial Behaviour of CNNs and Humans by Measuring Error
Consistency, NeurIPS 2020, https://arxiv.org/abs/2006.16736.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Context, DefenderData, Fingerprint, Helpers, Suspect, hookimpl


@dataclass(frozen=True)
class Errors(Fingerprint):
    """The share of plain images that the suspect labels wrongly; the source is not looked at."""

    name: str = "errors"
    version: int = 1
    samples: int = 200

    baseline = True
    access = "labels"
    budget = "samples"
    draws = 5

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Choose `samples` probe images at random (all, with a note, if there are fewer), with their true labels."""
        random, held = context.generator, len(data.probe)
        if held < self.samples:
            context.note(probes=held)
        order = torch.randperm(held, generator=random, device=random.device)[: self.samples]
        order = order.to(data.probe.images.device)
        return {"probes": data.probe.images[order].contiguous(), "labels": data.probe.labels[order].contiguous()}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Return the share of probes that do not get their true label, in [0, 1]."""
        return float((suspect.labels(fingerprint["probes"].float() / 255) != fingerprint["labels"]).double().mean())


@hookimpl
def bench_methods() -> list[Fingerprint]:
    """Return the baseline."""
    return [Errors()]
