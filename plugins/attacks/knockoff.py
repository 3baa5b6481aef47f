"""Knockoff nets: steal what a model does with images of another domain.

T. Orekondy, B. Schiele, M. Fritz: Knockoff Nets: Stealing Functionality of Black-Box Models, CVPR 2019,
https://arxiv.org/abs/1812.02766. The thief draws B images from a distribution of his own (section 4.1, the `random`
strategy: without replacement), asks about each once, as it is, and trains a network on this transfer set with the
cross-entropy of the answered probabilities (section 4.2). Training crops and mirrors the images, and the answers stay
those of the images as they are.

Deviations: the adaptive strategy (section 4.1), a policy over the classes of the other dataset, is left out. The images
are those of the dataset that is `related` by `transfer`, some hundreds or thousands where the paper draws from more
than a million. The student starts from random weights: the paper's is pretrained on ImageNet.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from bench import Attack, BenchError, Context, Source, Split, hookimpl


@dataclass(frozen=True)
class Knockoff(Attack):
    """Train a student on the source's probabilities for images of another dataset."""

    name: str = "knockoff"
    version: int = 1
    queries: int = 0
    """B, the images that are asked about; 0: all there are."""
    length: float = 1.0
    surrogate: str = "transfer"
    """A key of the dataset's `related`, or the name of a dataset."""

    access = "probabilities"
    surrogate_adapt = ("size", "channels")

    @property
    def surrogate_data(self) -> str:
        """Name the images to query with."""
        return self.surrogate

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Ask about each image of the transfer set once; no image and no label of the source's domain is used."""
        if self.queries < 0:
            raise BenchError("knockoff.queries must be 0 (all images) or more")
        assert context.surrogate_data is not None  # the host sets it, since `surrogate_data` is declared
        pool, generator = context.surrogate_data.images, context.generator
        order = torch.randperm(len(pool), generator=generator, device=generator.device)
        images = pool[order[: self.queries or len(pool)].to(pool.device)]
        answers = torch.cat([source.probabilities(part.float() / 255) for part in images.split(512)])
        return context.fit(build(), images, answers, length=self.length)


@hookimpl
def bench_attacks() -> list[Attack]:
    """Return the attack."""
    return [Knockoff()]
