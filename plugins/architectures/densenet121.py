"""DenseNet121, stock torchvision, for any small image.

G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional Networks, CVPR 2017,
https://arxiv.org/abs/1608.06993.

torchvision's network, untrained, with as many outputs as there are classes. Images under 32x32 pixels are padded with
zeros (the mean colour, since the host normalises before) and a single channel is repeated three times.
"""

from __future__ import annotations

from collections import OrderedDict
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


@dataclass(frozen=True)
class DenseNet121(Architecture):
    """Stock DenseNet121 (torchvision)."""

    name: str = "densenet121"
    version: int = 1

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Make torchvision's network behind the padding."""
        if shape[0] not in (1, 3):
            raise BenchError(f"{self.name} takes images of 1 or 3 channels, not {shape[0]}")
        prepare_torchvision()
        from torchvision.models import densenet121

        network = densenet121(weights=None, num_classes=num_classes)
        return nn.Sequential(OrderedDict(pad=Pad(), network=network))

    def stages(self, model: nn.Module) -> list[nn.Module]:
        """List the four dense blocks."""
        return [getattr(model.network.features, f"denseblock{i}") for i in range(1, 5)]


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Offer the architecture."""
    return [DenseNet121()]
