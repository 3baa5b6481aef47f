"""What the task handlers share: the state of a worker, and the context of one task."""

from __future__ import annotations

import functools
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from bench.api.components import Architecture, Method
from bench.api.context import Context, Notes
from bench.api.data import Split
from bench.core.canonical import JSON, canonical, digest
from bench.core.errors import BenchError, DamagedArtifact, NotApplicable
from bench.core.kinds import ComponentKind
from bench.core.spec import Recipe
from bench.core.tasks import Task
from bench.datasets.partition import Data, load
from bench.execution.described import SourceNetwork, opened
from bench.execution.result_checks import data_checksum
from bench.execution.scores import budget
from bench.execution.suspects import rebuilt_endpoint, unverified_network
from bench.models.description import Zoo
from bench.models.opening import DescribedAnswers
from bench.registry.registry import Registry
from bench.store.folders import RECORD
from bench.store.store import Store, content_digest
from bench.training import loop
from bench.training.answering import Askable
from bench.training.networks import Normalised, rebuild
from bench.training.round_trip import verified
from bench.training.sharing import moved

T = TypeVar("T")

ProgressCallback: TypeAlias = Callable[[str, float, float, float], None]
"""Receives the progress of a task: its key, finished epochs, all epochs, mean loss of the last one."""

Artifact: TypeAlias = tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]
"""The facts and the files that a task computes."""


@dataclass
class WorkerState:
    """The state of a process that executes tasks: store, plugins, device, and a cache of what was read last."""

    store: Store
    registry: Registry
    device: str = "cpu"
    data: Path = Path()
    threads: int = 1
    on_progress: ProgressCallback | None = None
    zoo: Zoo = field(default_factory=Zoo)
    own_process: bool = False
    """Whether the process executes tasks, and does nothing else."""
    cache: OrderedDict[tuple[str, str], Any] = field(default_factory=OrderedDict)

    def component(self, kind: str, identity: Mapping[str, JSON]) -> Any:
        """Return the component that a task names; BenchError if another version of it is installed."""

        def configured() -> Any:
            self.check_component(kind, identity)
            return self.registry.get(kind, identity["name"], identity.get("params") or None)

        return self.cached("component", f"{kind} {canonical(identity)}", configured, 64)

    def check_component(self, kind: str, identity: Mapping[str, JSON]) -> None:
        """Raise BenchError if a component is not there, or another version of it."""
        name, version = identity["name"], identity["version"]
        found = self.registry.get(kind, name).version
        if found != version:  # its fields may be others, too
            raise BenchError(
                f"{kind} {name!r} is version {found} here, but the task needs version {version}: "
                "install the same version on every machine, and restart the workers that began before"
            )

    def record(self, key: str) -> dict[str, JSON] | None:
        """Return the record of an artifact, read once as long as its file is the same; None if it is missing."""
        try:
            found = os.stat(self.store.folder(key) / RECORD)  # noqa: PTH116  (Path.stat takes twice as long)
        except OSError:  # the store says what is wrong
            return self.store.record(key)
        return self.cached("record", f"{key} {found.st_ino} {found.st_mtime_ns}", lambda: self.store.record(key), 64)

    def cached(self, kind: str, key: str, compute: Callable[[], T], capacity: int) -> T:
        """Return the cached value of a key, or compute it; of each kind, the `capacity` last used are cached.

        The oldest one goes before the new one is computed: they may be large networks.
        """
        if (kind, key) not in self.cache:
            entries = [k for k in self.cache if k[0] == kind]
            for oldest in entries[: max(0, len(entries) + 1 - capacity)]:
                del self.cache[oldest]
            self.cache[kind, key] = compute()
        self.cache.move_to_end((kind, key))
        value: T = self.cache[kind, key]
        return value


@dataclass
class TaskRecord:
    """What is recorded while a task runs: a plugin's notes, and the versions of the data's tensors at the start."""

    notes: dict[str, JSON] = field(default_factory=Notes)
    data_versions: tuple[int, ...] = ()


