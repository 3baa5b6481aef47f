"""What the task handlers share: the state of a worker, and the context of one task."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from bench.api.components import Architecture, Component
from bench.api.context import Context
from bench.core.canonical import JSON
from bench.core.errors import BenchError, DamagedArtifact
from bench.core.kinds import ComponentKind
from bench.core.spec import Recipe
from bench.core.tasks import Task
from bench.datasets.partition import Data, load
from bench.execution.result_checks import data_checksum
from bench.registry.registry import Registry
from bench.store.store import Store
from bench.training import inference, loop
from bench.training.networks import Normalised, rebuild, with_memory_format

T = TypeVar("T")

ProgressCallback = Callable[[str, float, float, float], None]
"""Told of a task's progress: its key, epochs done, epochs in all, mean loss of the last one."""


@dataclass
class WorkerState:
    """Where tasks are executed: store, plugins, device, and what was read last."""

    store: Store
    registry: Registry
    device: str = "cpu"
    data: Path = Path()
    threads: int = 1
    told: ProgressCallback | None = None
    read: OrderedDict[tuple[str, str], Any] = field(default_factory=OrderedDict)

    def component(self, kind: str, identity: Mapping[str, JSON]) -> Any:
        """Look up the component that a task names; BenchError where another version is installed here."""
        component: Component = self.registry.get(kind, identity["name"], identity.get("params") or None)
        if component.version != identity["version"]:
            raise BenchError(
                f"{kind} {component.name!r} is version {component.version} here, but the task needs version "
                f"{identity['version']}: install the same version on every machine"
            )
        return component

    def remembered(self, what: str, key: str, make: Callable[[], T], most: int) -> T:
        """Give what was read under a key, or read it; at most `most` things of a sort are kept."""
        if (what, key) not in self.read:
            self.read[what, key] = make()
            held = [k for k in self.read if k[0] == what]
            for old in held[: max(0, len(held) - most)]:
                del self.read[old]
        self.read.move_to_end((what, key))
        value: T = self.read[what, key]
        return value


class TaskContext:
    """One task at work: what the kinds share."""

    def __init__(self, task: Task, state: WorkerState, seed: int) -> None:
        self.task, self.state, self.seed = task, state, seed
        self.store, self.device, self.params = state.store, torch.device(state.device), task.params
        self.generator = torch.Generator(device=self.device).manual_seed(seed)
        self.notes: dict[str, JSON] = {}
        self.versions: tuple[int, ...] = ()

    def data(self) -> Data:
        key = self.task.inputs["data"]
        data = self.state.remembered("data", key, lambda: load(self.store, key, self.state.device), 3)
        if not self.versions:
            self.versions = data.versions
            self.seal()
        return data

    def seal(self) -> tuple[int, ...]:
        """Give the checksum of the data as it was read."""
        return self.state.remembered("seal", self.task.inputs["data"], lambda: data_checksum(self.data()), 3)

    def recipe(self) -> Recipe:
        return Recipe(**self.params["recipe"])

    def architecture(self) -> Architecture:
        found: Architecture = self.state.component(ComponentKind.ARCHITECTURE, self.params["architecture"])
        return found

    def build(self) -> nn.Module:
        """Make a fresh network for this task's dataset, with its normalisation, on the device."""
        data = self.data()
        architecture = self.architecture()
        shape = tuple(data.facts["shape"])
        inner: object = architecture.build(data.facts["num_classes"], shape)
        if not isinstance(inner, nn.Module) or next(inner.parameters(), None) is None:
            what = "one without parameters" if isinstance(inner, nn.Module) else f"a {type(inner).__name__}"
            raise BenchError(f"architecture {architecture.name!r}: build must return a network, not {what}")
        model = Normalised(inner, data.mean.cpu(), data.std.cpu())
        return with_memory_format(model, architecture, shape).to(self.device)

    def record(self, key: str) -> dict[str, JSON]:
        """Read the record of an input; DamagedArtifact where it is gone."""
        record = self.store.record(key)
        if record is None:
            raise DamagedArtifact(f"Artifact {key[:8]} is gone: run the same command again to make it")
        return record

    def facts(self, key: str) -> dict[str, JSON]:
        """Read the facts of an input."""
        facts: dict[str, JSON] = self.record(key)["facts"]
        return facts

    def model(self, key: str) -> tuple[nn.Module, Architecture]:
        """Load a network in eval mode, and its architecture."""
        facts = self.facts(key)
        architecture: Architecture = self.state.component(ComponentKind.ARCHITECTURE, facts["architecture"])
        weights = self.store.load(key, "weights", str(self.device))
        model = rebuild(architecture, facts["num_classes"], tuple(facts["shape"]), weights)
        return model.to(self.device).eval(), architecture

    def context(self, architecture: Architecture, budget: int | None = None, start: nn.Module | None = None) -> Context:
        data = self.data()
        recipe = self.recipe()
        fit = functools.partial(
            loop.fit, recipe=recipe, generator=self.generator, device=self.device, flip=data.facts["flip"],
            crop=data.facts["crop"], progress=self.progress,
        )  # fmt: skip
        return Context(
            seed=self.seed, replicate=int(self.params.get("replicate", 0)), recipe=recipe, device=self.device,
            generator=self.generator, fit=fit, head=lambda m: architecture.head(_inner(m)),
            stages=lambda m: architecture.stages(_inner(m)), start=start, budget=budget, notes=self.notes,
        )  # fmt: skip

    def progress(self, epoch: float, epochs: float, loss: float) -> None:
        if self.state.told is not None:
            self.state.told(self.task.key, epoch, epochs, loss)

    def budget(self, method: Any) -> int | None:
        return int(getattr(method, method.budget)) if method.budget else None

    def network(self, model: nn.Module) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
        """Give the facts and files of a network: how to rebuild it, its accuracy and its answers on `test`."""
        data = self.data()
        logits = inference.predict(model, data.parts["test"].images, self.device)
        answers = logits.argmax(1).to(torch.int32)
        facts: dict[str, JSON] = {
            "accuracy": inference.accuracy(logits, data.parts["test"].labels),
            "architecture": self.params["architecture"],
            "num_classes": data.facts["num_classes"],
            "shape": data.facts["shape"],
            "data": self.task.inputs["data"],
            "notes": self.notes,
        }
        return facts, {"weights": model.state_dict(), "answers": {"test": answers}}


def _inner(model: nn.Module) -> nn.Module:
    inner = getattr(model, "inner", None)
    if not isinstance(inner, nn.Module):
        raise BenchError("context.head and context.stages take a network that build() or source.model() gave")
    return inner


class LazyNetworks(Sequence[nn.Module]):
    """Networks that are loaded when they are looked at: 40 stock ones would not fit in memory."""

    def __init__(self, keys: Sequence[str], load: Callable[[str], nn.Module]) -> None:
        self.keys, self.load = keys, load

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return LazyNetworks(self.keys[at], self.load)
        return self.load(self.keys[at])
