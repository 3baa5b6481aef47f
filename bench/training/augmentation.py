"""Augment images on their device, all of a batch at once."""

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor
from torch.nn import functional


def augment(images: Tensor, flip: bool, crop: int, generator: torch.Generator) -> Tensor:
    """Shift each image by up to `crop` pixels (filled with black) and mirror half of them.

    images: [N, C, H, W], any dtype and device. Returns a tensor of the same shape and dtype. Random numbers are drawn
    on the generator's device, so that a generator on the CPU gives the same views everywhere.
    """
    if not flip and not crop:
        return images
    n, _, h, w = images.shape
    mirrored = torch.rand(n, device=generator.device, generator=generator) < 0.5 if flip else torch.zeros(n).bool()
    shift = torch.zeros(2, n, dtype=torch.int64)
    if crop:
        images = functional.pad(images, (crop, crop, crop, crop))
        shift = torch.randint(2 * crop + 1, (2, n, 1), device=generator.device, generator=generator)[:, :, 0]
    on_cpu = images.device.type == "cpu" and images.dtype != torch.bfloat16  # numpy has no bfloat16
    windows = _windows_by_numpy if on_cpu else _windows_by_gather
    return windows(images.detach(), shift.to(images.device), mirrored.to(images.device), h, w)


def _windows_by_numpy(images: Tensor, shift: Tensor, mirrored: Tensor, h: int, w: int) -> Tensor:
    """Copy a window of [h, w] out of each image, row by row, and mirror some of them."""
    windows = sliding_window_view(images.numpy(), (h, w), axis=(2, 3)).transpose(0, 2, 3, 1, 4, 5)
    views = torch.from_numpy(windows[np.arange(len(images)), shift[0].numpy(), shift[1].numpy()])
    chosen = mirrored.nonzero()[:, 0]
    views[chosen] = views[chosen].flip(3)
    return views


def _windows_by_gather(images: Tensor, shift: Tensor, mirrored: Tensor, h: int, w: int) -> Tensor:
    """Compute the same pixel by pixel, which a GPU does in one operation."""
    n, c = images.shape[:2]
    rows = torch.arange(h, device=images.device) + shift[0, :, None]
    columns = torch.arange(w, device=images.device).expand(n, w)
    columns = torch.where(mirrored[:, None], w - 1 - columns, columns) + shift[1, :, None]
    index = rows[:, :, None] * images.shape[3] + columns[:, None, :]
    flat = images.reshape(n, c, -1)
    return flat.gather(2, index.reshape(n, 1, h * w).expand(n, c, h * w)).reshape(n, c, h, w)


def pixels(images: Tensor) -> Tensor:
    """Convert uint8 images to float32 in [0, 1], and other dtypes to float32 as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images.float()
