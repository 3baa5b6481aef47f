"""The learning rate of a step, a step of SGD, gradient clipping."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from bench.core.errors import NonFiniteLoss
from bench.core.spec import Recipe


def rate(step: int, steps: int, recipe: Recipe) -> float:
    """Give the learning rate of a step: a linear rise over `warmup`, then the recipe's fall to 0."""
    rise = recipe.warmup * steps
    if step < rise:
        return recipe.lr * (step + 1) / (rise + 1)
    if recipe.schedule == "constant":
        return recipe.lr
    done = (step - rise) / max(1.0, steps - rise)
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * done))
    return recipe.lr * (1 - done)


@torch.no_grad()
def sgd_step(
    parameters: list[nn.Parameter], momenta: dict[nn.Parameter, Tensor | None], recipe: Recipe, lr: float
) -> None:
    """Take a step of SGD with momentum, in place.

    By torch's function rather than its class, whose first step in a process imports torch's compiler for a second.
    """
    moved = [p for p in parameters if p.grad is not None]
    for part in ([p for p in moved if p in momenta], [p for p in moved if p not in momenta]):
        held = [momenta.get(p) for p in part]
        sgd(
            list[Tensor](part), [p.grad for p in part if p.grad is not None], held, fused=True,
            weight_decay=recipe.weight_decay, momentum=recipe.momentum, lr=lr, dampening=0, nesterov=False,
            maximize=False,
        )  # fmt: skip
        momenta.update(zip(part, held, strict=True))


def clip_gradients(parameters: list[nn.Parameter], most: float) -> None:
    """Scale the gradients so that their norm is at most `most`."""
    given = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(given)
    if norm.device.type != "cpu" or norm > most:  # looking at it would wait for a GPU
        nn.utils.clip_grads_with_norm_(parameters, most, norm)


def check_finite(total: Tensor, step: int, steps: int) -> None:
    if not math.isfinite(float(total)):
        raise NonFiniteLoss(f"the training loss became {float(total)} at step {step} of {steps}")
