"""Whether a network comes back from its stored state as the same network."""

import copy
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.core.errors import BenchError, describe_error
from bench.training.inference import eval_mode, logits_in_batches
from bench.training.network_state import network_state
from bench.training.networks import Normalised
from bench.training.randomness import unchanged_generators
from bench.training.sharing import moved, named_tensors, shared_names

IMAGES = 4
"""Random images about which two networks are asked."""
CLOSE = 0.01
"""Largest difference of answers, relative to 1 plus the largest answer: memory formats and TF32 change last digits."""

Recreate = Callable[[Mapping[str, Tensor]], nn.Module]
"""Builds a network with a given state."""

_verified: set[tuple[Architecture, int, tuple[int, int, int]]] = set()
"""Architectures, numbers of classes and image shapes whose networks were tried in this process."""


def verified(
    model: Normalised, architecture: Architecture, num_classes: int, shape: tuple[int, int, int]
) -> Normalised:
    """Return a network that was just built, if such a network comes back from the store; BenchError otherwise.

    It is tried before anything is trained, once per process for each architecture, number of classes and shape. One
    that cannot be asked is returned: the fault is reported where the network is used.
    """
    key = architecture, num_classes, shape
    if key in _verified or model.recreate is None or any(t.is_meta for t in named_tensors(model).values()):
        return model
    try:
        stored_state(model, model.recreate, shape, f"the network that architecture {architecture.name!r} built")
        _verified.add(key)
    except BenchError:
        raise
    except Exception:  # third-party code
        return model
    return model


def stored_state(model: nn.Module, recreate: Recreate, shape: tuple[int, int, int], who: str) -> dict[str, Tensor]:
    """Return the state of a network; BenchError if the network that comes back from it gives other answers.

    A network whose own answers differ from call to call cannot be judged.
    """
    state, x = network_state(model), random_images(shape)
    stored = detached(state)
    answers = answers_of(model, x)
    try:
        again = moved(recreate(stored), next(model.parameters()).device)
        others = answers_of(again, x)
    except (BenchError, MemoryError, torch.OutOfMemoryError):  # full memory is no fault of the network
        raise
    except Exception as error:  # third-party code
        raise BenchError(f"{who} cannot be loaded from the store: {describe_error(error)}") from error
    if not are_close(answers, others) and are_close(answers, answers_of(model, x)):
        raise BenchError(
            f"{who} answers otherwise after it was stored and loaded: what its answers depend on must be a parameter, "
            "a buffer, or what get_extra_state() returns; what build() draws or forward() changes elsewhere is lost"
        )
    return state


def difference(model: nn.Module, again: nn.Module, x: Tensor) -> str:
    """Return how a network that came back differs from the one that was stored; empty: it does not."""
    frozen, frozen_again = ({n for n, p in m.named_parameters() if not p.requires_grad} for m in (model, again))
    for name in sorted(frozen ^ frozen_again):
        return f"its parameter {name!r} is {'no longer' if name in frozen else 'now'} frozen"
    shared, shared_again = shared_names(model), shared_names(again)
    for names in (group for group in (*shared, *shared_again) if group not in shared or group not in shared_again):
        return f"its {names[0]!r} and {names[1]!r} {'no longer' if names in shared else 'now'} share one tensor"
    if not are_close(answers_of(model, x), answers_of(again, x), 1e-4):
        return "it answers otherwise"
    return ""


def detached(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a state that shares no memory with its network, on the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}


def random_images(shape: tuple[int, int, int]) -> Tensor:
    """Return float images [IMAGES, *shape] in [0, 1], the same at each call."""
    return torch.rand(IMAGES, *shape, generator=torch.Generator().manual_seed(0))


def answers_of(model: nn.Module, x: Tensor) -> Tensor:
    """Return the logits of a copy of a network, on the CPU; of the network itself if it cannot be copied."""
    try:
        copied = copy.deepcopy(model)
    except Exception:  # third-party code
        copied = model
    with unchanged_generators(), eval_mode(copied):
        return logits_in_batches(copied, x, next(model.parameters()).device).cpu()


def are_close(answers: Tensor, others: Tensor, close: float = CLOSE) -> bool:
    """Return True if answers agree up to the last digits; NaN agrees with NaN."""
    if answers.shape != others.shape:
        return False
    size = float(answers.nan_to_num().abs().max()) if answers.numel() else 0.0
    return torch.allclose(answers, others, rtol=0, atol=close * (1 + size), equal_nan=True)
