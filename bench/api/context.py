"""What plugins receive in addition to data: source, suspect, helpers, training loop and context."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from bench.api.data import Split
from bench.core.canonical import JSON, plain_data
from bench.core.errors import BenchError, calling_line
from bench.core.spec import Recipe
from bench.stats.majority import MAJORITY
from bench.stats.renumbering import RENUMBERED

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

OF_THE_HOST = (MAJORITY, RENUMBERED, "restarted")
"""Notes that the host makes of a network: by them, tables decide which networks learned."""


class Source(Protocol):
    """The source model as an attack sees it. Every image counts as a query.

    Images are float [N, C, H, W] in [0, 1]; K is the number of classes. `BenchError` for a request beyond the attack's
    `access`, and for tensors that are not such images.
    """

    def model(self) -> nn.Module:
        """Return a copy of the network, in eval mode; only with `access = "weights"`."""

    def logits(self, x: Tensor) -> Tensor:
        """Return logits, float32 [N, K]."""

    def probabilities(self, x: Tensor) -> Tensor:
        """Return probabilities, float32 [N, K]."""

    def labels(self, x: Tensor) -> Tensor:
        """Return predicted labels, int64 [N]."""


class Suspect(Protocol):
    """A suspect as a method sees it: its answers, and its weights only if the method declares that it needs them.

    Every image counts as a query. Images are float [N, C, H, W] in [0, 1]; K is the number of classes. `BenchError`
    beyond the method's budget or `access`, for pixels outside [0, 1], and if the suspect answers with NaN or infinity.
    `NotApplicable` for what a suspect that only answers does not give.
    """

    def model(self) -> nn.Module:
        """Return a copy of the network, in eval mode; only with `access = "weights"`. It is no query."""

    def logits(self, x: Tensor) -> Tensor:
        """Return logits, float32 [N, K]."""

    def probabilities(self, x: Tensor) -> Tensor:
        """Return probabilities, float32 [N, K]."""

    def labels(self, x: Tensor) -> Tensor:
        """Return predicted labels, int64 [N]."""


@dataclass(frozen=True)
class Helpers:
    """Networks that the host trains on `DefenderData.train` for a method: in eval mode, loaded at their first use.

    Surrogates learn the source's answers (those with an even index its labels, with an odd index its probabilities),
    references the true labels. None of them is a source or a suspect.
    """

    surrogates: Sequence[nn.Module] = ()
    references: Sequence[nn.Module] = ()


class Fit(Protocol):
    """Type of `Context.fit`, the host's training loop."""

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
        """Train `model` in place, and return it in eval mode.

        `images` are uint8, or float in [0, 1], [N, C, H, W]. `targets` are labels int64 [N], probabilities [N, K], or a
        function from a batch of augmented float images to one of these, called without gradients. `length` multiplies
        the recipe's epochs. `loss(model, x, targets)` replaces cross-entropy. `trainable` is the part of the model to
        train. `recipe_overrides` replace fields of the recipe, such as `lr=1e-3`. Raises `BenchError` for unknown
        fields, and stops the task if a loss becomes NaN or infinite.
        """


class Notes(dict[str, JSON]):
    """What a plugin notes: plain data under names without `=` and `;`; `BenchError` names the line of anything else."""

    def __setitem__(self, name: str, value: Any) -> None:
        if name in OF_THE_HOST:
            why = f"the host notes {name!r} itself, choose another"
            raise BenchError(f"context.note({name}=...): {why}{calling_line()}")
        try:
            if not isinstance(name, str) or not name.isprintable() or set(name) & set("=;"):
                raise ValueError("its name is no printable text without = and ;")
            super().__setitem__(name, plain_data(value))
        except ValueError as error:
            raise BenchError(f"context.note({name!s:.40}=...) must be plain data: {error}{calling_line()}") from None

    def update(self, *others: Any, **values: Any) -> None:
        """Set several notes."""
        for name, value in dict(*others, **values).items():
            self[name] = value

    def setdefault(self, name: str, value: Any = None) -> JSON:
        """Set a note unless there is one of this name, and return it."""
        if name not in self:
            self[name] = value
        return self[name]

    def __ior__(self, other: Any) -> Notes:  # type: ignore[misc,override]
        self.update(other)
        return self


@dataclass
class Context:
    """What a task provides besides data: seeds, recipe, device, training loop, and a place for notes.

    `generator` is seeded with `seed` and on `device`. `head` and `stages` are those of the architecture. `start` is the
    suspect of the attack named by `starts_from`; if that only answers, it can be called with images, and has `logits`,
    `probabilities` and `labels`, no weights. `budget` is the number of queries (images) that the method may ask.
    `surrogate_data` are the images that the attack declares, uint8 of the source's shape, with their own labels.
    `probes` are what a method asks about, float [N, C, H, W] in [0, 1], by a fingerprint that an adaptive attack's
    thief made of the source with a seed and images of his own.
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
    surrogate_data: Split | None = None
    probes: Tensor | None = None
    notes: dict[str, JSON] = field(default_factory=Notes)

    def note(self, **values: Any) -> None:
        """Add values to the row's `note`, such as converged=0.97.

        They are text, finite numbers (also of numpy, or a tensor without dimensions), None, or lists and dictionaries
        of these; `BenchError` names the line of another one.
        """
        self.notes.update(values)
