"""The learning rate of a step, a step of SGD, gradient clipping."""

import math
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from bench.core.errors import NonFiniteLoss
from bench.core.spec import Recipe

Momenta: TypeAlias = "dict[nn.Parameter, Tensor | None]"


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """Return the learning rate of a step: a linear rise over `warmup`, then the recipe's schedule down to 0."""
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
def sgd_step(parameters: list[nn.Parameter], momenta: Momenta, recipe: Recipe, lr: float) -> None:
    """Take a step of SGD with momentum, in place.

    This calls torch's function. The class imports torch's compiler at the first step of a process, for a second.
    Complex parameters move as pairs of real numbers.
    """
    # The function takes momenta of all parameters or of none, so parameters with a first gradient go separately. Fused,
    # it walks through memory: of a slice of a larger tensor, it would change what is beside it.
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for p in (p for p in parameters if p.grad is not None):
        groups.setdefault((p in momenta, _is_dense(p)), []).append(p)
    for (_, fused), group in groups.items():
        buffers = [momenta.get(p) for p in group]
        sgd(
            [_real(p) for p in group],
            [_real(p.grad) for p in group if p.grad is not None],
            buffers,
            fused=fused,
            weight_decay=recipe.weight_decay,
            momentum=recipe.momentum,
            lr=lr,
            dampening=0,
            nesterov=False,
            maximize=False,
        )
        momenta.update(zip(group, buffers, strict=True))


def _is_dense(tensor: Tensor) -> bool:
    return tensor.is_contiguous() or tensor.is_contiguous(memory_format=torch.channels_last)


def _real(tensor: Tensor) -> Tensor:
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor


def clip_gradients(parameters: list[nn.Parameter], most: float) -> None:
    """Scale the gradients so that their norm is at most `most`."""
    norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if norm.device.type != "cpu" or norm > most:  # to compare on a GPU would wait for it
        nn.utils.clip_grads_with_norm_(parameters, most, norm)


def check_finite(total: Tensor, step: int, steps: int) -> None:
    """Raise `NonFiniteLoss` if a sum of losses is NaN or infinite."""
    if not math.isfinite(float(total)):
        raise NonFiniteLoss(f"the training loss became {float(total)} at step {step} of {steps}")
