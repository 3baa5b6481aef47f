"""Modules that are computed in another way while a network trains."""

import pickle
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from bench.training.convolutions import pixel_by_pixel
from bench.training.repeated_inputs import repeats_summed

CPU = torch.device("cpu")


@pytest.fixture
def network() -> Iterator[nn.Sequential]:
    """Return a network whose convolution and whose linear layer have another `forward`."""
    pool = nn.AdaptiveAvgPool2d(3)
    found = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), pool, nn.Flatten(), nn.Linear(54, 4))
    with pixel_by_pixel(found, CPU), repeats_summed(found, CPU):
        assert ["forward" in vars(part) for part in found] == [True, False, False, True]
        yield found


def test_a_network_can_be_stored_whole_meanwhile(network: nn.Sequential) -> None:
    x = torch.randn(5, 2, 1, 1)
    torch.testing.assert_close(pickle.loads(pickle.dumps(network))(x), network(x))


def test_the_input_has_the_name_that_it_has_in_torch(network: nn.Sequential) -> None:
    for part, x in ((network[0], torch.randn(5, 2, 1, 1)), (network[3], torch.randn(5, 54))):
        assert torch.equal(part(input=x), part(x))
