"""VGG19 with batch normalisation, stock torchvision, for any small image.

K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
https://arxiv.org/abs/1409.1556, configuration E, with batch normalisation (S. Ioffe, C. Szegedy,
ICML 2015, https://arxiv.org/abs/1502.03167).

torchvision's network, untrained, with as many outputs as there are classes. Its five poolings need 32x32 pixels:
smaller images are padded with zeros (the mean colour, since the host normalises before), and a single channel is
repeated three times.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from bench import Architecture, BenchError, hookimpl, prepare_torchvision


class Pad(nn.Module):
    """Pad images to at least 32x32 pixels and repeat a single channel."""

    def forward(self, x: Tensor) -> Tensor:
        """Give images [N, 3, max(H, 32), max(W, 32)], the originals in the middle."""
        height, width = (max(0, 32 - side) for side in x.shape[2:])
        if height or width:
            x = functional.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return x.expand(-1, 3, -1, -1)


def stages(layers: nn.Sequential) -> Iterator[nn.Sequential]:
    """Cut a row of layers after each pooling."""
    stage: list[nn.Module] = []
    for layer in layers:
        stage.append(layer)
        if isinstance(layer, nn.MaxPool2d):
            yield nn.Sequential(*stage)
            stage = []


@dataclass(frozen=True)
class VGG19BN(Architecture):
    """Stock VGG19 with batch norm (torchvision)."""

    name: str = "vgg19_bn"
    version: int = 1

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Make torchvision's network behind the padding, its convolutions grouped by stage."""
        if shape[0] not in (1, 3):
            raise BenchError(f"{self.name} takes images of 1 or 3 channels, not {shape[0]}")
        prepare_torchvision()
        from torchvision.models import vgg19_bn

        network = vgg19_bn(weights=None, num_classes=num_classes)
        network.features = nn.Sequential(*stages(network.features))
        return nn.Sequential(OrderedDict(pad=Pad(), network=network))

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the five convolutional stages, each with its pooling."""
        return list(model.network.features)


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Offer the architecture."""
    return [VGG19BN()]
