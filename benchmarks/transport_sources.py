"""Sources of a benchmark with all that a verdict about them needs: fingerprints, innocents and their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bench.core.kinds import ComponentKind, SuspectKind, TaskKind
from bench.core.tasks import Task, Trial
from bench.datasets.partition import load
from bench.execution.preparation import PreparedRun, prepare
from bench.execution.run_config import Reporter
from bench.execution.scheduler import run_tasks
from bench.execution.task_context import TaskContext, WorkerState
from bench.frontend.run import checked_call
from bench.training.answering import Askable


@dataclass
class Committed:
    """One source as one group of methods marks it: all fingerprints, a watermark alone, or the plain source.

    `draws` are the fingerprints by method, `nulls` the scores of innocents by method (means over draws), `innocents`
    the keys of innocent networks, `key` that of the source.
    """

    dataset: str
    seed: int
    model: Askable
    methods: Mapping[str, Any]
    draws: Mapping[str, list[dict[str, Tensor]]]
    nulls: Mapping[str, list[float]]
    innocents: list[str]
    key: str


class World:
    """A run that is done: its trials, and what is in its store.

    It has as many innocents as `replicates` says, whatever the preset has for rates.
    """

    def __init__(self, **options: Any) -> None:
        call = checked_call(options, "benchmarks.transport")
        reporter = Reporter()
        spec = dataclasses.replace(call.request.spec, negatives=0)
        self.prepared: PreparedRun = prepare(dataclasses.replace(call.request, spec=spec), reporter)
        run_tasks(self.prepared.missing, self.prepared.config, reporter, lambda key: {})
        request = self.prepared.request
        self.plan, self.store = self.prepared.inventory.plan, request.store
        self.state = WorkerState(request.store, request.registry, "cpu", request.data, 1)

    def context(self, key: str) -> TaskContext:
        """Return the context of a task."""
        return TaskContext(self.plan.tasks[key], self.state, 0, torch.Generator())

    def model(self, key: str) -> Askable:
        """Return a stored network."""
        task = next(t for t in self.plan.tasks.values() if t.kind == TaskKind.SCORE)
        return self.context(task.key).model(key)[0]

    def images(self, dataset: str) -> Any:
        """Return the `test` part of a dataset."""
        data = {str(t.params["dataset"]["name"]): key for key, t in self.plan.tasks.items() if t.kind == TaskKind.DATA}
        return load(self.store, data[dataset]).parts["test"]

    def sources(self) -> Iterator[Committed]:
        """Yield the sources: those of all fingerprints, then those of each watermark."""
        groups: dict[tuple[str, int, str], list[Trial]] = {}
        for trial in self.plan.trials:
            if trial.suspect_kind == SuspectKind.IRRELEVANT and trial.suspect_dataset == trial.dataset and trial.score:
                groups.setdefault((trial.dataset, trial.source_seed, trial.source), []).append(trial)
        for (dataset, seed, source), trials in groups.items():
            yield self._committed(dataset, seed, source, trials)

    def _committed(self, dataset: str, seed: int, source: str, trials: list[Trial]) -> Committed:
        methods: dict[str, Any] = {}
        draws: dict[str, dict[int, dict[str, Tensor]]] = {}
        scores: dict[str, dict[str, list[float]]] = {}
        for trial in trials:
            task: Task = self.plan.tasks[trial.score]
            methods.setdefault(trial.method, self.context(trial.score).component(ComponentKind.METHOD))
            known = draws.setdefault(trial.method, {})
            if trial.draw not in known:
                known[trial.draw] = self.store.load(task.inputs["fingerprint"], "fingerprint")
            score = (self.store.facts(trial.score) or {}).get("score")
            if score is not None:
                scores.setdefault(trial.method, {}).setdefault(trial.suspect, []).append(float(score))
        nulls = {m: [sum(v) / len(v) for v in by.values()] for m, by in scores.items()}
        innocents = list(dict.fromkeys(t.suspect for t in trials))
        fingerprints = {m: list(by.values()) for m, by in draws.items()}
        return Committed(dataset, seed, self.model(source), methods, fingerprints, nulls, innocents, source)
