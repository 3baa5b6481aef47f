"""What an attack may ask of a source model, and a method of a suspect; and how often it did."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from bench.core.errors import BenchError
from bench.core.kinds import Access


class Oracle:
    """A network that only answers: eval mode, no gradients, float32, in batches; queries are counted.

    `access` is the most that may be asked (`Access`), `limit` the most queries; asking for more raises
    `BenchError`. `queries` counts images, `strongest` is the strongest thing asked so far.
    """

    def __init__(self, model: nn.Module, access: str, asker: str, limit: int | None = None, batch: int = 512) -> None:
        self._model = model.eval()
        self._access, self._asker, self._limit, self._batch = access, asker, limit, batch
        self.queries = 0
        self.strongest = ""

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

    def _check(self, x: Tensor) -> None:
        if x.dim() != 4 or not x.is_floating_point():
            raise BenchError(
                f"{self._asker} must ask with float images [N, C, H, W] in [0, 1], not {x.dtype} {list(x.shape)}"
            )

    @torch.no_grad()
    def _answers(self, x: Tensor) -> Tensor:
        self._check(x)
        device = next(iter(self._model.state_dict().values())).device
        self._model.eval()
        with torch.autocast(device.type, enabled=False):
            parts = [
                self._model(part.to(device).float().contiguous(memory_format=torch.channels_last)).float()
                for part in torch.split(x, self._batch)
            ]
        return torch.cat(parts).to(x.device)

    def logits(self, x: Tensor) -> Tensor:
        """Answer float images [N, C, H, W] in [0, 1] with logits, float32 [N, K]."""
        self._ask(Access.LOGITS, len(x))
        return self._answers(x)

    def probabilities(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with probabilities, float32 [N, K]."""
        self._ask(Access.PROBABILITIES, len(x))
        return self._answers(x).softmax(1)

    def labels(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with labels, int64 [N]."""
        self._ask(Access.LABELS, len(x))
        return self._answers(x).argmax(1)


class Source(Oracle):
    """The source model in an attack's hands: no more than the access that the attack declares."""

    def __init__(self, model: nn.Module, access: str, attack: str) -> None:
        super().__init__(model, access, f"attack {attack!r}")

    def model(self) -> nn.Module:
        """Give a copy of the network, in eval mode. Only where `access` is `weights`."""
        self._ask(Access.WEIGHTS)
        return copy.deepcopy(self._model)


class Suspect(Oracle):
    """A suspect in a method's hands: its answers, never its weights.

    Images outside [0, 1] are refused, and so is a suspect that answers with NaN or infinity: the largest of such
    logits is no label.
    """

    def __init__(self, model: nn.Module, method: str, budget: int | None = None) -> None:
        super().__init__(model, Access.LOGITS, f"method {method!r}", budget)

    def _check(self, x: Tensor) -> None:
        super()._check(x)
        if len(x) and not (float(x.min()) >= -1e-6 and float(x.max()) <= 1 + 1e-6):
            raise BenchError(f"{self._asker} asked with pixels outside [0, 1]")

    def _answers(self, x: Tensor) -> Tensor:
        logits = super()._answers(x)
        if not bool(torch.isfinite(logits).all()):
            raise BenchError("the suspect answers with NaN or infinity, which nothing can be compared with")
        return logits
