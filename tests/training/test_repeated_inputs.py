"""Linear layers behind a pooling that repeats one pixel."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from bench.training.repeated_inputs import repeats_summed

CPU = torch.device("cpu")


class Products(TorchFunctionMode):
    """Keeps the numbers of inputs of the linear layers that torch computes."""

    def __init__(self) -> None:
        super().__init__()
        self.inputs: list[int] = []

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is functional.linear:
            self.inputs.append(args[0].shape[1])
        return function(*args, **(kwargs or {}))


def network(*between: nn.Module) -> nn.Sequential:
    """Return a network like a VGG: its pooling enlarges one pixel to 3 x 3."""
    pool = nn.AdaptiveAvgPool2d(3)
    return nn.Sequential(nn.Conv2d(2, 6, 1), pool, nn.Flatten(), *between, nn.Linear(54, 18), nn.Linear(18, 4))


def computed(model: nn.Module, x: Tensor) -> tuple[Tensor, list[Tensor], list[int]]:
    """Return logits, the gradients of the images and of all parameters, and the inputs of the linear layers."""
    model.zero_grad()
    x = x.detach().requires_grad_()
    with Products() as seen:
        logits = model(x)
    logits.square().sum().backward()
    return logits.detach(), [p.grad.clone() for p in (x, *model.parameters()) if p.grad is not None], seen.inputs


@pytest.mark.parametrize("between", [[], [nn.ReLU()]])
def test_repeated_inputs_are_taken_once_with_the_sum_of_their_weights(between: list[nn.Module]) -> None:
    model, x = network(*between), torch.randn(5, 2, 1, 1)
    *expected, inputs = computed(model, x)
    with repeats_summed(model, CPU):
        *found, fewer = computed(model, x)
    assert (inputs, fewer) == ([54, 18], [6, 18])
    torch.testing.assert_close(found, expected)
    assert all(p.grad is not None and p.grad.is_contiguous() for p in model.parameters())


def test_inputs_that_differ_are_all_taken() -> None:
    for model, size in ((network(), 2), (network(nn.Dropout(0.5)), 1)):
        with repeats_summed(model, CPU):
            model(torch.randn(5, 2, 1, 1))  # what one batch repeats, another need not
            *_, inputs = computed(model, torch.randn(5, 2, size, size))
        assert inputs == [54, 18]


class Factors(nn.Module):
    """A factor of its own for each input, one before it is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.ones(54))

    def forward(self, x: Tensor) -> Tensor:
        """Compute the products."""
        return x * self.factors


def test_parameters_of_single_inputs_get_gradients_of_their_own() -> None:
    """Before the first step their values are equal, and so are the inputs of the linear layer."""
    model, x = network(Factors()), torch.randn(5, 2, 1, 1)
    *expected, _ = computed(model, x)
    with repeats_summed(model, CPU):
        *found, inputs = computed(model, x)
    assert inputs == [54, 18]
    torch.testing.assert_close(found, expected)


def test_images_that_a_pooling_does_not_enlarge_are_computed_as_ever() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))
    x = torch.ones(5, 6, 1, 1)
    with repeats_summed(model, CPU):
        *_, inputs = computed(model, x)
    assert inputs == [6]


class Negative(nn.Linear):
    """A linear layer with a `forward` of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the opposite."""
        return -super().forward(x)


def test_a_forward_of_its_own_stays() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(3), nn.Flatten(), Negative(18, 4))
    x = torch.randn(5, 2, 1, 1)
    expected = model(x)
    with repeats_summed(model, CPU):
        assert torch.equal(model(x), expected)


def test_nothing_is_left_in_the_network() -> None:
    model = network()
    before = [dict(vars(part)) for part in model.modules()]
    with pytest.raises(RuntimeError), repeats_summed(model, CPU):
        raise RuntimeError
    assert [dict(vars(part)) for part in model.modules()] == before
