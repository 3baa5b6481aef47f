"""A small network of depthwise separable inverted residuals, for CPUs.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks,
CVPR 2018, https://arxiv.org/abs/1801.04381.
"""

import math
from collections import OrderedDict
from dataclasses import dataclass

from torch import Tensor, nn

from bench import Architecture, hookimpl


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Build one convolution with batch normalisation."""
    layer = nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)
    return [layer, nn.BatchNorm2d(outputs)]


class Inverted(nn.Module):
    """Widen by a 1x1 convolution, filter each channel separately, narrow again; add the input if sizes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            *convolution(inputs, hidden, 1),
            nn.ReLU6(inplace=True),
            *convolution(hidden, hidden, 3, stride, groups=hidden),
            nn.ReLU6(inplace=True),
            *convolution(hidden, outputs, 1),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the narrow layer, which has no activation."""
        return x + self.layers(x) if self.adds else self.layers(x)


def halvings(shape: tuple[int, int, int]) -> int:
    """Count the halvings that bring an image's longer side to at most 16 pixels."""
    return max(0, math.ceil(math.log2(max(shape[1:]) / 16)))


def stem(shape: tuple[int, int, int], width: int) -> nn.Sequential:
    """Build the first layer; it and the poolings after it bring the image to at most 16 pixels."""
    count = halvings(shape)
    pools = [nn.AvgPool2d(2, ceil_mode=True) for _ in range(count - 1)]
    return nn.Sequential(*convolution(shape[0], width, 3, 2 if count else 1), nn.ReLU6(inplace=True), *pools)


@dataclass(frozen=True)
class TinyMobileNet(Architecture):
    """Small network of depthwise separable inverted residuals, for CPUs."""

    name: str = "tiny_mobilenet"
    version: int = 1
    width: int = 8
    """Channels of the first stage; the two later stages have two and four times as many."""
    expansion: int = 4
    """How many times wider a block is inside."""
    precision = "fp32"

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build a stem, three stages of inverted residuals, the later two halving the image, and a linear head."""
        w, e = self.width, self.expansion
        return nn.Sequential(
            OrderedDict(
                stem=stem(shape, w),
                stage1=nn.Sequential(Inverted(w, w, 1, e)),
                stage2=nn.Sequential(Inverted(w, 2 * w, 2, e), Inverted(2 * w, 2 * w, 1, e)),
                stage3=nn.Sequential(Inverted(2 * w, 4 * w, 2, e)),
                last=nn.Sequential(*convolution(4 * w, 8 * w, 1), nn.ReLU6(inplace=True)),
                pool=nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
                head=nn.Linear(8 * w, num_classes),
            )
        )

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the stages of inverted residuals."""
        return [model.get_submodule(f"stage{i}") for i in (1, 2, 3)]


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return the small MobileNet."""
    return [TinyMobileNet()]
