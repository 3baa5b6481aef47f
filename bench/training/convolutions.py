"""Convolutions whose output has few pixels, computed by a matrix product for each.

At the end of a network for large images, images of 32 x 32 pixels have one to four left. Eight of nine taps of a 3 x 3
kernel lie on padding then, and torch multiplies their weights by zeros.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.training.own_forward import computed_by, with_torchs_forward

PIXELS = 4
"""The most pixels of such an output."""
CHANNELS = 128
"""The fewest channels, of the image and of the output, if there is more than one pixel."""
Window = tuple[slice, slice]
"""Positions along a side of an image on which taps of a kernel lie, and these taps."""
Pair = tuple[int, int]


def pixel_by_pixel(model: nn.Module, device: torch.device) -> AbstractContextManager[None]:
    """Compute the small convolutions of a network on a CPU by matrix products: equal but for rounding, and faster."""
    parts = with_torchs_forward(model, nn.Conv2d) if device.type == "cpu" else []
    return computed_by([part for part in parts if _is_ordinary(part)], forward)


def _is_ordinary(part: nn.Conv2d) -> bool:
    """Return True for dense convolutions with zeros around the image, whose sizes are pairs: some set `stride = 1`."""
    return (
        type(part)._conv_forward is nn.Conv2d._conv_forward
        and part.groups == 1
        and part.dilation == (1, 1)
        and part.padding_mode == "zeros"
        and all(isinstance(pair, tuple) for pair in (part.kernel_size, part.stride, part.padding))
    )


def forward(part: nn.Conv2d, input: Tensor) -> Tensor:
    """Compute a convolution, by matrix products if its output has few pixels."""
    padding: Pair = part.padding  # type: ignore[assignment]  # `_is_ordinary` excludes text
    most = PIXELS if min(part.in_channels, part.out_channels) >= CHANNELS else 1
    found = windows(input.shape[2:], part.kernel_size, part.stride, padding, most)
    if found is None:
        out: Tensor = nn.Conv2d.forward(part, input)
        return out
    rows, columns = found
    pixels, taps = input.permute(0, 2, 3, 1), part.weight.permute(0, 2, 3, 1)
    if len(rows) * len(columns) > 1:
        taps = taps.contiguous()  # each is used more than once
    outputs = [
        functional.linear(pixels[:, i, j].flatten(1), taps[:, k, m].flatten(1), part.bias)
        for i, k in rows
        for j, m in columns
    ]
    if len(outputs) == 1:  # strides as torch's own convolution gives: with others, the next normalisation is slow
        return outputs[0][:, :, None, None]
    out = torch.stack(outputs, 1).unflatten(1, (len(rows), len(columns))).permute(0, 3, 1, 2)
    return out.contiguous() if input.is_contiguous() else out


@lru_cache(maxsize=1024)
def windows(
    size: Pair, kernel: Pair, stride: Pair, padding: Pair, most: int
) -> tuple[list[Window], list[Window]] | None:
    """Return which pixels each row and each column of an output is computed from, and by which taps.

    None, where a matrix product for each pixel would not be faster: the output has more pixels than `most`, or several
    and less than a quarter of the taps lies on padding, or all of a pixel's do.
    """
    if len(size) != 2:
        return None
    rows, columns = (_along(*side) for side in zip(size, kernel, stride, padding, strict=True))
    outputs = len(rows) * len(columns)
    on_rows, on_columns = ([taps.stop - taps.start for _, taps in side] for side in (rows, columns))
    if not 0 < outputs <= most or min(on_rows + on_columns) <= 0:
        return None
    on_image = sum(on_rows) * sum(on_columns) / (outputs * kernel[0] * kernel[1])
    return (rows, columns) if outputs == 1 or on_image <= 0.75 else None


def _along(size: int, kernel: int, stride: int, padding: int) -> list[Window]:
    starts = range(-padding, size + padding - kernel + 1, stride)
    return [(slice(max(s, 0), min(s + kernel, size)), slice(max(-s, 0), min(kernel, size - s))) for s in starts]
