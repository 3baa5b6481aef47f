"""The plain data that flows through a run: declarations, tasks, trials and outcomes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bench.core.canonical import JSON, canonical
from bench.core.kinds import ComponentKind, FailureCause, Status, TaskKind

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class Declaration:
    """A component as the planner sees it: plain data, read off the live object after settings were applied."""

    kind: str
    name: str
    version: int
    params: Mapping[str, JSON]
    attributes: Mapping[str, JSON]
    distribution: str = ""
    summary: str = ""
    watermark: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()

    def identity(self) -> dict[str, JSON]:
        """Give what enters a key: name, version and parameters."""
        return {"name": self.name, "version": self.version, "params": dict(self.params)}


@dataclass(frozen=True)
class Task:
    """One unit of compute: strings and numbers only, so that it can cross to any process."""

    kind: str
    role: str
    params: Mapping[str, JSON]
    inputs: Mapping[str, str]
    key: str = ""

    @staticmethod
    def of(kind: str, role: str, params: Mapping[str, JSON], inputs: Mapping[str, str], written: str = "") -> Task:
        """Make a task and its key: SHA-256 over kind, role, parameters and the keys of the inputs.

        `written` is `canonical(params)`, where many tasks share their parameters.
        """
        parts = {
            "inputs": canonical(inputs),
            "kind": canonical(kind),
            "params": written or canonical(params),
            "role": canonical(role),
        }
        text = ",".join(f'"{name}":{part}' for name, part in parts.items())
        return Task(kind, role, params, inputs, hashlib.sha256(f"{{{text}}}".encode()).hexdigest())

    def components(self) -> dict[ComponentKind, str]:
        """Return the names of the components whose code the task runs; the dataset only if the task reads its files."""
        kinds = [k for k in ComponentKind if k != ComponentKind.DATASET or self.kind == TaskKind.DATA]
        return {k: str(self.params[k]["name"]) for k in kinds if k in self.params}

    @property
    def name(self) -> str:
        """Say what it is in a few words, for people: `steal extract_l tiny_vgg 0`."""
        parts = [self.kind, self.role if self.kind == TaskKind.TRAIN else ""]
        kinds = (ComponentKind.DATASET, ComponentKind.ATTACK, ComponentKind.METHOD, ComponentKind.ARCHITECTURE)
        parts += [str(self.params[k]["name"]) for k in kinds if k in self.params]
        parts.append(str(self.params.get("replicate", "")))
        return " ".join(p for p in parts if p)


@dataclass(frozen=True)
class Trial:
    """One cell of the product, one row of the results: what it is, and the keys of what it needs."""

    dataset: str
    source_architecture: str
    source_seed: int
    method: str
    method_version: int
    budget: int | None
    suspect_kind: str
    attack: str
    attack_version: int | None
    variant: str
    suspect_dataset: str
    suspect_architecture: str
    replicate: int
    score: str = ""
    source: str = ""
    suspect: str = ""
    fingerprint: str = ""
    helpers: tuple[str, ...] = ()
    reason: str = ""
    """Why it is not applicable; empty: it is."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task: `done`, `failed` or `blocked`; `facts` is the JSON part of its artifact.

    `root` names the task that failed first (kind and name) where this one is `blocked`.
    """

    key: str
    status: Status
    stored: bool = False
    facts: Mapping[str, JSON] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    error: str = ""
    root: str = ""
    log: str = ""
    cause: FailureCause = FailureCause.NONE
    """Why it failed, where the scheduler has to act on it: `memory`, `device` (lost), `store`, `damaged` (an input)."""