@dataclass(frozen=True)
class TaskContext:
    """One attempt at a task, with the operations that several kinds of task need."""

    task: Task
    state: WorkerState
    seed: int
    generator: torch.Generator
    recorded: TaskRecord = field(default_factory=TaskRecord)

    @property
    def params(self) -> Mapping[str, JSON]:
        """The task's parameters."""
        return self.task.params

    @property
    def inputs(self) -> Mapping[str, str]:
        """The keys of the task's inputs."""
        return self.task.inputs

    @property
    def store(self) -> Store:
        """The store."""
        return self.state.store

    @property
    def device(self) -> torch.device:
        """The device on which the task runs."""
        return torch.device(self.state.device)

    def data(self) -> Data:
        """Return the task's dataset; record its versions and its checksum at the first call."""
        key = self.inputs["data"]
        data = self.state.cached("data", key, lambda: load(self.store, key, self.state.device), 3)
        if not self.recorded.data_versions:
            self.recorded.data_versions = data.versions
            self.checksum()
        return data

    def checksum(self) -> tuple[int, ...]:
        """Return the checksum of the data as it was read."""
        return self.state.cached("checksum", self.inputs["data"], lambda: data_checksum(self.data()), 3)

    def component(self, kind: ComponentKind) -> Any:
        """Return the component of a kind that the task's parameters name."""
        return self.state.component(kind, self.params[kind])

    def recipe(self) -> Recipe:
        """Return the task's training recipe."""
        return Recipe(**{k: v for k, v in self.params["recipe"].items() if k != "augmentation"})

    def build(self) -> nn.Module:
        """Return a new network for the task's dataset, with its normalisation, on the device."""
        architecture, facts = self.component(ComponentKind.ARCHITECTURE), self.data().facts
        model = verified(self.unverified(), architecture, facts["num_classes"], tuple(facts["shape"]))
        return moved(model, self.device)

    def unverified(self) -> Normalised:
        """Build a network without trying whether it comes back from the store."""
        architecture, data, facts = self.component(ComponentKind.ARCHITECTURE), self.data(), self.data().facts
        return unverified_network(architecture, facts["num_classes"], tuple(facts["shape"]), data.mean, data.std)

    def record(self, key: str) -> dict[str, JSON]:
        """Return the record of an input; DamagedArtifact if it is missing."""
        record = self.state.record(key)
        if record is None:
            raise DamagedArtifact(f"Artifact {key[:8]} is missing: run the same command again to recompute it")
        return record

    def content(self, key: str, name: str) -> str:
        """Return the digest of the tensors in one file of an input.

        The weights of a suspect that only answers say little without what makes it of them, and what it answers.
        """

        def compute() -> str:
            if described := self.facts(key).get("model"):
                return str(described["sha256"])
            found = content_digest(self.store, key, name)
            if name == "weights" and (rebuilt := self.facts(key).get("rebuilt")):
                answers = content_digest(self.store, key, "answers")
                return digest({"weights": found, "answers": answers, "attack": rebuilt["attack"]})
            return found

        return self.state.cached("content", f"{key} {name}", compute, 64)

    def facts(self, key: str) -> dict[str, JSON]:
        """Return the facts of an input."""
        facts: dict[str, JSON] = self.record(key)["facts"]
        return facts

    def model(self, key: str) -> tuple[Askable, Architecture]:
        """Return a stored network, in eval mode, or an object that only answers, and its architecture."""
        facts = self.facts(key)
        if "model" in facts:
            return opened(facts["model"], self.facts(facts["data"]), self.state)
        architecture: Architecture = self.state.component(ComponentKind.ARCHITECTURE, facts["architecture"])
        weights = self.store.load(key, "weights", str(self.device))
        if "rebuilt" in facts:
            endpoint = rebuilt_endpoint(self.state.component, key, facts, weights, self.state.device)
            return endpoint, architecture
        model = rebuild(architecture, facts["num_classes"], tuple(facts["shape"]), weights)
        return moved(model, self.device).eval(), architecture

    def network(self, key: str) -> tuple[nn.Module, Architecture]:
        """Return a stored network and its architecture; raise NotApplicable if it only answers."""
        model, architecture = self.model(key)
        if isinstance(model, DescribedAnswers):
            return SourceNetwork(model), architecture
        if not isinstance(model, nn.Module):
            raise NotApplicable(f"{self.record(key)['made']['name']} only answers: it has no weights to look at")
        return model, architecture

    def plugin_context(
        self,
        architecture: Architecture,
        recipe: Recipe,
        *,
        method: Method | None = None,
        start: Any = None,
        surrogate_data: Split | None = None,
        probes: Tensor | None = None,
    ) -> Context:
        """Return what plugin code receives besides data: `fit` trains with `recipe`, `method` sets the budget."""
        facts = {**self.data().facts, **self.params.get("recipe", {}).get("augmentation", {})}
        fit = functools.partial(
            loop.fit,
            recipe=recipe,
            generator=self.generator,
            device=self.device,
            flip=facts["flip"],
            crop=facts["crop"],
            progress=functools.partial(_report_progress, self.state, self.task.key),
        )
        return Context(
            seed=self.seed,
            replicate=int(self.params.get("replicate", 0)),
            recipe=recipe,
            device=self.device,
            generator=self.generator,
            fit=fit,
            head=lambda model: _builder(model, architecture).head(_inner(model)),
            stages=lambda model: list(_builder(model, architecture).stages(_inner(model))),  # `children()` is no list
            start=start,
            budget=None if method is None else budget(method),
            surrogate_data=surrogate_data,
            probes=probes,
            notes=self.recorded.notes,
        )


def _report_progress(state: WorkerState, key: str, epoch: float, epochs: float, loss: float) -> None:
    """Report the progress of a training."""
    if state.on_progress is not None:
        state.on_progress(key, epoch, epochs, loss)


def _builder(model: nn.Module, otherwise: Architecture) -> Architecture:
    """Return the architecture that built a network; `otherwise` if that is not known."""
    found = getattr(model, "architecture", None)
    return found if isinstance(found, Architecture) else otherwise


def _inner(model: nn.Module) -> nn.Module:
    inner = getattr(model, "inner", None)
    if not isinstance(inner, nn.Module):
        raise BenchError("context.head and context.stages take a network that build() or source.model() returned")
    return inner
