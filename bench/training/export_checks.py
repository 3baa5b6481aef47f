"""Check that a file with the tensors of a network's state dict holds the whole network, before it is written."""

from collections.abc import Mapping

import torch
from torch import Tensor

from bench.api.components import Architecture
from bench.training.inference import eval_mode
from bench.training.network_state import RESERVED, network_state
from bench.training.networks import wrapped
from bench.training.randomness import unchanged_generators
from bench.training.round_trip import random_images

INNER = "inner."
"""The beginning of a stored name of what the architecture built; the others are of the host."""

Shape = tuple[int, int, int]


def state_dict_of(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a stored network's state dict, without its normalisation."""
    return {name.removeprefix(INNER): tensor for name, tensor in weights.items() if name.startswith(INNER)}


def lost_entry(architecture: Architecture, num_classes: int, shape: Shape, weights: Mapping[str, Tensor]) -> str:
    """Return an entry of a network's state that a file of its state dict would not bring back; empty if it brings all.

    The others come from `build` then: they are compared with those of two fresh networks, of which one could have drawn
    the same by chance.
    """
    beside = [name for name in weights if name.startswith(RESERVED)]
    if not beside:
        return ""
    with unchanged_generators():
        for _ in range(2):
            try:
                fresh = wrapped(architecture, num_classes, shape, weights["mean"], weights["std"])
                fresh.inner.load_state_dict(state_dict_of(weights), strict=True)
                with torch.no_grad(), eval_mode(fresh):
                    fresh(random_images(shape))  # which may make a buffer
                state = network_state(fresh)
            except Exception:  # third-party code, and state dicts with more than tensors
                return _shown(beside[0])
            for name, tensor in weights.items():
                if name not in state or not _are_equal(state[name], tensor):
                    return _shown(name)
    return ""


def lost_when_built(architecture: Architecture, num_classes: int, shape: Shape) -> str:
    """Return the `lost_entry` of a network that was just built; empty if none can be built."""
    try:
        with unchanged_generators():
            built = wrapped(architecture, num_classes, shape, torch.zeros(shape[0]), torch.ones(shape[0]))
        state = network_state(built)
    except Exception:  # third-party code; the fault is reported where the network is trained
        return ""
    return lost_entry(architecture, num_classes, shape, state)


def _are_equal(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(one, other)


def _shown(name: str) -> str:
    return name.removeprefix(RESERVED).rpartition(":")[2].removeprefix(INNER) or name
