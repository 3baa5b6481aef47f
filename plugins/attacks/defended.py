"""Offer the stolen source itself behind a service that says as little as it can.

`defended_labels` answers the label only; `defended_rounded` probabilities that are rounded to a few decimals (F.
Tramèr, F. Zhang, A. Juels, M. K. Reiter, T. Ristenpart: Stealing Machine Learning Models via Prediction APIs, USENIX
Security 2016, https://arxiv.org/abs/1609.02943, section 7, "Rounding confidences"); `defended_smoothed` a blend of the
probabilities with the uniform distribution, (1 - a) p + a / K, in which the label stays and the confidence goes.

The network is the source, unchanged: what such a column shows is the defence, not the theft. The paper rounds to
defend a model against thieves; here it is the thief who rounds. A service that refuses near-duplicates would have to
remember its questions, and suspects have no memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from bench import Attack, BenchError, Context, Source, Split, hookimpl


class Service(nn.Module):
    """A network behind a function of its logits."""

    def __init__(self, network: nn.Module, form: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.form = network, form

    def forward(self, x: Tensor) -> Tensor:
        """Return what the service answers."""
        return self.form(self.network(x).float())


@dataclass(frozen=True)
class Defended(Attack):
    """Offer the source behind a service that hides most of its answers."""

    name: str = "defended_labels"
    version: int = 1
    form: str = "labels"
    """What is answered: `labels`, `rounded` or `smoothed` probabilities."""
    decimals: int = 1
    """Of rounded probabilities."""
    uniform: float = 0.5
    """a, the share of the uniform distribution in smoothed probabilities."""

    access = "weights"
    same_architecture = True
    deterministic = True

    @property
    def answers(self) -> str:
        """Name the strongest answer."""
        return "labels" if self.form == "labels" else "probabilities"

    def answer(self, logits: Tensor) -> Tensor:
        """Return labels [N] or probabilities [N, K] of logits [N, K]."""
        if self.form == "labels":
            return logits.argmax(1)
        p = logits.softmax(1)
        if self.form == "rounded":
            return p.round(decimals=self.decimals)
        return (1 - self.uniform) * p + self.uniform / p.shape[1]

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Put a copy of the source behind the service."""
        if self.form not in ("labels", "rounded", "smoothed"):
            raise BenchError(f"{self.name}.form is 'labels', 'rounded' or 'smoothed', not {self.form!r}")
        if not 0 <= self.uniform < 1 or self.decimals < 1:
            raise BenchError(f"{self.name}.uniform must be from 0 to below 1, and {self.name}.decimals 1 or more")
        return Service(source.model(), self.answer)

    def rebuild(self, build: Callable[[], nn.Module], tensors: dict[str, Tensor]) -> nn.Module:
        """Put a network with the stored weights behind the service."""
        service = Service(build(), self.answer)
        service.load_state_dict(tensors)
        return service


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the three services."""
    return [
        Defended(name="defended_labels", form="labels"),
        Defended(name="defended_rounded", form="rounded"),
        Defended(name="defended_smoothed", form="smoothed"),
    ]
