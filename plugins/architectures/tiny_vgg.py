"""A small plain convolutional network after VGG, for CPUs.

K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
https://arxiv.org/abs/1409.1556; with batch normalisation (S. Ioffe, C. Szegedy, ICML 2015,
https://arxiv.org/abs/1502.03167) and global average pooling in place of the hidden linear layers.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from torch import nn

from bench import Architecture, hookimpl


def layer(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """Build one 3x3 convolution with batch normalisation and ReLU."""
    convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
    return [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def halvings(shape: tuple[int, int, int]) -> int:
    """Count the halvings that bring an image's longer side to at most 16 pixels."""
    return max(0, math.ceil(math.log2(max(shape[1:]) / 16)))


def stem(shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Build the first layer; it and the poolings after it bring the image to at most 16 pixels."""
    count = halvings(shape)
    pools = [nn.MaxPool2d(2, ceil_mode=True) for _ in range(count - 1)]
    return nn.Sequential(*layer(shape[0], width, stride=2 if count else 1), *pools)


@dataclass(frozen=True)
class TinyVGG(Architecture):
    """Small plain stack of 3x3 convolutions with batch norm, for CPUs."""

    name: str = "tiny_vgg"
    version: int = 1
    width: int = 8
    """Channels of the first stage; the two later stages have two and four times as many."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build a stem, stages of one, two and two layers with max pooling between them, and a linear head."""
        w = self.width
        return nn.Sequential(
            OrderedDict(
                stem=stem(shape, w),
                stage1=nn.Sequential(*layer(w, w)),
                stage2=nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), *layer(w, 2 * w), *layer(2 * w, 2 * w)),
                stage3=nn.Sequential(nn.MaxPool2d(2, ceil_mode=True), *layer(2 * w, 4 * w), *layer(4 * w, 4 * w)),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                head=nn.Linear(4 * w, num_classes),
            )
        )

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the convolutional stages."""
        return [model.get_submodule(f"stage{i}") for i in (1, 2, 3)]


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return the small VGG."""
    return [TinyVGG()]
