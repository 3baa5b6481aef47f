"""A plugin whose attacks sleep for a second each, in chains of up to four: what the scheduler itself costs.

50 copies of each of the four attacks are 200 tasks of depths one to four.
"""

import copy
import time
from dataclasses import dataclass

import torch
from torch import nn

from bench import Architecture, Attack, Dataset, Split, hookimpl


@dataclass(frozen=True)
class TwoTones(Dataset):
    """Dark and light 4x4 images."""

    name: str = "two_tones"
    version: int = 1

    num_classes = 2
    shape = (1, 4, 4)

    def load(self, root, train):
        """Return 64 images of two tones."""
        labels = torch.arange(64) % 2
        return Split((labels * 200)[:, None, None, None].expand(64, 1, 4, 4).to(torch.uint8).contiguous(), labels)


@dataclass(frozen=True)
class OneLayer(Architecture):
    """One linear layer."""

    name: str = "one_layer"
    version: int = 1

    def build(self, num_classes, shape):
        """Make it."""
        return nn.Sequential(nn.Flatten(), nn.Linear(16, num_classes))


@dataclass(frozen=True)
class Nap(Attack):
    """Sleep for a second and take the source as it is."""

    name: str = "nap"
    version: int = 1
    seconds: float = 1.0

    access = "weights"
    same_architecture = True

    def steal(self, source, data, build, context):
        """Return a copy of the source after a second."""
        time.sleep(self.seconds)
        return copy.deepcopy(context.start) if context.start else source.model()


@dataclass(frozen=True)
class SecondNap(Nap):
    """Sleep for another second after `nap`."""

    name: str = "second_nap"
    starts_from = "nap"
    same_architecture = False


@dataclass(frozen=True)
class ThirdNap(SecondNap):
    """Sleep for another second after `second_nap`."""

    name: str = "third_nap"
    starts_from = "second_nap"


@dataclass(frozen=True)
class FourthNap(SecondNap):
    """Sleep for another second after `third_nap`."""

    name: str = "fourth_nap"
    starts_from = "third_nap"


@hookimpl
def bench_datasets():
    """Return the dataset."""
    return [TwoTones()]


@hookimpl
def bench_architectures():
    """Return the architecture."""
    return [OneLayer()]


@hookimpl
def bench_attacks():
    """Return the attacks."""
    return [Nap(), SecondNap(), ThirdNap(), FourthNap()]
