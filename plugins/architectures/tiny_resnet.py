"""A small residual network for CPUs.

K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016,
https://arxiv.org/abs/1512.03385; its section 4.2 describes the three-stage form for small images that is used here.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from bench import Architecture, hookimpl


def convolution(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Sequential:
    """Build one convolution with batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=False), nn.BatchNorm2d(outputs)
    )


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the size changes.

    The shortcut gets the pixels that a stride would select, and has no stride: the sum is the same, and a fault of
    oneDNN (https://github.com/uxlfoundation/oneDNN/issues/6035) is avoided.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = convolution(inputs, outputs, 3, stride)
        self.second = convolution(outputs, outputs, 3)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else convolution(inputs, outputs, 1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Add the output of the convolutions to the shortcut's."""
        selected = x[..., :: self.stride, :: self.stride]
        return (self.second(self.first(x).relu_()) + self.shortcut(selected)).relu_()


def halvings(shape: tuple[int, int, int]) -> int:
    """Count the halvings that bring an image's longer side to at most 16 pixels."""
    return max(0, math.ceil(math.log2(max(shape[1:]) / 16)))


def stem(shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Build the first layer; it and the poolings after it bring the image to at most 16 pixels."""
    count = halvings(shape)
    pools = [nn.MaxPool2d(3, 2, padding=1) for _ in range(count - 1)]
    return nn.Sequential(convolution(shape[0], width, 3, 2 if count else 1), nn.ReLU(inplace=True), *pools)


@dataclass(frozen=True)
class TinyResNet(Architecture):
    """Small residual network, for CPUs."""

    name: str = "tiny_resnet"
    version: int = 1
    width: int = 8
    """Channels of the first stage; the two later stages have two and four times as many."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build a stem, three residual blocks, the later two of which halve the image, and a linear head."""
        w = self.width
        return nn.Sequential(
            OrderedDict(
                stem=stem(shape, w),
                stage1=Block(w, w, 1),
                stage2=Block(w, 2 * w, 2),
                stage3=Block(2 * w, 4 * w, 2),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                head=nn.Linear(4 * w, num_classes),
            )
        )

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the residual stages."""
        return [model.get_submodule(f"stage{i}") for i in (1, 2, 3)]


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return the small ResNet."""
    return [TinyResNet()]
