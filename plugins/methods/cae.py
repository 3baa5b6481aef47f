"""CAE: adversarial examples that transfer to the source's surrogates and to no reference.

Lukas, Zhang, Kerschbaum: Deep neural network fingerprinting by conferrable adversarial examples. ICLR 2021.
https://arxiv.org/abs/1912.00888

Surrogates S were derived from the source M, references R were trained without it. A class t is conferred by x with
Conf(S, R, x; t) = Transfer(S, x; t) (1 - Transfer(R, x; t)), where Transfer is the mean probability of t.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from bench import BenchError, Context, DefenderData, Fingerprint, Helpers, Reported, Suspect, hookimpl

RESIDENT = 8 << 30
"""Bytes of surrogates and references that stay in memory; those beyond are loaded each time they are looked at."""
LARGE = 16 << 20
"""Bytes of weights from which a network's activations are computed twice rather than kept for all networks at once."""
TINY = 1e-7
"""Probabilities are clipped here before their logarithm, so that no loss is unbounded."""

Answer = Callable[[Tensor], Tensor]
"""From images [N, C, H, W] in [0, 1] to probabilities [N, K]."""


def answers(models: Sequence[nn.Module], room: int = RESIDENT) -> list[Answer]:
    """Give each network's answers, without ever holding more than `room` bytes of them and one network besides."""

    def one(index: int) -> Answer:
        def ask(x: Tensor) -> Tensor:
            return (kept[index] if index in kept else models[index])(x).softmax(1)

        return (lambda x: checkpoint(ask, x, use_reentrant=False)) if large[index] else ask

    kept: dict[int, nn.Module] = {}
    large = []
    for index in range(len(models)):
        model = models[index]
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        large.append(size >= LARGE)
        if size <= room:
            kept[index], room = model, room - size
    return [one(index) for index in range(len(models))]


def transfer(group: Sequence[Answer], x: Tensor) -> Tensor:
    """Average the probabilities of a group of networks, [N, K]."""
    total: Tensor = sum(answer(x) for answer in group)  # type: ignore[assignment]
    return total / len(group)


def conferrability(surrogates: Tensor, references: Tensor) -> Tensor:
    """Give Conf for every class, from the two groups' Transfer: [N, K], each in [0, 1]."""
    return surrogates * (1 - references)


def log(p: Tensor) -> Tensor:
    """Take the logarithm of probabilities, clipped away from 0."""
    return p.clamp_min(TINY).log()


def loss(source: Tensor, surrogates: Tensor, references: Tensor, initial: Tensor, weights: Sequence[float]) -> Tensor:
    """Give the CEM loss [N] of points, from the source's probabilities and the two groups' Transfer, all [N, K].

    weights are alpha, beta, gamma: be conferrable, leave the source's `initial` label [N], let the surrogates agree
    with the source.
    """
    alpha, beta, gamma = weights
    conferred = -log(conferrability(surrogates, references).amax(1))
    stayed = -log(source.gather(1, initial[:, None])[:, 0])
    disagreed = -(source * log(surrogates)).sum(1)
    return alpha * conferred - beta * stayed + gamma * disagreed


def drop(group: Sequence[Answer], rate: float, generator: torch.Generator) -> list[Answer]:
    """Keep each network with probability 1 - rate, and one at random where none would be left."""
    draw = torch.rand(len(group), generator=generator, device=generator.device).tolist()
    return [a for a, u in zip(group, draw, strict=True) if u >= rate] or [group[draw.index(max(draw))]]
