"""Access to a network by queries: the source model for an attack, a suspect for a method; queries are counted."""

import copy

import torch
from torch import Tensor, nn

from bench.core.errors import BenchError, NotApplicable
from bench.core.kinds import Access
from bench.training.answering import Askable, ask, output_of, weakened
from bench.training.inference import BATCH
from bench.training.input_checks import extremes, is_outside

CHECKED_EVERY = 50
"""Questions to a source on a GPU after which the pixels are compared with [0, 1]: each comparison waits for the GPU."""


class Oracle:
    """A network, or an object that only answers, behind an interface of queries: no gradients, float32, in batches.

    `access` is the strongest kind of answer allowed (`Access`), `limit` the largest number of queries; asking for more
    raises `BenchError`, as do images outside [0, 1]. `queries` counts images, `strongest` is the strongest kind of
    answer asked for so far. `NotApplicable` for what the object cannot answer.
    """

    name = "network"
    checked_every = 1
    """Questions on a GPU after which the pixels are checked."""

    def __init__(self, model: Askable, access: str, asker: str, limit: int | None = None, batch: int = BATCH) -> None:
        self._model = model.eval() if isinstance(model, nn.Module) else model
        self._access, self._asker, self._limit, self._batch = access, asker, limit, batch
        self.queries = 0
        self.strongest = ""
        self._unchecked: list[Tensor] = []

    def _ask(self, what: str, count: int = 0) -> None:
        if Access.rank(what) > Access.rank(self._access):
            raise BenchError(
                f"{self._asker} asked for {what}, but its access is {self._access!r}: declare access = {what!r}"
            )
        self.queries += count
        if self._limit is not None and self.queries > self._limit:
            raise BenchError(f"{self._asker} asked {self.queries} queries, but its budget is {self._limit}")
        if not self.strongest or Access.rank(what) > Access.rank(self.strongest):
            self.strongest = what

    def count_again(self, count: int) -> None:
        """Count queries of the strongest kind so far whose answers are known already."""
        self._ask(self.strongest, count)

    def _check(self, x: Tensor) -> int:
        """Return the number of images; BenchError unless `x` are images."""
        if not isinstance(x, Tensor) or x.dim() != 4 or not x.is_floating_point():
            found = f"{x.dtype} {list(x.shape)}" if isinstance(x, Tensor) else f"a {type(x).__name__}"
            raise BenchError(f"{self._asker} must ask with float images [N, C, H, W] in [0, 1], not {found}")
        if x.numel():
            self._unchecked.append(extremes(x))
            if x.device.type == "cpu" or len(self._unchecked) >= self.checked_every:
                self.check_pixels()
        return len(x)

    def check_pixels(self) -> None:
        """Raise BenchError if a question since the last check had pixels outside [0, 1]."""
        asked, self._unchecked = self._unchecked, []
        if any(map(is_outside, asked)):
            raise BenchError(f"{self._asker} asked with pixels outside [0, 1]")

    def _answers(self, what: str, x: Tensor) -> Tensor:
        return ask(self._model, what, x, self._batch, self.name)

    def model(self) -> nn.Module:
        """Return a copy of the network, in eval mode. Only where `access` is `weights`."""
        self._ask(Access.WEIGHTS)
        if not isinstance(self._model, nn.Module):
            raise NotApplicable(f"the {self.name} only answers: it has no weights to look at")
        return copy.deepcopy(self._model)

    def logits(self, x: Tensor) -> Tensor:
        """Return the logits of float images [N, C, H, W] in [0, 1], float32 [N, K]."""
        self._ask(Access.LOGITS, self._check(x))
        return self._answers(Access.LOGITS, x)

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the probabilities of float images in [0, 1], float32 [N, K]."""
        self._ask(Access.PROBABILITIES, self._check(x))
        return self._answers(Access.PROBABILITIES, x)

    def labels(self, x: Tensor) -> Tensor:
        """Return the labels of float images in [0, 1], int64 [N]."""
        self._ask(Access.LABELS, self._check(x))
        return self._answers(Access.LABELS, x)


class Source(Oracle):
    """The source model as an attack gets it, limited to the access that the attack declares."""

    name = "source"
    checked_every = CHECKED_EVERY

    def __init__(self, model: Askable, access: str, attack: str) -> None:
        super().__init__(model, access, f"attack {attack!r}")


class Suspect(Oracle):
    """A suspect as a method gets it: its answers; its weights only if the method declares `access = "weights"`.

    A suspect that answers with NaN or infinity raises `BenchError`: the largest of such logits is no label.
    """

    name = "suspect"

    def __init__(self, model: Askable, method: str, budget: int | None = None, access: str = Access.LOGITS) -> None:
        super().__init__(model, access, f"method {method!r}", budget)

    def _answers(self, what: str, x: Tensor) -> Tensor:
        given = output_of(self._model)
        answers = super()._answers(max(given, what, key=Access.rank), x)  # the strongest: no label shows what is NaN
        if not bool(torch.isfinite(answers).all()):
            raise BenchError("the suspect answers with NaN or infinity, which nothing can be compared with")
        return weakened(answers, given, what)


class RecordingSuspect(Suspect):
    """A suspect that records the images it is asked."""

    def __init__(self, model: Askable, method: str, limit: int | None, access: str) -> None:
        super().__init__(model, method, limit, access)
        self.asked: list[Tensor] = []

    def _answers(self, what: str, x: Tensor) -> Tensor:
        self.asked.append(x.detach().cpu().clone())
        return super()._answers(what, x)
