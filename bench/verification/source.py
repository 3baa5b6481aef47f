"""Ask the source of a commitment itself: about check images, and through each transport."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.api.components import Fingerprint
from bench.core.canonical import seed_of
from bench.core.kinds import Access, ComponentKind, TaskKind
from bench.datasets.partition import Data, load
from bench.datasets.sampling import balanced
from bench.execution.described import opened
from bench.execution.preparation import PreparedRun
from bench.execution.task_context import WorkerState
from bench.models.kinds import ModelRole
from bench.models.opening import close, known_images
from bench.sandbox.logs import Log
from bench.sandbox.torch_state import isolated
from bench.training.answering import Askable, ask, output_of
from bench.verification.commitment_files import Checks
from bench.verification.measured import Measured
from bench.verification.null_datasets import compared
from bench.verification.schema import TransportScore
from bench.verification.transports import source_scores

CHECK_IMAGES = 100
"""Labelled images of `test` that a commitment holds."""
CHECK_SEED = 0


class Asked(NamedTuple):
    """What the source answered: check images, and scores through transports; `data` is the key of the dataset."""

    checks: Checks
    transports: list[TransportScore]
    data: str


def asked_source(prepared: PreparedRun, found: Measured) -> Asked:
    """Open the described source of a finished run on the CPU, and ask it."""
    request, tasks = prepared.request, prepared.inventory.plan.tasks
    task = next(t for t in tasks.values() if t.kind == TaskKind.MODEL and t.role == ModelRole.SOURCE)
    data = load(request.store, task.inputs["data"])
    state = WorkerState(request.store, request.registry, "cpu", request.data, request.threads)
    state.zoo = request.declarations.zoo
    source, _ = opened(task.params["model"], data.facts, state)
    try:
        with isolated(seed_of(task.key), Log(request.store.log(task.key)), request.threads, "cpu"):
            return Asked(_checks(source, data), _transports(source, prepared, found), task.inputs["data"])
    finally:
        close(source)


def _checks(source: Askable, data: Data) -> Checks:
    test = data.parts["test"]
    known = known_images(source, test.images)
    index = torch.arange(len(test)) if known is None else known
    index = index[torch.from_numpy(balanced(test.labels[index].numpy(), CHECK_IMAGES, CHECK_SEED, "checks"))]
    labels = test.labels[index]
    before = (labels[:, None] == labels).tril(-1).sum(1)  # images of the same class
    index = index[before.argsort(stable=True)]  # some checks ask the first ones only, of a dataset sorted by class too
    images = test.images[index]
    labels = ask(source, Access.LABELS, images)
    probabilities = np.zeros((0, int(data.facts["num_classes"])), np.float32)
    if output_of(source) != Access.LABELS:
        probabilities = ask(source, Access.PROBABILITIES, images).float().numpy()
    return Checks(images.numpy(), test.labels[index].numpy(), labels.numpy(), probabilities)


def _transports(source: Askable, prepared: PreparedRun, found: Measured) -> list[TransportScore]:
    registry = prepared.request.registry
    methods: dict[str, Fingerprint] = {
        m.name: registry.get(ComponentKind.METHOD, m.name, m.params) for m in found.methods
    }
    draws: dict[str, list[dict[str, Tensor]]] = {
        m.name: [dict(found.fingerprints[f.file]) for f in m.fingerprints] for m in found.methods
    }
    spec = prepared.request.spec
    own = compared(found.nulls, spec.datasets[0], spec.to_json(), spec.datasets[0])
    nulls = {m.name: [row.score for row in own if row.method == m.name] for m in found.methods}
    return source_scores(source, draws, methods, nulls, output_of(source))
