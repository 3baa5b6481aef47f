"""EWE: a watermark entangled with the task, so that who steals the one takes the other along.

Jia, Choquette-Choo, Chandrasekaran, Papernot: Entangled watermarks as a defense against model extraction. USENIX
Security 2021. https://arxiv.org/abs/2002.12200

Watermarks are images of a source class with a trigger, labelled as the target class. While they are learned, the soft
nearest neighbour loss (SNNL) between them and true images of the target class is raised, so that one set of features
serves both. Watermarks come from the task's own images here ("in distribution").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench import BenchError, Context, DefenderData, ReportedAccuracy, Suspect, Watermark, hookimpl

PATCH = 3
"""Height and width of the trigger, in pixels."""
TINY = 1e-5
"""Keeps the SNNL's quotient and logarithm finite."""


def snnl(activations: Tensor, group: Tensor, temperature: Tensor, distance: str = "cosine") -> Tensor:
    """Give the soft nearest neighbour loss of two groups (paper, section 4.1): small where they lie apart.

    activations: [N, ...], rectified here; group: bool [N]; distances are divided by 100 / temperature.
    """
    a = activations.float().flatten(1).relu()
    if distance == "cosine":
        a = functional.normalize(a)
        d = 1 - a @ a.T
    else:
        d = (a[:, None] - a[None]).square().sum(2)
    e = (torch.exp(-d * temperature / 100) - torch.eye(len(a), device=a.device)).clamp(0, 1)
    p = e / (TINY + e.sum(1, keepdim=True))
    return -(TINY + (p * (group[:, None] == group)).sum(1)).log().mean()


def look(model: nn.Module, x: Tensor, context: Context) -> tuple[Tensor, list[Tensor]]:
    """Give logits and the three activations: the last two stages' outputs and the head's input."""
    seen: list[Tensor] = []
    hooks = [s.register_forward_hook(lambda _, inputs, output: seen.append(output)) for s in context.stages(model)[-2:]]
    hooks.append(context.head(model).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])))
    try:
        return model(x), seen
    finally:
        for hook in hooks:
            hook.remove()
