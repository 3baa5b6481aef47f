import pytest
import torch
from shared_features import cka, features
from torch import nn

from bench import NotApplicable
from bench.testing import contract

test_contract = contract("shared_features")


def test_a_rotation_and_a_scale_change_nothing():
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)).double()
    rotation = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1)).double())[0]
    x = x - x.mean(0)
    assert cka(x, 3 * x @ rotation) == pytest.approx(1)
    other = torch.randn(50, 6, generator=torch.Generator().manual_seed(2)).double()
    assert cka(x, other - other.mean(0)) < 0.4


def test_a_network_without_a_linear_layer_is_not_applicable():
    with pytest.raises(NotApplicable, match="has none"):
        features(nn.Conv2d(1, 2, 3), torch.rand(4, 1, 8, 8))
