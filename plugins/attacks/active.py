"""Extract the source with few queries: ask about the images of which the student is least certain.

S. Pal, Y. Gupta, A. Shukla, A. Kanade, S. Shevade, V. Ganapathy: ActiveThief: Model Extraction Using Active Learning
and Unannotated Public Data, AAAI 2020 (A Framework for the Extraction of Deep Neural Networks by Leveraging Public
Data, https://arxiv.org/abs/1905.09165). Random images are asked about first; then, round after round, a fresh student
learns the answers so far, and the images of the pool on which its prediction has the largest entropy are asked about
next. Each image is asked about once, as it is, and the budget is the number of images.

Deviations: the pool is the thief's half of the source's own domain by default, and `surrogate` names another one; of
the paper's strategies only `entropy` (and `random`, for comparison) is here, not k-centre and DeepFool; no validation
set is held back; all rounds ask equally many. A student takes as many steps as one that has the whole pool would.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor, nn

from bench import Attack, BenchError, Context, Source, Split, hookimpl


@torch.no_grad()
def entropy(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the entropy of a network's prediction for uint8 images, [N], in nats."""
    logs = torch.cat([model(part.float() / 255).float().log_softmax(1) for part in images.split(512)])
    return -(logs.exp() * logs).sum(1)


@dataclass(frozen=True)
class Active(Attack):
    """Train a student on the source's labels of the images that it was least certain of."""

    name: str = "active"
    version: int = 1
    queries: int = 200
    rounds: int = 4
    strategy: str = "entropy"
    length: float = 1.0
    early: float = 0.3
    """Length of the trainings before the last one, as a share of it."""
    surrogate: str = ""
    """A key of the dataset's `related`, or a dataset, to draw the pool from; empty: the thief's images."""

    access = "labels"
    surrogate_adapt = ("size", "channels")

    @property
    def surrogate_data(self) -> str:
        """Name the images to query with."""
        return self.surrogate

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Ask in rounds, and train on what was answered."""
        if self.strategy not in ("entropy", "random"):
            raise BenchError(f"active.strategy is 'entropy' or 'random', not {self.strategy!r}")
        if self.queries < 1 or self.rounds < 1:
            raise BenchError("active.queries and active.rounds must be 1 or more")
        pool, generator = (context.surrogate_data or data).images, context.generator
        free = torch.randperm(len(pool), generator=generator, device=generator.device).to(pool.device)
        asked = labels = free[:0]
        ends = [min(len(pool), ceil(self.queries * (i + 1) / self.rounds)) for i in range(self.rounds)]
        for i, end in enumerate(ends):
            now, free = free[: end - len(asked)], free[end - len(asked) :]
            asked, labels = torch.cat([asked, now]), torch.cat([labels, source.labels(pool[now].float() / 255)])
            if i + 1 < len(ends) and self.strategy == "entropy" and len(free):
                student = self.student(pool[asked], labels, len(pool), self.early, build, context)
                free = free[entropy(student, pool[free]).argsort(descending=True, stable=True)]
        return self.student(pool[asked], labels, len(pool), 1.0, build, context)

    def student(
        self, images: Tensor, labels: Tensor, pool: int, share: float, build: Callable[[], nn.Module], context: Context
    ) -> nn.Module:
        """Train a fresh network for a share of the steps that a pool of this size would take."""
        batch = context.recipe.batch
        length = share * self.length * ceil(pool / batch) / ceil(len(images) / batch)
        return context.fit(build(), images, labels, length=length)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [Active()]
