"""Convolutions whose output has few pixels."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bench.core.spec import Recipe
from bench.training.convolutions import pixel_by_pixel
from bench.training.loop import fit

CPU = torch.device("cpu")


class Convolutions(TorchFunctionMode):
    """Counts the convolutions that torch computes."""

    count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is functional.conv2d
        return function(*args, **(kwargs or {}))


def computed(part: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, list[Tensor], int]:
    """Return an output, the gradients of the images and of the parameters, and the number of convolutions."""
    part.zero_grad()
    x = x.detach().requires_grad_()
    with Convolutions() as seen:
        out = part(x)
    out.square().sum().backward()
    assert x.grad is not None
    return out.detach(), x.grad, [p.grad.clone() for p in part.parameters() if p.grad is not None], seen.count


FASTER = [
    ((1, 1), nn.Conv2d(5, 7, 3, padding=1)),
    ((2, 2), nn.Conv2d(128, 128, 3, padding=1)),
    ((2, 2), nn.Conv2d(5, 7, 3, padding=1, stride=2, bias=False)),
    ((3, 3), nn.Conv2d(128, 130, 3, padding=1, stride=2)),
    ((1, 2), nn.Conv2d(128, 128, (3, 5), padding=(1, 2))),
    ((2, 2), nn.Conv2d(128, 128, 5, padding=2, bias=False)),
    ((1, 4), nn.Conv2d(128, 128, 3, padding=1)),
    ((4, 4), nn.Conv2d(128, 128, 3, padding=1, stride=2)),
    ((2, 1), nn.Conv2d(1, 7, (2, 1))),
    ((1, 1), nn.Conv2d(5, 7, 1)),
    ((3, 3), nn.Conv2d(5, 7, 3)),
]


def changed(part: nn.Conv2d, name: str, value: object) -> nn.Conv2d:
    """Set an attribute of a convolution that was built, as code does that adapts networks to small images."""
    setattr(part, name, value)
    return part


AS_EVER = [
    ((2, 2), nn.Conv2d(128, 127, 3, padding=1)),
    ((3, 3), nn.Conv2d(128, 128, 3, padding=1)),
    ((2, 2), nn.Conv2d(128, 128, 1)),
    ((4, 4), nn.Conv2d(128, 128, 3)),
    ((5, 5), nn.Conv2d(128, 128, 3, stride=2)),
    ((1, 1), nn.Conv2d(6, 8, 3, padding=1, groups=2)),
    ((3, 3), nn.Conv2d(6, 8, 3, padding=2, dilation=2, stride=3)),
    ((1, 1), nn.Conv2d(6, 8, 3, padding="same")),
    ((1, 1), nn.Conv2d(6, 8, 3, padding=1, padding_mode="replicate")),
    ((1, 1), nn.Conv2d(6, 8, 3, padding=3)),
    ((1, 1), changed(nn.Conv2d(6, 8, 3, stride=2, padding=1), "stride", 1)),
    ((3, 3), changed(nn.Conv2d(6, 8, 3, padding=1), "padding", 0)),
    ((3, 3), changed(nn.Conv2d(6, 8, 3), "stride", [1, 1])),
]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize(("size", "part"), FASTER)
def test_small_convolutions_are_equal_but_for_rounding(size: tuple[int, int], part: nn.Conv2d, last: bool) -> None:
    part, x = part.double(), torch.randn(6, part.in_channels, *size, dtype=torch.float64)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    *expected, convolutions = computed(part, x)
    with pixel_by_pixel(part, CPU):
        *found, fewer = computed(part, x)
    assert (convolutions, fewer) == (1, 0)
    torch.testing.assert_close(found, expected)
    for layout in (torch.contiguous_format, torch.channels_last):
        assert found[0].is_contiguous(memory_format=layout) >= expected[0].is_contiguous(memory_format=layout)


def test_a_single_pixel_has_the_strides_that_torch_gives() -> None:
    part, x = nn.Conv2d(8, 16, 3, padding=1), torch.randn(6, 8, 1, 1)
    with pixel_by_pixel(part, CPU):
        assert part(x).stride() == nn.Conv2d.forward(part, x).stride() == (16, 1, 1, 1)


@pytest.mark.parametrize(("size", "part"), AS_EVER)
def test_other_convolutions_are_torchs_own(size: tuple[int, int], part: nn.Conv2d) -> None:
    x = torch.randn(6, part.in_channels, *size)
    expected = part(x)
    with pixel_by_pixel(part, CPU), Convolutions() as seen:
        assert torch.equal(part(x), expected)
    assert seen.count == 1


def test_a_single_image_without_a_batch_is_computed_as_ever() -> None:
    part = nn.Conv2d(5, 7, 3, padding=1)
    x = torch.randn(5, 1, 1)
    with pixel_by_pixel(part, CPU):
        assert torch.equal(part(x), nn.Conv2d.forward(part, x))


class Doubled(nn.Conv2d):
    """A convolution with a `forward` of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute twice the convolution."""
        return 2 * super().forward(x)


def own_forward(part: nn.Conv2d) -> nn.Conv2d:
    """Give a convolution a `forward` in its attributes, as some libraries do."""
    part.forward = lambda x: nn.Conv2d.forward(part, x) + 1  # type: ignore[method-assign]
    return part


@pytest.mark.parametrize("part", [Doubled(5, 7, 3, padding=1), own_forward(nn.Conv2d(5, 7, 3, padding=1))])
def test_a_forward_of_its_own_stays(part: nn.Conv2d) -> None:
    x, before = torch.randn(2, 5, 1, 1), dict(vars(part))
    expected = part(x)
    with pixel_by_pixel(part, CPU):
        assert torch.equal(part(x), expected)
    assert dict(vars(part)) == before


def test_nothing_is_left_in_the_network_and_copies_have_weights_of_their_own() -> None:
    part = nn.Conv2d(5, 7, 3, padding=1)
    before, x = dict(vars(part)), torch.randn(2, 5, 1, 1)
    with pytest.raises(RuntimeError), pixel_by_pixel(part, CPU):
        duplicate = copy.deepcopy(part)
        raise RuntimeError
    assert dict(vars(part)) == before
    nn.init.zeros_(part.weight)
    torch.testing.assert_close(duplicate(x), nn.Conv2d.forward(duplicate, x))


def trained(wrap: Callable[[nn.Module], nn.Module]) -> list[Tensor]:
    """Train a small network whose second convolution sees one pixel, and return its parameters."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(8), wrap(nn.Conv2d(8, 8, 3, padding=1)), nn.Flatten()
    )
    images, labels = torch.rand(64, 1, 8, 8), torch.arange(64) % 8
    recipe = Recipe(epochs=4, batch=16)
    fit(network, images, labels, recipe=recipe, generator=torch.Generator().manual_seed(1))
    return [p.detach() for p in network.parameters()]


class Plain(nn.Conv2d):
    """A convolution that is computed by torch."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the convolution."""
        return super().forward(x)


def test_a_training_gives_the_same_network_but_for_rounding() -> None:
    def plainly(part: nn.Module) -> nn.Module:
        part.__class__ = Plain
        return part

    with Convolutions() as every:
        expected = trained(plainly)
    with Convolutions() as fewer:
        found = trained(lambda part: part)
    assert every.count == 2 * fewer.count > 0
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
