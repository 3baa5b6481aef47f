"""Export what methods ask, so that the owner of a network that nobody else can run asks it, and returns a table."""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from msgspec import structs
from torch import Tensor

from bench.core.canonical import seed_of
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, TaskKind
from bench.core.tasks import Task
from bench.datasets.partition import load
from bench.execution.preparation import BenchmarkRequest, prepare
from bench.execution.run_config import Failures, Reporter
from bench.execution.scheduler import run_tasks
from bench.execution.scores import budget
from bench.execution.task_context import TaskContext, WorkerState
from bench.models.answers import image_digests
from bench.models.image_digest import GRID
from bench.models.kinds import ModelRole
from bench.planning.described import Models
from bench.sandbox.logs import Log
from bench.sandbox.torch_state import isolated
from bench.store.atomic import temporary_file, write_atomically
from bench.training.oracle import RecordingSuspect


def export_probes(request: BenchmarkRequest, test: bool, reporter: Reporter) -> dict[str, int]:
    """Write `probes.npz` and `answers.csv` into the request's folder; return the number of images by method.

    The images are those that each method asks of the described sources themselves: a method whose questions depend on
    answers may ask others of a suspect. With `test`, the images of `test` are among them, so that a table of answers
    has an accuracy.
    """
    spec, known = request.spec, request.declarations
    if not known.models:
        raise BenchError("--models names the file that describes the source: whose probes are to be exported?")
    judged = (ModelRole.STOLEN, ModelRole.SUSPECT, ModelRole.IRRELEVANT)
    sources = [m for m in known.models.all if m.role not in judged]
    sources += [structs.replace(m, role=ModelRole.SUSPECT) for m in sources if m.role == ModelRole.SOURCE]
    models = Models(sources, spec.datasets[0], known.models.identities)
    models.unknown = known.models.unknown
    spec = dataclasses.replace(spec, models=tuple(m.plain() for m in sources), attacks=(), suspects=spec.suspects)
    changed = dataclasses.replace(request, spec=spec, declarations=dataclasses.replace(known, models=models))
    prepared = prepare(changed, reporter)
    failures = Failures(reporter)
    run_tasks(prepared.missing, prepared.config, failures, lambda key: {})
    if failures.errors:
        raise BenchError(next(iter(failures.errors.values())))
    state = WorkerState(request.store, request.registry, prepared.config.device, request.data, request.threads)
    state.zoo = known.zoo
    tasks = prepared.inventory.plan.tasks
    found: dict[str, Tensor] = {}
    counts: dict[str, int] = {}
    for key in dict.fromkeys(t.score for t in prepared.inventory.plan.trials if t.suspect_model and t.score):
        for images in _asked(state, tasks[key]):
            fresh = dict(zip(image_digests(images), images, strict=True))
            name = str(tasks[key].params["method"]["name"])
            counts[name] = counts.get(name, 0) + len(fresh.keys() - found.keys())
            found.update(fresh)
    if test:
        parts = load(request.store, next(k for k, t in tasks.items() if t.kind == TaskKind.DATA)).parts
        fresh = dict(zip(image_digests(parts["test"].images), parts["test"].x, strict=True))
        counts["test"] = len(fresh.keys() - found.keys())
        found.update(fresh)
    if not found:
        raise BenchError("These methods ask nothing of this source, or do not apply to it: see bench run")
    try:
        write_probes(request.folder, found, int(known.datasets[spec.datasets[0]].attributes["num_classes"]))
    except OSError as error:
        reason = error.strerror or error
        raise BenchError(f"{request.folder} cannot be written: {reason}. Choose another folder") from error
    return counts


def _asked(state: WorkerState, task: Task) -> Iterator[Tensor]:
    """Yield the images that a method asks in a score task, which is done."""
    if "score" not in (state.store.facts(task.key) or {}):
        return
    seed = seed_of(task.key)
    context = TaskContext(task, state, seed, torch.Generator(state.device).manual_seed(seed))
    method = context.component(ComponentKind.METHOD)
    suspect = RecordingSuspect(context.model(task.inputs["suspect"])[0], method.name, budget(method), method.access)
    fingerprint = state.store.load(task.inputs["fingerprint"], "fingerprint", state.device)
    with isolated(seed, Log(state.store.log(task.key)), state.threads, state.device):
        method.score(fingerprint, suspect)
    yield from suspect.asked


def write_probes(folder: Path, found: Mapping[str, Tensor], classes: int) -> None:
    """Write images, by their digests, after a table of answers to be filled in."""
    images = torch.stack(list(found.values()))
    whole = (images.double() * 255).round()
    if bool(((images.double() * 255 - whole).abs() <= GRID).all()):
        images = whole.to(torch.uint8)
    header = ",".join(["image", *map(str, range(classes))])
    lines = [header, *(digest + "," * classes for digest in found)]
    write_atomically(folder / "answers.csv", "\n".join(lines) + "\n")
    with temporary_file(folder / "probes.npz") as path, path.open("wb") as file:
        np.savez_compressed(file, images=images.numpy(), digests=np.array(list(found)))
