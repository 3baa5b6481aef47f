"""Safetensors in installed architectures that use more of torch than layers and their weights."""

from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save

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
