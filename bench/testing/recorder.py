"""Record the calls of a component: its inputs, its queries, and what each call changes. The component is a real one."""

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
from bench.registry.validation import REQUIRED
from bench.training.network_state import network_state
from bench.training.oracle import Oracle, Source

ENVIRONMENT, WARNINGS = "the environment", "the warning filters"
LATER = (ENVIRONMENT, WARNINGS)
"""Changed by imports of libraries too, so that only a repeated call counts."""
GENERATORS = ("torch's global generator", "numpy's global generator", "the generator of `random`")


@dataclass(frozen=True)
class Query:
    """One query of a network: access, number of images, smallest and largest value."""

    access: str
    images: int
    low: float
    high: float


@dataclass
class Call:
    """One call of a component's method."""

    method: str
    questions: list[Query] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    """Parts of the process that the call changed."""
    changed_inputs: list[str] = field(default_factory=list)
    """Inputs that the call changed."""
    returned: Any = None
    """What it returned; of `build` nothing is kept, since networks may be large."""
    generators: list[tuple[int, int]] = field(default_factory=list)
    """Hash of the state of each of `GENERATORS`, before and after."""

    @contextmanager
    def recording(self, given: Sequence[Any]) -> Iterator[None]:
        """Compare the process and the inputs before and after."""
        snapshot, inputs = process_snapshot(), dict(_inputs(given))
        states, generators = {name: state(value) for name, value in inputs.items()}, generator_states()
        try:
            yield
        finally:
            self.generators = list(zip(generators, generator_states(), strict=True))
            self.changed = changes(snapshot)
            self.changed_inputs = [name for name, value in inputs.items() if state(value) != states[name]]

    @property
    def queries(self) -> int:
        """Return the number of images queried."""
        return sum(q.images for q in self.questions)

    @property
    def strongest(self) -> str:
        """Return the strongest access used; empty: no query."""
        return max((q.access for q in self.questions), key=Access.rank, default="")


class RecordedOracle:
    """A source or suspect that records each query before it answers."""

    def __init__(self, oracle: Oracle, call: Call) -> None:
        self._oracle, self._call = oracle, call

    def _ask(self, access: str, x: Any) -> Tensor:
        images = len(x) if isinstance(x, Tensor) and x.dim() else 0
        low, high = (float(x.min()), float(x.max())) if images and x.numel() else (0.0, 0.0)
        self._call.questions.append(Query(access, images, low, high))
        answers: Tensor = getattr(self._oracle, access)(x)
        return answers

    def _network(self) -> nn.Module:
        self._call.questions.append(Query(Access.WEIGHTS, 0, 0.0, 0.0))
        return self._oracle.model()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_oracle":
            raise AttributeError(name)  # what copy and pickle look for
        if name in (Access.LOGITS, Access.PROBABILITIES, Access.LABELS):
            return functools.partial(self._ask, name)
        if name == "model":
            return self._network
        if name in ("queries", "strongest"):
            return getattr(self._oracle, name)
        what = "source model" if isinstance(self._oracle, Source) else "suspect"
        raise AttributeError(f"a {what} can be asked for logits, probabilities or labels, not for {name!r}")


def process_snapshot() -> dict[str, object]:
    """Return the parts of the process that a component must not change."""
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
    """Return the names of the parts of the process that changed."""
    now = process_snapshot()
    return [name for name, value in before.items() if now[name] != value]


def generator_states() -> tuple[int, ...]:
    """Return a hash of the state of each of `GENERATORS`."""
    name, keys, *more = np.random.get_state()
    return (
        hash(torch.get_rng_state().numpy().tobytes()),
        hash((name, np.asarray(keys).tobytes(), *more)),
        hash(random.getstate()),
    )


def _inputs(given: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    for value in given:
        if isinstance(value, Oracle):
            model = value._model
            yield "the network that it asks", model if isinstance(model, nn.Module) else getattr(model, "model", ())
        elif isinstance(value, nn.Module):
            yield "the source model", value
        elif isinstance(value, Split):
            yield "the images or labels", (value.images, value.labels)
        elif isinstance(value, DefenderData):
            both = value.train, value.probe
            yield "the images or labels", tuple(t for split in both for t in (split.images, split.labels))


def state(thing: Any) -> Any:
    """Return the content of a network, or of several tensors, for comparison."""
    if isinstance(thing, nn.Module):
        weights = [(name, content(t)) for name, t in network_state(thing).items()]
        return weights, [m.training for m in thing.modules()], [p.requires_grad for p in thing.parameters()]
    return [content(t) for t in thing]


def content(tensor: Tensor) -> tuple[torch.dtype, tuple[int, ...], bytes]:
    """Return a tensor's type, shape and bytes."""
    plain = tensor.detach().cpu().contiguous().reshape(-1)
    return tensor.dtype, tuple(tensor.shape), plain.view(torch.uint8).numpy().tobytes()


def recorded(component: Component, record: Callable[[Call], None]) -> Component:
    """Return the component as an instance of a derived class, whose methods record each call before it is made."""
    cls = type(component)
    base = next(b for b in BASES if isinstance(component, b))

    def recording_method(name: str) -> Callable[..., Any]:
        method = getattr(cls, name)

        @functools.wraps(method)
        def recorded_method(self: Any, *given: Any, **named: Any) -> Any:
            call = Call(name)
            record(call)
            with call.recording([*given, *named.values()]):
                heard = (RecordedOracle(g, call) if isinstance(g, Oracle) else g for g in given)
                returned = method(self, *heard, **named)
            call.returned = None if name == "build" else returned
            return returned

        return recorded_method

    methods = {name: recording_method(name) for name in REQUIRED[base]}
    own = {"__module__": cls.__module__, "__doc__": cls.__doc__, **methods}
    derived: Any = dataclass(frozen=True)(type(cls.__name__, (cls,), own))
    result: Component = derived(**{f.name: getattr(component, f.name) for f in dataclasses.fields(derived) if f.init})
    return result
