"""Extract the source model through its probabilities.

The thief distils the source's soft outputs into a network of his own (Guan, Liang, He: Are You Stealing My Model?,
NeurIPS 2022, https://arxiv.org/abs/2210.15427, "Extract-P"; loss of Hinton, Vinyals, Dean: Distilling the Knowledge
in a Neural Network, 2015, https://arxiv.org/abs/1503.02531):

    alpha T^2 KL(softmax(log p / T) || softmax(z / T)) + (1 - alpha) CE(z, argmax p)

with the source's probabilities p on each augmented view and the student's logits z. softmax(log p / T) is the softmax
of the source's logits at temperature T, so probabilities are enough. The KL divergence is summed over the classes and
averaged over the batch. The authors' code also averages over the K classes (`reduction = "mean"`).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from bench import Attack, BenchError, Context, Source, Split, hookimpl


def distillation(logits: Tensor, p: Tensor, alpha: float, temperature: float, reduction: str) -> Tensor:
    """Compute the loss above from student logits and source probabilities, both [N, K]."""
    teacher = (p.clamp_min(1e-30).log() / temperature).log_softmax(1)
    student = (logits / temperature).log_softmax(1)
    each = teacher.exp() * (teacher - student)
    kl = each.sum(1).mean() if reduction == "batchmean" else each.mean()
    return alpha * temperature**2 * kl + (1 - alpha) * functional.cross_entropy(logits, p.argmax(1))


@dataclass(frozen=True)
class ExtractP(Attack):
    """Train a student on the source's probabilities."""

    name: str = "extract_p"
    version: int = 1
    length: float = 1.0
    alpha: float = 0.9
    temperature: float = 20.0
    reduction: str = "batchmean"

    access = "probabilities"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Distil the source into a fresh network on augmented views."""
        if self.reduction not in ("batchmean", "mean"):
            raise BenchError(f"extract_p.reduction is 'batchmean' or 'mean', not {self.reduction!r}")

        def loss(model: nn.Module, x: Tensor, p: Tensor) -> Tensor:
            return distillation(model(x).float(), p, self.alpha, self.temperature, self.reduction)

        return context.fit(build(), data.images, source.probabilities, length=self.length, loss=loss)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [ExtractP()]
