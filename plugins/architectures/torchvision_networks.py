"""Seven torchvision networks, untrained, for any small image.

`vgg13`, `vgg16_bn`, `vgg19_bn`: K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image
Recognition, ICLR 2015, https://arxiv.org/abs/1409.1556, configurations B, D and E; the latter two with batch
normalisation (S. Ioffe, C. Szegedy, ICML 2015, https://arxiv.org/abs/1502.03167).
`resnet18`, `resnet34`: K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition, CVPR 2016,
https://arxiv.org/abs/1512.03385.
`densenet121`: G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional Networks, CVPR
2017, https://arxiv.org/abs/1608.06993.
`mobilenet_v2`: M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: Inverted Residuals and Linear
Bottlenecks, CVPR 2018, https://arxiv.org/abs/1801.04381.

These networks halve the image five times. Images under 32x32 pixels are padded with zeros (the mean colour, since the
host normalises before), and a single channel is repeated three times.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional

from bench import Architecture, BenchError, hookimpl, prepare_torchvision


class Pad(nn.Module):
    """Pad images to at least 32x32 pixels and repeat a single channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Return images [N, 3, max(H, 32), max(W, 32)], the originals in the middle."""
        height, width = (max(0, 32 - side) for side in x.shape[2:])
        if height or width:
            x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return x.expand(-1, 3, -1, -1)


def split(layers: nn.Module, starts: Sequence[int]) -> nn.Sequential:
    """Group a row of layers; groups start at layer 0 and at each of `starts`."""
    row = list(layers.children())
    return nn.Sequential(*(nn.Sequential(*row[start:end]) for start, end in pairwise([0, *starts, len(row)])))


class TorchvisionNetwork(Architecture):
    """A network that torchvision's function of the same name builds, behind the padding."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build the network with `num_classes` outputs and torchvision's initial weights."""
        if shape[0] not in (1, 3):
            raise BenchError(f"{self.name} takes images of 1 or 3 channels, not {shape[0]}")
        prepare_torchvision()
        from torchvision import models

        network = getattr(models, self.name)(weights=None, num_classes=num_classes)
        if starts := self.stage_starts(network):
            network.features = split(network.features, starts)
        return nn.Sequential(OrderedDict(pad=Pad(), network=network))

    def stage_starts(self, network: nn.Module) -> list[int]:
        """List where stages start in `features`, after the first; empty where torchvision has modules for stages."""
        return []


class VGG(TorchvisionNetwork):
    """A VGG, its convolutions grouped by stage."""

    def stage_starts(self, network: nn.Module) -> list[int]:
        """Start a stage after each pooling but the last."""
        layers = network.get_submodule("features").children()
        return [i + 1 for i, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)][:-1]

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the five convolutional stages, each with its pooling."""
        return list(model.get_submodule("network.features").children())


class ResNet(TorchvisionNetwork):
    """A residual network."""

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the four residual stages."""
        return [model.get_submodule(f"network.layer{i}") for i in range(1, 5)]


@dataclass(frozen=True)
class VGG13(VGG):
    """Stock VGG13 without batch norm (torchvision)."""

    name: str = "vgg13"
    version: int = 1


@dataclass(frozen=True)
class VGG16BN(VGG):
    """Stock VGG16 with batch norm (torchvision)."""

    name: str = "vgg16_bn"
    version: int = 1


@dataclass(frozen=True)
class VGG19BN(VGG):
    """Stock VGG19 with batch norm (torchvision)."""

    name: str = "vgg19_bn"
    version: int = 1


@dataclass(frozen=True)
class ResNet18(ResNet):
    """Stock ResNet18 (torchvision)."""

    name: str = "resnet18"
    version: int = 1


@dataclass(frozen=True)
class ResNet34(ResNet):
    """Stock ResNet34 (torchvision)."""

    name: str = "resnet34"
    version: int = 1


@dataclass(frozen=True)
class DenseNet121(TorchvisionNetwork):
    """Stock DenseNet121 (torchvision)."""

    name: str = "densenet121"
    version: int = 1

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the four dense blocks."""
        return [model.get_submodule(f"network.features.denseblock{i}") for i in range(1, 5)]


@dataclass(frozen=True)
class MobileNetV2(TorchvisionNetwork):
    """Stock MobileNetV2 (torchvision)."""

    name: str = "mobilenet_v2"
    version: int = 1
    precision = "fp32"

    def stage_starts(self, network: nn.Module) -> list[int]:
        """Start a stage at each block that halves the image; the stem stays with the first block."""
        halving = [
            any(isinstance(m, nn.Conv2d) and m.stride == (2, 2) for m in block.modules())
            for block in network.get_submodule("features").children()
        ]
        return [i for i, halves in enumerate(halving) if halves and i > 0]

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the five groups of blocks, one for each size of the image."""
        return list(model.get_submodule("network.features").children())


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return the seven architectures."""
    return [VGG13(), VGG16BN(), VGG19BN(), ResNet18(), ResNet34(), DenseNet121(), MobileNetV2()]
