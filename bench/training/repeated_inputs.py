"""Linear layers that get each of their inputs many times, computed with the sums of their weights.

VGG networks pool to 7 x 7 pixels. Of an image of 32 x 32 pixels one is left there, so that the first linear layer,
which has most of the parameters, gets each value 49 times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.training.own_forward import computed_by, with_torchs_forward


@contextmanager
def repeats_summed(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Add up the weights of linear layers on a CPU whose inputs repeat: equal but for rounding, and faster."""
    pools = [part for part in model.modules() if device.type == "cpu" and isinstance(part, nn.AdaptiveAvgPool2d)]
    times = 1

    def look(pool: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal times
        times = output.shape[-2:].numel() if inputs and inputs[0].shape[-2:] == (1, 1) else 1

    def forward(part: nn.Linear, x: Tensor) -> Tensor:
        if times > 1 and x.ndim == 2 and x.shape[1] % times == 0:
            each = x.unflatten(1, (-1, times))
            if bool((each == each[..., :1]).all()):
                return functional.linear(each[..., 0], part.weight.unflatten(1, (-1, times)).sum(2), part.bias)
        return functional.linear(x, part.weight, part.bias)

    hooks = [pool.register_forward_hook(look) for pool in pools]
    try:
        with computed_by(with_torchs_forward(model, nn.Linear) if pools else [], forward):
            yield
    finally:
        for hook in hooks:
            hook.remove()
