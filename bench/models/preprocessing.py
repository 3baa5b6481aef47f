"""From images in [0, 1] to what a described network wants."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from bench.models.description import Description


@dataclass(frozen=True)
class Preprocessing:
    """The steps, in this order: size (bilinear, antialiased), range, mean and standard deviation, layout."""

    size: tuple[int, int]
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels_last: bool

    @staticmethod
    def of(model: Description, shape: tuple[int, int, int]) -> "Preprocessing":
        """Return the steps for images of a shape (C, H, W); BenchError if they do not fit."""
        for field in ("mean", "std"):
            values = getattr(model, field)
            if values and len(values) != shape[0]:
                raise model.fault(field, f"it has {len(values)} numbers, but the images have {shape[0]} channels")
        scale = 255.0 if model.range == "0-255" else 1.0
        return Preprocessing(model.size or shape[1:], scale, model.mean, model.std, model.layout == "NHWC")

    def __call__(self, images: Tensor) -> Tensor:
        """Return the network's input, float32, for float images [N, C, H, W] in [0, 1]."""
        if tuple(images.shape[2:]) != self.size:
            images = interpolate(images, self.size, mode="bilinear", antialias=True, align_corners=False)
        if self.scale != 1:
            images = images * self.scale
        if self.mean:
            mean, std = (torch.tensor(v, device=images.device).reshape(1, -1, 1, 1) for v in (self.mean, self.std))
            images = (images - mean) / std
        return images.permute(0, 2, 3, 1).contiguous() if self.channels_last else images.contiguous()

    @property
    def plain(self) -> bool:
        """Return True if only mean and standard deviation are applied, which `Normalised` does itself."""
        return not self.channels_last and self.scale == 1

    def input_shape(self, channels: int) -> tuple[int, int, int]:
        """Return the shape of one input image of the network."""
        return (*self.size, channels) if self.channels_last else (channels, *self.size)
