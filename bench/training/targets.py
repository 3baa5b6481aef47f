"""The targets of batches: rows of a tensor, or what a function answers about the images."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.training.input_checks import check_targets
from bench.training.oracle import Oracle


class Targets:
    """The targets of each batch.

    An `Oracle` computes its answer to an image that is shown as it is once, and later showings count as queries all the
    same. Another function is called for every batch, for its answers may follow from anything.
    """

    def __init__(
        self, given: Tensor | Callable[[Tensor], Tensor], count: int, device: torch.device, classified: bool
    ) -> None:
        checked = check_targets(given, count, classified)
        self._given = checked.to(device) if isinstance(checked, Tensor) else checked
        self._count, self._classified = count, classified
        owner = getattr(given, "__self__", None)
        self._oracle = owner if isinstance(owner, Oracle) else None
        self._known: Tensor | None = None
        self._kept, self._checked = 0, False

    @torch.no_grad()
    def of(self, x: Tensor, indices: Tensor, plain: bool) -> Tensor:
        """Return the targets of images, float [N, C, H, W]; `plain`: they are shown as they are."""
        if isinstance(self._given, Tensor):
            return self._given[indices]
        if plain and self._oracle and self._known is not None and self._kept == self._count:
            self._oracle.count_again(len(x))
            return self._known[indices]
        answers: Tensor = self._given(x)
        if not self._checked:
            check_targets(answers, len(x), self._classified)
            self._checked = True
        if self._classified and not answers.is_floating_point():
            answers = answers.long()
        if plain and self._oracle:
            self._keep(answers, indices)
        return answers

    def _keep(self, answers: Tensor, indices: Tensor) -> None:
        """Keep answers to images, each of which is in an epoch once."""
        if self._known is None:
            self._known = answers.new_empty(self._count, *answers.shape[1:])
        self._known[indices] = answers
        self._kept += len(indices)
