"""What plugins receive beside their data: source, suspect, helpers, training loop and context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from bench.core.canonical import JSON
from bench.core.spec import Recipe

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


class Source(Protocol):
    """The source model as an attack may see it: no more than the attack's `access`; queries are counted."""

    def model(self) -> nn.Module:
        """Give a copy of the network. Only where `access` is `weights`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """Answer float images [N, C, H, W] in [0, 1] with logits [N, K]."""
        ...

    def probabilities(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with probabilities [N, K]."""
        ...

    def labels(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with labels, int64 [N]."""
        ...


class Suspect(Protocol):
    """A suspect as a method may see it: its answers, never its weights; queries are counted."""

    def logits(self, x: Tensor) -> Tensor:
        """Answer float images [N, C, H, W] in [0, 1] with logits, float32 [N, K]."""
        ...

    def probabilities(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with probabilities, float32 [N, K]."""
        ...

    def labels(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with labels, int64 [N]."""
        ...


@dataclass(frozen=True)
class Helpers:
    """Networks the host trained on `defender` for a method, in eval mode, loaded when they are looked at.

    `surrogates` learned the source's answers (even ones its labels, odd ones its probabilities), `references` the
    true labels. Neither is ever a source or a suspect.
    """

    surrogates: Sequence[nn.Module] = ()
    references: Sequence[nn.Module] = ()


class Fit(Protocol):
    """The host's training loop, as `Context.fit` gives it."""

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        targets: Tensor | Callable[[Tensor], Tensor],
        *,
        length: float = 1.0,
        loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
        trainable: nn.Module | None = None,
        **recipe_overrides: JSON,
    ) -> nn.Module:
        """Train `model` in place and give it back; see `bench.training.loop.fit`."""
        ...


@dataclass
class Context:
    """What a task knows besides its data: seeds, recipe, device, the training loop, and where to leave notes.

    `start` is the suspect of the attack named by `starts_from`; `budget` the number of queries the method may ask;
    `length` the share of the recipe's epochs that `fit` trains by default.
    """

    seed: int
    replicate: int
    recipe: Recipe
    device: torch.device
    generator: torch.Generator
    fit: Fit
    head: Callable[[nn.Module], nn.Module]
    stages: Callable[[nn.Module], Sequence[nn.Module]]
    start: nn.Module | None = None
    budget: int | None = None
    notes: dict[str, JSON] = field(default_factory=dict)

    def note(self, **values: JSON) -> None:
        """Keep values for the row's `note`, such as converged=0.97."""
        self.notes.update(values)
