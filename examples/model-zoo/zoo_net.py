"""A small convolutional network, and the architecture that makes bench know it."""

from dataclasses import dataclass

from torch import nn

from bench import Architecture, hookimpl


def network(num_classes, shape, width=16):
    """Build a network of two convolutions: images [N, *shape] in, logits [N, num_classes] out."""
    channels, height, width_in_pixels = shape
    pixels = (height // 2) * (width_in_pixels // 2)
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(width * pixels, num_classes),
    )


@dataclass(frozen=True)
class ZooNet(Architecture):
    """Two convolutions and a linear layer."""

    name: str = "zoo_net"
    version: int = 1
    width: int = 16

    def build(self, num_classes, shape):
        """Build the network."""
        return network(num_classes, shape, self.width)


@hookimpl
def bench_architectures():
    """Return the architecture."""
    return [ZooNet()]
