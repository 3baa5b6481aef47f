"""Warm distillation: a student that learns the source's softened answers, which carry more information than its labels.

G. Hinton, O. Vinyals, J. Dean: Distilling the Knowledge in a Neural Network, 2015, https://arxiv.org/abs/1503.02531,
eq. 1 and section 2: both distributions at temperature T, the loss times T^2, no true labels.
"""

from dataclasses import dataclass

from torch.nn.functional import kl_div, log_softmax, softmax

from bench import Attack, hookimpl


@dataclass(frozen=True)
class WarmDistil(Attack):
    """Train a student on the source's logits at a temperature."""

    name: str = "warm_distil"
    version: int = 1
    length: float = 1.0
    temperature: float = 4.0

    access = "logits"

    def steal(self, source, data, build, context):
        """Train on the source's softened answers to every augmented view."""

        def loss(model, x, logits):
            warm, taught = model(x).float() / self.temperature, logits / self.temperature
            return self.temperature**2 * kl_div(log_softmax(warm, 1), softmax(taught, 1), reduction="batchmean")

        return context.fit(build(), data.images, source.logits, length=self.length, loss=loss)


@hookimpl
def bench_attacks():
    """Offer the attack."""
    return [WarmDistil()]
