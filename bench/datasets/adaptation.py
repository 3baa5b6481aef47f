"""Adapt images to the shape of another dataset's: their size and their channels."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

CHUNK = 4096
"""Images that are adapted at once."""
LUMINANCE = (0.299, 0.587, 0.114)
"""The share of red, green and blue in a grey image, as in JPEG."""


def adapted(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """Return a copy of uint8 images [N, C, H, W] in another shape (channels, height, width), on the same device.

    A grey image gets equal channels, three channels become their luminance, other numbers their mean; the planner lets
    no other pair through. The size is changed by bilinear interpolation, with an antialiasing filter.
    """
    if tuple(images.shape[1:]) == shape:
        return images.clone()
    return torch.cat([_adapted(part, shape) for part in torch.split(images, CHUNK)])


def _adapted(images: Tensor, shape: tuple[int, int, int]) -> Tensor:
    x = images.float()
    if x.shape[1] != shape[0] and shape[0] == 1:
        even = [1 / x.shape[1]] * x.shape[1]
        weights = torch.tensor(LUMINANCE if x.shape[1] == 3 else even, device=x.device)
        x = (x * weights.reshape(1, -1, 1, 1)).sum(1, keepdim=True)
    if tuple(x.shape[2:]) != shape[1:]:
        x = interpolate(x, size=shape[1:], mode="bilinear", antialias=True)
    return x.round().clamp(0, 255).to(torch.uint8).expand(-1, shape[0], -1, -1).contiguous()
