"""Watch a component at work: what it is given and asks, and what it leaves changed. The component itself is real."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.components import WRITE
from bench.oracle import Oracle
from bench.types import ACCESS, BASES, Component, DefenderData, Split

ENVIRONMENT = "the environment"


@dataclass(frozen=True)
class Question:
    """What was asked of a network: an access, for how many images, and their smallest and largest value."""

    access: str
    images: int
    low: float
    high: float


@dataclass
class Call:
    """One call of a component's method."""

    method: str
    asked: list[Question] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """What of the process was not put back."""
    spoilt: list[str] = field(default_factory=list)
    """Which of the things that it was given were changed."""
    returned: Any = None

    @contextmanager
    def watching(self, given: Sequence[Any]) -> Iterator[None]:
        """Compare the process, and what the method is given, before and after."""
        around, things = surroundings(), dict(_things(given))
        states = {name: state(thing) for name, thing in things.items()}
        try:
            yield
        finally:
            self.changed = changes(around)
            self.spoilt = [name for name, thing in things.items() if state(thing) != states[name]]

    @property
    def queries(self) -> int:
        """Count the images that were asked about."""
        return sum(q.images for q in self.asked)

    @property
    def strongest(self) -> str:
        """Give the strongest access that was asked for; empty: nothing was asked."""
        return max((q.access for q in self.asked), key=ACCESS.index, default="")


class Heard:
    """A source or suspect whose questions are noted before they are passed on."""

    def __init__(self, oracle: Any, call: Call) -> None:
        self._oracle, self._call = oracle, call

    def _note(self, access: str, x: Any) -> None:
        images = len(x) if isinstance(x, Tensor) and x.dim() else 0
        low, high = (float(x.min()), float(x.max())) if images and x.numel() else (0.0, 0.0)
        self._call.asked.append(Question(access, images, low, high))

    def model(self) -> nn.Module:
        """Note that the weights were asked for."""
        self._note("weights", None)
        network: nn.Module = self._oracle.model()
        return network

    def logits(self, x: Tensor) -> Tensor:
        """Note that logits were asked for."""
        self._note("logits", x)
        answer: Tensor = self._oracle.logits(x)
        return answer

    def probabilities(self, x: Tensor) -> Tensor:
        """Note that probabilities were asked for."""
        self._note("probabilities", x)
        answer: Tensor = self._oracle.probabilities(x)
        return answer

    def labels(self, x: Tensor) -> Tensor:
        """Note that labels were asked for."""
        self._note("labels", x)
        answer: Tensor = self._oracle.labels(x)
        return answer


def surroundings() -> dict[str, object]:
    """Describe what of a process a component has to leave as it is."""
    cudnn = torch.backends.cudnn
    return {
        ENVIRONMENT: dict(os.environ),
        "the working directory": str(Path.cwd()),
        "torch's default dtype": torch.get_default_dtype(),
        "whether gradients are recorded": torch.is_grad_enabled(),
        "the number of torch's threads": torch.get_num_threads(),
        "the seed of torch's global generator": torch.initial_seed(),
        "whether torch uses deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "the precision of matrix products": torch.get_float32_matmul_precision(),
        "cuDNN's flags": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
        "the output streams": (id(sys.stdout), id(sys.stderr)),
    }


def changes(before: dict[str, object]) -> list[str]:
    """Name what of a process is not as it was before."""
    now = surroundings()
    return [name for name, value in before.items() if now[name] != value]


def _things(given: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for thing in given:
        if isinstance(thing, Oracle):
            yield "the network that it asks", thing._model
        elif isinstance(thing, nn.Module):
            yield "the source model", thing
        elif isinstance(thing, Split):
            yield "the images or labels", (thing.images, thing.labels)
        elif isinstance(thing, DefenderData):
            both = thing.train, thing.probe
            yield "the images or labels", tuple(t for split in both for t in (split.images, split.labels))


def state(thing: Any) -> Any:
    """Describe a network, or several tensors, so that any change shows."""
    if isinstance(thing, nn.Module):
        weights = [(name, content(t)) for name, t in thing.state_dict().items()]
        return weights, [m.training for m in thing.modules()], [p.requires_grad for p in thing.parameters()]
    return [content(t) for t in thing]


def content(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """Give a tensor's type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), plain.view(torch.uint8).numpy().tobytes()


def watched(component: Component, calls: list[Call]) -> Component:
    """Give the component as one of a derived class, whose methods note each call in `calls`."""
    cls = type(component)
    base = next(b for b in BASES if isinstance(component, b))

    def noting(name: str) -> Callable[..., Any]:
        method = getattr(cls, name)

        @functools.wraps(method)
        def noted(self: Any, *given: Any) -> Any:
            call = Call(name)
            calls.append(call)
            with call.watching(given):
                call.returned = method(self, *(Heard(g, call) if isinstance(g, Oracle) else g for g in given))
            return call.returned

        return noted

    own = {"__module__": cls.__module__, "__doc__": cls.__doc__, **{name: noting(name) for name in WRITE[base]}}
    derived: Any = dataclass(frozen=True)(type(cls.__name__, (cls,), own))
    result: Component = derived(**{f.name: getattr(component, f.name) for f in dataclasses.fields(derived)})
    return result
