"""A small densely connected network for CPUs.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional Networks, CVPR 2017,
https://arxiv.org/abs/1608.06993; the form without bottlenecks, with compressing transitions.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench import Architecture, hookimpl


def activated(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """Build batch normalisation, ReLU and one convolution, in this order."""
    convolution = nn.Conv2d(inputs, outputs, size, padding=size // 2, bias=False)
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), convolution)


class Dense(nn.Module):
    """Layers that each see the outputs of all before them, joined along the channels."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(activated(inputs + i * growth, growth, 3) for i in range(layers))
        self.outputs = inputs + layers * growth

    def forward(self, x: Tensor) -> Tensor:
        """Append each layer's channels to those there are."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


def transition(inputs: int, outputs: int) -> nn.Sequential:
    """Build the 1x1 convolution and average pooling between two dense blocks."""
    return nn.Sequential(activated(inputs, outputs, 1), nn.AvgPool2d(2, ceil_mode=True))


def halvings(shape: tuple[int, int, int]) -> int:
    """Count the halvings that bring an image's longer side to at most 16 pixels."""
    return max(0, math.ceil(math.log2(max(shape[1:]) / 16)))


def stem(shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Build the first convolution; it and the poolings after it bring the image to at most 16 pixels."""
    count = halvings(shape)
    first = nn.Conv2d(shape[0], width, 3, 2 if count else 1, padding=1, bias=False)
    return nn.Sequential(first, *(nn.AvgPool2d(2, ceil_mode=True) for _ in range(count - 1)))


@dataclass(frozen=True)
class TinyDenseNet(Architecture):
    """Small densely connected network, for CPUs."""

    name: str = "tiny_densenet"
    version: int = 1
    width: int = 8
    """Channels of the stem, and how many each dense layer adds."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build a stem, three dense blocks with transitions between them, and a linear head."""
        w = self.width
        blocks = [Dense(w, w, 2), Dense(2 * w, w, 2), Dense(2 * w, w, 2)]
        return nn.Sequential(
            OrderedDict(
                stem=stem(shape, w),
                dense1=blocks[0],
                transition1=transition(blocks[0].outputs, 2 * w),
                dense2=blocks[1],
                transition2=transition(blocks[1].outputs, 2 * w),
                dense3=blocks[2],
                norm=nn.Sequential(nn.BatchNorm2d(blocks[2].outputs), nn.ReLU(inplace=True)),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                head=nn.Linear(blocks[2].outputs, num_classes),
            )
        )

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the dense blocks."""
        return [model.get_submodule(f"dense{i}") for i in (1, 2, 3)]


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return the small DenseNet."""
    return [TinyDenseNet()]
