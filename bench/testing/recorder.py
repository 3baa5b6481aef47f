"""Watch a component at work: what it is given and asks, and what it leaves changed. The component itself is real."""

from __future__ import annotations

import dataclasses
import functools
import os
import random
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bench.api.components import BASES, Component
from bench.api.data import DefenderData, Split
from bench.core.kinds import Access
from bench.registry.validation import WRITE
from bench.training.oracle import Oracle, Source

ENVIRONMENT, WARNINGS = "the environment", "the warning filters"
LATER = (ENVIRONMENT, WARNINGS)
"""What a library may change when it is imported: here only the second time counts."""
GENERATORS = ("torch's global generator", "numpy's global generator", "the generator of `random`")


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
    drawn: list[tuple[int, int]] = field(default_factory=list)
    """What the state of each of `GENERATORS` hashes to, before and after."""

    @contextmanager
    def watching(self, given: Sequence[Any]) -> Iterator[None]:
        """Compare the process, and what the method is given, before and after."""
        around, things = surroundings(), dict(_things(given))
        states = {name: state(thing) for name, thing in things.items()}
        before = drawn()
        try:
            yield
        finally:
            self.drawn = list(zip(before, drawn(), strict=True))
            self.changed = changes(around)
            self.spoilt = [name for name, thing in things.items() if state(thing) != states[name]]

    @property
    def queries(self) -> int:
        """Count the images that were asked about."""
        return sum(q.images for q in self.asked)

    @property
    def strongest(self) -> str:
        """Give the strongest access that was asked for; empty: nothing was asked."""
        return max((q.access for q in self.asked), key=Access.rank, default="")


class Heard:
    """A source or suspect whose questions are noted before they are passed on."""

    def __init__(self, oracle: Oracle, call: Call) -> None:
        self._heard, self._call = oracle, call

    def _note(self, access: str, x: Any) -> None:
        images = len(x) if isinstance(x, Tensor) and x.dim() else 0
        low, high = (float(x.min()), float(x.max())) if images and x.numel() else (0.0, 0.0)
        self._call.asked.append(Question(access, images, low, high))

    def logits(self, x: Tensor) -> Tensor:
        """Note that logits were asked for."""
        self._note(Access.LOGITS, x)
        return self._heard.logits(x)

    def probabilities(self, x: Tensor) -> Tensor:
        """Note that probabilities were asked for."""
        self._note(Access.PROBABILITIES, x)
        return self._heard.probabilities(x)

    def labels(self, x: Tensor) -> Tensor:
        """Note that labels were asked for."""
        self._note(Access.LABELS, x)
        return self._heard.labels(x)

    def _network(self) -> nn.Module:
        self._note(Access.WEIGHTS, None)
        assert isinstance(self._heard, Source)
        return self._heard.model()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_heard":
            raise AttributeError(name)  # what copy and pickle look for
        if name == "model" and isinstance(self._heard, Source):
            return self._network
        if name in ("queries", "strongest"):
            return getattr(self._heard, name)
        what = "source model" if isinstance(self._heard, Source) else "suspect"
        raise AttributeError(f"a {what} can be asked for logits, probabilities or labels, not for {name!r}")


def surroundings() -> dict[str, object]:
    """Describe what of a process a component has to leave as it is."""
    cudnn = torch.backends.cudnn
    return {
        ENVIRONMENT: dict(os.environ),
        WARNINGS: list(warnings.filters),
        "the working directory": str(Path.cwd()),
        "the files in the working directory": sorted(p.name for p in Path().iterdir()),
        "the threads that are running": {t for t in threading.enumerate() if not t.daemon},
        "numpy's handling of errors": np.geterr(),
        "torch's default device": torch.get_default_device(),
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


def drawn() -> tuple[int, ...]:
    """Hash the state of each of `GENERATORS`."""
    name, keys, *more = np.random.get_state()
    return (
        hash(torch.get_rng_state().numpy().tobytes()),
        hash((name, np.asarray(keys).tobytes(), *more)),
        hash(random.getstate()),
    )


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


def watched(component: Component, note: Callable[[Call], None]) -> Component:
    """Give the component as one of a derived class, whose methods note each call before it is made."""
    cls = type(component)
    base = next(b for b in BASES if isinstance(component, b))

    def noting(name: str) -> Callable[..., Any]:
        method = getattr(cls, name)

        @functools.wraps(method)
        def noted(self: Any, *given: Any) -> Any:
            call = Call(name)
            note(call)
            with call.watching(given):
                call.returned = method(self, *(Heard(g, call) if isinstance(g, Oracle) else g for g in given))
            return call.returned

        return noted

    own = {"__module__": cls.__module__, "__doc__": cls.__doc__, **{name: noting(name) for name in WRITE[base]}}
    derived: Any = dataclass(frozen=True)(type(cls.__name__, (cls,), own))
    result: Component = derived(**{f.name: getattr(component, f.name) for f in dataclasses.fields(derived)})
    return result
