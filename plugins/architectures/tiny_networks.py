"""Four small networks for CPUs, with global average pooling and a linear head.

`tiny_vgg`: K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
https://arxiv.org/abs/1409.1556; with batch normalisation (S. Ioffe, C. Szegedy, ICML 2015,
https://arxiv.org/abs/1502.03167) and global average pooling in place of the hidden linear layers.
`tiny_resnet`: K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016,
https://arxiv.org/abs/1512.03385; its section 4.2 describes the three-stage form for small images that is used here.
`tiny_densenet`: G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional Networks, CVPR
2017, https://arxiv.org/abs/1608.06993; the form without bottlenecks, with compressing transitions.
`tiny_mobilenet`: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: Inverted Residuals and Linear
Bottlenecks, CVPR 2018, https://arxiv.org/abs/1801.04381.
"""

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from bench import Architecture, hookimpl

max_pool = partial(nn.MaxPool2d, 2, ceil_mode=True)
average_pool = partial(nn.AvgPool2d, 2, ceil_mode=True)


def convolution(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    """Build a convolution without bias that keeps the image's size if the stride is 1."""
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, groups=groups, bias=False)


def normalised(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Build a convolution and its batch normalisation."""
    return [convolution(inputs, outputs, size, stride, groups), nn.BatchNorm2d(outputs)]


def halved(
    shape: tuple[int, int, int], first: Callable[[int], list[nn.Module]], pool: Callable[[], nn.Module]
) -> nn.Sequential:
    """Build the stem, which brings an image's longer side to at most 16 pixels.

    `first` builds the layers that start with a convolution of a given stride, `pool` one that halves the image again.
    """
    count = max(0, math.ceil(math.log2(max(shape[1:]) / 16)))
    return nn.Sequential(*first(2 if count else 1), *(pool() for _ in range(count - 1)))


def with_head(width: int, num_classes: int, **stages: nn.Module) -> nn.Sequential:
    """Build a network of stages, global average pooling and a linear layer."""
    pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return nn.Sequential(OrderedDict(**stages, pool=pool, head=nn.Linear(width, num_classes)))


class ThreeStages(Architecture):
    """A network with three modules `stage1` to `stage3`."""

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the stages."""
        return [model.get_submodule(f"stage{i}") for i in (1, 2, 3)]


def vgg_layer(inputs: int, outputs: int, stride: int = 1) -> list[nn.Module]:
    """Build one 3x3 convolution with batch normalisation and ReLU."""
    return [*normalised(inputs, outputs, 3, stride), nn.ReLU(inplace=True)]


@dataclass(frozen=True)
class TinyVGG(ThreeStages):
    """Small plain stack of 3x3 convolutions with batch norm, for CPUs."""

    name: str = "tiny_vgg"
    version: int = 1
    width: int = 8
    """Channels of the first stage; the two later stages have two and four times as many."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build a stem, stages of one, two and two layers with max pooling between them, and a linear head."""
        w = self.width
        return with_head(
            4 * w,
            num_classes,
            stem=halved(shape, lambda stride: vgg_layer(shape[0], w, stride), max_pool),
            stage1=nn.Sequential(*vgg_layer(w, w)),
            stage2=nn.Sequential(max_pool(), *vgg_layer(w, 2 * w), *vgg_layer(2 * w, 2 * w)),
            stage3=nn.Sequential(max_pool(), *vgg_layer(2 * w, 4 * w), *vgg_layer(4 * w, 4 * w)),
        )


class Residual(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the size changes.

    The shortcut gets the pixels that a stride would select, and has no stride: the sum is the same, and a fault of
    oneDNN (https://github.com/uxlfoundation/oneDNN/issues/6035) is avoided.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(*normalised(inputs, outputs, 3, stride))
        self.second = nn.Sequential(*normalised(outputs, outputs, 3))
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*normalised(inputs, outputs, 1))
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Add the output of the convolutions to the shortcut's."""
        selected = x[..., :: self.stride, :: self.stride]
        return (self.second(self.first(x).relu_()) + self.shortcut(selected)).relu_()


@dataclass(frozen=True)
class TinyResNet(ThreeStages):
    """Small residual network, for CPUs."""

    name: str = "tiny_resnet"
    version: int = 1
    width: int = 8
    """Channels of the first stage; the two later stages have two and four times as many."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build a stem, three residual blocks, the later two of which halve the image, and a linear head."""
        w = self.width

        def first(stride: int) -> list[nn.Module]:
            return [nn.Sequential(*normalised(shape[0], w, 3, stride)), nn.ReLU(inplace=True)]

        return with_head(
            4 * w,
            num_classes,
            stem=halved(shape, first, partial(nn.MaxPool2d, 3, 2, padding=1)),
            stage1=Residual(w, w, 1),
            stage2=Residual(w, 2 * w, 2),
            stage3=Residual(2 * w, 4 * w, 2),
        )


def activated(inputs: int, outputs: int, size: int) -> nn.Sequential:
    """Build batch normalisation, ReLU and one convolution, in this order."""
    return nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU(inplace=True), convolution(inputs, outputs, size))


class Dense(nn.Module):
    """Layers that each see the outputs of all before them, joined along the channels."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(activated(inputs + i * growth, growth, 3) for i in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Append each layer's channels to those there are."""
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)
        return x


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
        blocks = [Dense(w, w, 2), Dense(2 * w, w, 2), Dense(2 * w, w, 2)]  # of 3w, 4w and 4w channels
        return with_head(
            4 * w,
            num_classes,
            stem=halved(shape, lambda stride: [convolution(shape[0], w, 3, stride)], average_pool),
            dense1=blocks[0],
            transition1=nn.Sequential(activated(3 * w, 2 * w, 1), average_pool()),
            dense2=blocks[1],
            transition2=nn.Sequential(activated(4 * w, 2 * w, 1), average_pool()),
            dense3=blocks[2],
            norm=nn.Sequential(nn.BatchNorm2d(4 * w), nn.ReLU(inplace=True)),
        )

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the dense blocks."""
        return [model.get_submodule(f"dense{i}") for i in (1, 2, 3)]


class Inverted(nn.Module):
    """Widen by a 1x1 convolution, filter each channel separately, narrow again; add the input if sizes allow."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.layers = nn.Sequential(
            *normalised(inputs, hidden, 1),
            nn.ReLU6(inplace=True),
            *normalised(hidden, hidden, 3, stride, groups=hidden),
            nn.ReLU6(inplace=True),
            *normalised(hidden, outputs, 1),
        )
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """Return the narrow layer, which has no activation."""
        return x + self.layers(x) if self.adds else self.layers(x)


@dataclass(frozen=True)
class TinyMobileNet(ThreeStages):
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

        def first(stride: int) -> list[nn.Module]:
            return [*normalised(shape[0], w, 3, stride), nn.ReLU6(inplace=True)]

        return with_head(
            8 * w,
            num_classes,
            stem=halved(shape, first, average_pool),
            stage1=nn.Sequential(Inverted(w, w, 1, e)),
            stage2=nn.Sequential(Inverted(w, 2 * w, 2, e), Inverted(2 * w, 2 * w, 1, e)),
            stage3=nn.Sequential(Inverted(2 * w, 4 * w, 2, e)),
            last=nn.Sequential(*normalised(4 * w, 8 * w, 1), nn.ReLU6(inplace=True)),
        )


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return the four architectures."""
    return [TinyVGG(), TinyResNet(), TinyDenseNet(), TinyMobileNet()]
