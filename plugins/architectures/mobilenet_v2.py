"""MobileNetV2, stock torchvision, for any small image.

M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: Inverted Residuals and Linear Bottlenecks,
CVPR 2018, https://arxiv.org/abs/1801.04381.

torchvision's network, untrained, with as many outputs as there are classes. Images under 32x32 pixels are padded with
zeros (the mean colour, since the host normalises before) and a single channel is repeated three times.
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
    """Cut the row of blocks before each that halves the image, but keep the stem with the first block."""
    stage: list[nn.Module] = []
    for position, block in enumerate(layers):
        halves = any(isinstance(m, nn.Conv2d) and m.stride == (2, 2) for m in block.modules())
        if halves and position > 0:
            yield nn.Sequential(*stage)
            stage = []
        stage.append(block)
    yield nn.Sequential(*stage)


@dataclass(frozen=True)
class MobileNetV2(Architecture):
    """Stock MobileNetV2 (torchvision)."""

    name: str = "mobilenet_v2"
    version: int = 1
    precision = "fp32"

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Make torchvision's network behind the padding, its blocks grouped by the size of their images."""
        if shape[0] not in (1, 3):
            raise BenchError(f"{self.name} takes images of 1 or 3 channels, not {shape[0]}")
        prepare_torchvision()
        from torchvision.models import mobilenet_v2

        network = mobilenet_v2(weights=None, num_classes=num_classes)
        network.features = nn.Sequential(*stages(network.features))
        return nn.Sequential(OrderedDict(pad=Pad(), network=network))

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the five groups of blocks, one for each size of the image."""
        return list(model.network.features)


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Offer the architecture."""
    return [MobileNetV2()]
