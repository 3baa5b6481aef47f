"""Networks and suspects that only answer: built, rebuilt from what is stored, checked, loaded on demand."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bench.api.components import Architecture, Attack
from bench.core.canonical import JSON, seed_of
from bench.core.errors import BenchError, NotApplicable
from bench.core.kinds import Access, ComponentKind
from bench.training.answering import Askable, Endpoint, device_of, output_of
from bench.training.memory_format import set_weight_format
from bench.training.networks import Normalised, with_memory_format, wrapped
from bench.training.oracle import Oracle
from bench.training.randomness import unchanged_generators
from bench.training.round_trip import verified
from bench.training.sharing import moved

SAMPLE = 16
"""Images about which a new suspect that only answers is asked more than once."""
TOLERANCE = 1e-4
"""Largest difference between the answers of a suspect as it was stolen and as it is rebuilt."""


class MissingHelper(NotApplicable, IndexError):
    """A helper that does not exist. It is an IndexError, too, at which iteration ends."""


class LazyNetworks(Sequence[nn.Module]):
    """Networks that are loaded when they are accessed: 40 large ones would not fit in memory."""

    def __init__(self, keys: Sequence[str], load: Callable[[str], nn.Module], name: str) -> None:
        self.keys, self.load, self.name = keys, load, name

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return LazyNetworks(self.keys[index], self.load, self.name)
        if not -len(self) <= index < len(self):
            raise MissingHelper(f"there is no {self.name} {index}: the method has {len(self)} of them")
        return self.load(self.keys[index])


class Start(Oracle):
    """The suspect that an attack starts from, if that only answers: it is called like a network, and has no weights."""

    def __init__(self, model: Askable, attack: str) -> None:
        super().__init__(model, Access.WEIGHTS, f"attack {attack!r}")
        self.name = f"suspect that {attack} starts from"

    def __call__(self, x: Tensor) -> Tensor:
        """Return its strongest answers to float images."""
        answers: Tensor = getattr(self, output_of(self._model))(x)
        return answers

    def __getattr__(self, name: str) -> Any:
        raise NotApplicable(f"the {vars(self).get('name', 'suspect')} only answers: it has no {name}")

    def __deepcopy__(self, memo: object) -> Any:
        raise NotApplicable(f"the {self.name} only answers: it has no weights to copy")


def unverified_network(
    architecture: Architecture, classes: int, shape: tuple[int, int, int], mean: Tensor, std: Tensor
) -> Normalised:
    """Return a new network of an architecture, with a dataset's normalisation, on the CPU."""
    model = wrapped(architecture, classes, shape, mean.cpu(), std.cpu())
    return with_memory_format(model, architecture, shape)


def rebuilt_endpoint(
    component: Callable[[str, Mapping[str, JSON]], Any],
    key: str,
    facts: Mapping[str, JSON],
    tensors: Mapping[str, Tensor],
    device: str,
) -> Endpoint:
    """Return a suspect that only answers, from its facts and tensors, by the code of its attack."""
    rebuilt = facts["rebuilt"]
    attack: Attack = component(ComponentKind.ATTACK, rebuilt["attack"])
    architecture: Architecture = component(ComponentKind.ARCHITECTURE, facts["architecture"])
    mean, std = (torch.tensor(rebuilt[name]) for name in ("mean", "std"))

    def build() -> nn.Module:
        shape = tuple(facts["shape"])
        model = unverified_network(architecture, facts["num_classes"], shape, mean, std)
        return moved(verified(model, architecture, facts["num_classes"], shape), torch.device(device))

    with unchanged_generators(torch.device(device)):
        torch.manual_seed(seed_of(key))
        model: object = attack.rebuild(build, dict(tensors))
    if not isinstance(model, nn.Module):
        raise BenchError(f"attack {attack.name!r}: rebuild must return a module, not a {type(model).__name__}")
    return Endpoint(model, rebuilt["answers"], seed_of(key), attack.name)


def check_endpoint(rebuilt: Endpoint, stolen: nn.Module, images: Tensor, classes: int) -> None:
    """Raise BenchError unless a rebuilt suspect answers as the stolen one, and again as before.

    The weights of the stolen one become contiguous, as those that come from the store are.
    """
    who, x = f"attack {rebuilt.attack!r}", images[:SAMPLE]
    answers = rebuilt.answer(x)
    if rebuilt.output == Access.LABELS:
        if len(x) and not (int(answers.min()) >= 0 and int(answers.max()) < classes):
            raise BenchError(f"{who}: its suspect answers with labels outside 0 to {classes - 1}")
    elif answers.shape[1] != classes:
        raise BenchError(f"{who}: its suspect answers with {answers.shape[1]} values, not one for each of {classes}")
    if not torch.equal(answers, rebuilt.answer(x.flip(0)).flip(0)):
        raise BenchError(
            f"{who}: its suspect answers otherwise when it is asked again. Draw only from torch's global generator, "
            "which is seeded from the image, and keep no state"
        )
    # a training leaves weights in another memory format, in which a GPU, with TF32, rounds otherwise
    set_weight_format(stolen, device_of(stolen), True)
    before = Endpoint(stolen, rebuilt.output, rebuilt.seed, rebuilt.attack).answer(x)
    gap = float((answers.double() - before.to(answers.device).double()).abs().max()) if len(x) else 0.0
    if gap > TOLERANCE:
        raise BenchError(f"{who}: what rebuild returns answers otherwise than what steal returned (by up to {gap:.2g})")
