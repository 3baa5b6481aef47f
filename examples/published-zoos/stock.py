"""Torchvision's networks under torchvision's own tensor names, as published state dicts have them.

The shipped architectures (`vgg13`, `resnet18`, ...) group layers into stages and pad small images, so their tensors
have other names.
"""

from dataclasses import dataclass

from torch import nn

from bench import Architecture, BenchError, hookimpl, prepare_torchvision


@dataclass(frozen=True)
class Stock(Architecture):
    """A classification network that torchvision builds by its name."""

    name: str = "stock"
    version: int = 1
    network: str = "resnet18"

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Build it with `num_classes` outputs; BenchError if torchvision has no such network."""
        prepare_torchvision()
        from torchvision import models

        if self.network not in models.list_models(module=models):
            raise BenchError(f"stock.network: torchvision has no classification network {self.network!r}")
        return models.get_model(self.network, weights=None, num_classes=num_classes)


@hookimpl
def bench_architectures() -> list[Architecture]:
    """Return the architecture."""
    return [Stock()]
