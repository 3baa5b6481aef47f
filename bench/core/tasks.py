"""Plain data of a run: declarations, tasks, trials and outcomes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.core.canonical import JSON, canonical
from bench.core.kinds import ComponentKind, Evidence, FailureCause, Status, TaskKind

_quoted = json.encoder.encode_basestring_ascii
"""Canonical JSON of text alone, in a fifth of the time that `canonical` takes."""

NOT_APPLICABLE = str(Status.NOT_APPLICABLE)
"""The fact that says why a task is not applicable; the artifact of such a task has no other fact and no file."""


@dataclass(frozen=True)
class Declaration:
    """A component as plain data, read from the live object after settings were applied; planning needs no more.

    `params` are its hyper-parameters, `types` their annotations, `attributes` its declarations (see `Component`).
    `variants` are an attack's names of its copies.
    """

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

    @property
    def evidence(self) -> Evidence:
        """Return a method's kind of evidence: an exact test where it declares so, else that of its base class."""
        if self.attributes.get("exact"):
            return Evidence.EXACT_TEST
        return Evidence.WATERMARK if self.watermark else Evidence.FINGERPRINT

    def identity(self) -> dict[str, JSON]:
        """Return what enters a key: name, version and parameters."""
        return {"name": self.name, "version": self.version, "params": dict(self.params)}


@dataclass(frozen=True)
class Task:
    """One unit of compute: strings and numbers only, so that any process can receive it.

    `kind` is a `TaskKind`, `role` a `Role`; `inputs` maps names of inputs to the keys of the tasks that compute them.
    `subject` distinguishes its name from those of other tasks, such as the watermark in its source; the key is without.
    `needed_by` are the keys of the tasks of a run that need a suspect's weights: once these are stored, nothing does.
    """

    kind: str
    role: str
    params: Mapping[str, JSON]
    inputs: Mapping[str, str]
    key: str = ""
    subject: str = ""
    needed_by: tuple[str, ...] = ()

    @staticmethod
    def of(
        kind: str,
        role: str,
        params: Mapping[str, JSON],
        inputs: Mapping[str, str],
        written: str = "",
        subject: str = "",
    ) -> Task:
        """Return a task with its key: the SHA-256 of kind, role, parameters and input keys.

        `written` is `canonical(params)`, if many tasks share these parameters; empty: it is computed.
        """
        given = ",".join([f"{_quoted(name)}:{_quoted(inputs[name])}" for name in sorted(inputs)])
        params_text = written or canonical(params)
        text = f'"inputs":{{{given}}},"kind":{_quoted(kind)},"params":{params_text},"role":{_quoted(role)}'
        return Task(kind, role, params, inputs, hashlib.sha256(f"{{{text}}}".encode()).hexdigest(), subject)

    def components(self) -> dict[ComponentKind, str]:
        """Return the names of the components whose code the task runs; the dataset only if the task reads its files."""
        kinds = [k for k in ComponentKind if k != ComponentKind.DATASET or self.kind == TaskKind.DATA]
        return {k: str(self.params[k]["name"]) for k in kinds if k in self.params}

    @property
    def name(self) -> str:
        """Return a short description for messages, such as `steal noisy_digits extract_l tiny_vgg 0 of ewe`."""
        parts = [self.kind, self.role if self.kind == TaskKind.TRAIN else ""]
        kinds = (ComponentKind.DATASET, ComponentKind.ATTACK, ComponentKind.METHOD, ComponentKind.ARCHITECTURE)
        parts += [str(self.params[k]["name"]) for k in (*kinds, TaskKind.MODEL) if k in self.params]
        parts.append(str(self.params.get("replicate", self.params.get("draw", ""))))
        parts.append(f"of {self.subject}" if self.subject else "")
        return " ".join(p for p in parts if p)


@dataclass(frozen=True)
class Trial:
    """One combination of the product, one row of the results; the last fields are the keys of the tasks it needs."""

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
    draw: int = 0
    score: str = ""
    source: str = ""
    suspect: str = ""
    fingerprint: str = ""
    helpers: tuple[str, ...] = ()
    reason: str = ""
    """Why it is not applicable; empty if it is."""
    source_model: str = ""
    """Name of the described network that is the source; empty if the host trained it."""
    suspect_model: str = ""
    """Name of the described network that is the suspect; empty if the host trained it."""


@dataclass(frozen=True)
class Outcome:
    """The result of a task: `facts` is the JSON part of its artifact, `stored` is True if it was cached.

    `root` names the task that failed: this one, or the input that blocks it. `log` is the path of that task's log.
    """

    key: str
    status: Status
    stored: bool = False
    facts: Mapping[str, JSON] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    machine: str = ""
    error: str = ""
    root: str = ""
    log: str = ""
    cause: FailureCause = FailureCause.NONE
    """What the scheduler has to act on after a failure."""
    sources: Mapping[str, str] = field(default_factory=dict)
    """The digest of the source of each component that ran, by kind and name, as an artifact's record has it."""

    @staticmethod
    def of_record(key: str, record: Mapping[str, JSON], stored: bool) -> Outcome:
        """Return the outcome of a finished task from its artifact's record."""
        made = record["made"]
        where = made.get("device", ""), made.get("machine", "")
        facts, sources = record["facts"], made.get("sources", {})
        return Outcome(key, Status.DONE, stored, facts, made.get("seconds", 0.0), *where, sources=sources)
