"""Linear layers that get each of their inputs many times, computed with the sums of their weights.

VGG networks pool to 7 x 7 pixels. Of an image of 32 x 32 pixels one is left there, so that the first linear layer,
which has most of the parameters, gets each value 49 times.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.training.own_forward import computed_by, with_torchs_forward


def repeats_summed(model: nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """Add up the weights of linear layers on a CPU whose inputs repeat: equal but for rounding, and faster."""
    pools = (part for part in model.modules() if isinstance(part, nn.AdaptiveAvgPool2d))
    times = max(map(_pixels, pools), default=1) if device.type == "cpu" else 1

    def forward(part: nn.Linear, input: Tensor) -> Tensor:
        if input.ndim == 2 and input.shape[1] % times == 0 and _is_pooled(input):
            each = input.unflatten(1, (-1, times))
            if bool((each == each[..., :1]).all()):
                return functional.linear(each[..., 0], part.weight.unflatten(1, (-1, times)).sum(2), part.bias)
        return functional.linear(input, part.weight, part.bias)

    return computed_by(with_torchs_forward(model, nn.Linear) if times > 1 else [], forward)


def _pixels(pool: nn.AdaptiveAvgPool2d) -> int:
    """Return into how many pixels a pooling turns one."""
    size = pool.output_size
    sides: Iterable[int | None] = (size, size) if size is None or isinstance(size, int) else size
    return math.prod(side or 1 for side in sides)


def _is_pooled(x: Tensor) -> bool:
    """Return True for the output of a pooling, or of functions of that alone, and for what needs no gradient.

    Parameters in between, such as a factor for each input, get different gradients also while their values are equal.
    """
    node = x.grad_fn
    while node is not None and "AdaptiveAvgPool2D" not in node.name() and len(node.next_functions) == 1:
        node = node.next_functions[0][0]
    return not x.requires_grad or (node is not None and "AdaptiveAvgPool2D" in node.name())
