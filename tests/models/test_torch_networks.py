"""Safetensors in installed architectures that use more of torch than layers and their weights."""

import re
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save
from torch import nn

from bench import Architecture
from bench.core.errors import BenchError
from bench.models.description import Description
from bench.models.network import network
from tests.training.network_zoo import Zoo

SHAPE, CLASSES = (1, 8, 8), 7


def described(**fields):
    return Description(name="a", role="source", format="safetensors", file="a", architecture="zoo", **fields)


def opened(architecture, weights, model=None):
    return network(model or described(), architecture, save(weights), CLASSES, SHAPE, ())


def test_a_mask_of_minus_infinity_is_no_damage_and_any_other_infinity_is():
    architecture = Zoo(net="MaskedAttention")
    inner = architecture.build(CLASSES, SHAPE).eval()
    weights, x = inner.state_dict(), torch.rand(3, *SHAPE)
    with torch.no_grad():
        torch.testing.assert_close(opened(architecture, weights)(x), inner(x))
    weights["mask"][0, 0] = float("inf")
    with pytest.raises(BenchError, match="model 'a': file: it holds NaN or infinity in 'mask'"):
        opened(architecture, weights)


@pytest.mark.parametrize("net", ["Lazy", "Expanded"])
def test_lazy_modules_get_their_shapes_and_expanded_buffers_memory_of_their_own(net):
    architecture, x = Zoo(net=net), torch.rand(3, *SHAPE)
    inner = architecture.build(CLASSES, SHAPE).eval()
    with torch.no_grad():
        answers = inner(x)
        weights = {name: tensor.contiguous() for name, tensor in inner.state_dict().items()}
        torch.testing.assert_close(opened(architecture, weights)(x), answers)


@dataclass(frozen=True)
class NoNetwork(Architecture):
    """Builds none."""

    name: str = "zoo"
    version: int = 1

    def build(self, num_classes, shape):
        return None


def test_an_architecture_that_builds_no_network_is_one_line():
    with pytest.raises(BenchError, match="model 'a': architecture: architecture 'zoo': build must return a network"):
        opened(NoNetwork(), {"weight": torch.ones(1)})


class Viewing(nn.Module):
    """Calls `view` on what a convolution returns, for which that has to be contiguous."""

    def __init__(self, classes, pixels):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4 * pixels, classes)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), self.head.in_features))


@dataclass(frozen=True)
class View(Architecture):
    """Takes images of a side, or of the side for which it is built."""

    name: str = "zoo"
    version: int = 1
    side: int = 0

    def build(self, num_classes, shape):
        return Viewing(num_classes, (self.side or shape[1]) ** 2)


def test_the_memory_format_is_that_of_the_size_that_the_network_gets():
    architecture = View()
    inner, x = architecture.build(CLASSES, (1, 16, 16)), torch.rand(3, *SHAPE)
    resized = nn.functional.interpolate(x, (16, 16), mode="bilinear", antialias=True)
    found = opened(architecture, inner.state_dict(), described(size=(16, 16)))
    assert found.contiguous_only
    with torch.no_grad():
        torch.testing.assert_close(found(x), inner(resized))


@pytest.mark.parametrize(("side", "size", "field"), [(9, (16, 16), "size"), (9, None, "architecture")])
def test_a_network_that_fails_on_the_described_size_is_one_line(side, size, field):
    architecture = View(side=side)
    weights = architecture.build(CLASSES, SHAPE).state_dict()
    got = list(SHAPE if size is None else (1, *size))
    message = f"model 'a': {field}: zoo fails on images {got}: RuntimeError: shape "
    with pytest.raises(BenchError, match=re.escape(message)):
        opened(architecture, weights, described(size=size))
