"""Networks that checks build to learn their size, and on which images and devices they work."""

from typing import Any

import torch

from bench.core.canonical import canonical
from bench.registry.fields import hyperparameters
from bench.sandbox.logs import Log
from bench.sandbox.torch_state import isolated

SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))
"""Shapes of the images of the shipped datasets."""
BIG = 1_000_000
"""Networks with as many parameters are built on the meta device only, but for costly checks."""
_sizes: dict[str, int] = {}
"""Cache of `parameters`, by the architecture's class and parameters."""


def parameters(architecture: Any, log: Log) -> int:
    """Return the number of parameters of an architecture's network; 0 if it cannot be built, which a check reports.

    It is not allocated, unless `build` needs the values of its tensors.
    """
    cls = type(architecture)
    key = canonical([cls.__module__, cls.__qualname__, id(cls), hyperparameters(architecture)])
    if key not in _sizes:
        tries = [(device, shape) for shape in reversed(SHAPES) for device in ("meta", "cpu")]
        sizes = (_size(architecture, shape, device, log) for device, shape in tries)
        _sizes[key] = next((size for size in sizes if size), 0)
    return _sizes[key]


def _size(architecture: Any, shape: tuple[int, int, int], device: str, log: Log) -> int:
    try:
        with isolated(1, log), torch.device(device):
            # layers that get their shape with the first images have none yet
            made = architecture.build(10, shape).parameters()
            return sum(p.numel() for p in made if not isinstance(p, torch.nn.UninitializedParameter))
    except (Exception, SystemExit):  # a plugin may raise anything
        return 0


def works_on(architecture: Any, shape: tuple[int, int, int], device: str, log: Log) -> bool:
    """Return True if an architecture builds a network for images of a shape, which answers them on a device.

    On the meta device that takes no memory and little time, but networks that need values fail there.
    """
    try:
        with isolated(1, log), torch.device(device), torch.no_grad():
            architecture.build(10, shape).eval()(torch.zeros(2, *shape))
    except (Exception, SystemExit):  # a plugin may raise anything
        return False
    return True
