"""Run one task of any kind: the only place where a benchmark calls plugin code."""

import functools
import threading
import time
import traceback
from collections import OrderedDict
from pathlib import Path

import torch

from bench.api.torchvision import prepare_torchvision
from bench.core.canonical import JSON, seed_of
from bench.core.errors import BenchError, NonFiniteLoss, NotApplicable, first_line, printable
from bench.core.kinds import ComponentKind, FailureCause, Status, TaskKind
from bench.core.tasks import NOT_APPLICABLE, Outcome, Task
from bench.execution.failures import LONGEST_ERROR, classify_failure
from bench.execution.machine import machine
from bench.execution.result_checks import data_checksum
from bench.execution.task_context import Artifact, ProgressCallback, TaskContext, WorkerState
from bench.execution.tasks import HANDLERS
from bench.registry.registry import Registry
from bench.sandbox.logs import Log
from bench.sandbox.process_state import genuine_interrupts
from bench.sandbox.torch_state import isolated
from bench.store.locks import claim
from bench.store.store import Store


def execute(
    task: Task,
    store: Store,
    registry: Registry,
    device: str = "cpu",
    *,
    data: Path | None = None,
    threads: int = 1,
    on_progress: ProgressCallback | None = None,
    state: WorkerState | None = None,
) -> Outcome:
    """Run a task, save its artifact, and return its outcome. Never raises: a failure is an outcome too.

    `data` is the folder of the datasets. `state` caches what was read last, so that many scores of one suspect load it
    once; it replaces all other arguments but `task`.
    """
    state = state or WorkerState(store, registry, device, data or Path(), threads, on_progress)
    with genuine_interrupts() as pressed:
        return _execute(task, state, pressed)


def _execute(task: Task, state: WorkerState, pressed: threading.Event) -> Outcome:
    log, started = Log(state.store.log(task.key)), time.perf_counter()
    try:
        return _stored(task, state.store) or _compute(task, state, log, started)
    except BaseException as failure:  # plugin code may raise anything, and the run has to go on
        if pressed.is_set():
            raise
        error, cause = classify_failure(failure, state.device)
        state.cache = OrderedDict()
        if cause != FailureCause.STORE:
            log.append_failure(traceback.format_exc())
    if cause == FailureCause.MEMORY and state.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return Outcome(
        task.key,
        Status.FAILED,
        seconds=time.perf_counter() - started,
        device=state.device,
        error=error,
        root=task.name,
        log=str(log.path) if log.size else "",
        cause=cause,
    )


def _stored(task: Task, store: Store) -> Outcome | None:
    """Return the outcome of a task whose artifact is complete in the store."""
    record = store.record(task.key)
    return Outcome.of_record(task.key, record, True) if record and store.is_complete(task.key, record) else None


def _compute(task: Task, state: WorkerState, log: Log, started: float) -> Outcome:
    """Compute a task and save its artifact, unless another process is computing it or has just done so."""
    with claim(state.store, task.key) as claimed:
        if not claimed:
            return Outcome(task.key, Status.BUSY)
        if outcome := _stored(task, state.store):
            return outcome
        with log.catching_crashes():
            facts, files = _with_restart(task, state, log)
        provenance = _provenance(task, state, time.perf_counter() - started)
        record = state.store.save(task.key, task.kind, facts, files, provenance)
    return Outcome.of_record(task.key, record, False)


def _with_restart(task: Task, state: WorkerState, log: Log) -> Artifact:
    """Run a task; if a loss is not finite, run it once more with another seed, and note that.

    What needs an input that is not applicable is not applicable for the same reason.
    """
    for key in task.inputs.values():
        if reason := state.cached("reason", key, functools.partial(_reason, state.store, key), 256):
            return {NOT_APPLICABLE: reason}, {}
    prepare_torchvision()
    seed = seed_of(task.key)
    try:
        return _attempt(task, state, seed, log)
    except NonFiniteLoss as failure:
        log.write(f"{failure}: trying once more with another seed\n")
        state.cache = OrderedDict()
    facts, files = _attempt(task, state, seed + 1, log)
    facts["notes"] = {**facts.get("notes", {}), "restarted": 1}
    return facts, files


def _attempt(task: Task, state: WorkerState, seed: int, log: Log) -> Artifact:
    """Run a task's handler; BenchError if plugin code changed the data that later tasks of this process receive."""
    context = TaskContext(task, state, seed, torch.Generator(state.device).manual_seed(seed))
    with isolated(seed, log, state.threads, state.device):
        try:
            artifact = HANDLERS[task.kind](context)
        except NotApplicable as error:
            if task.kind == TaskKind.DATA:  # it may apply to other files, which no key names
                raise
            artifact = {NOT_APPLICABLE: printable(first_line(error)[:LONGEST_ERROR]) or "no reason was given"}, {}
    if context.recorded.data_versions:
        data = context.data()
        if context.recorded.data_versions != data.versions or context.checksum() != data_checksum(data):
            kind = next(k for k in reversed(ComponentKind) if k in task.params)
            raise BenchError(
                f"{kind} {task.params[kind]['name']!r} changed images or labels in place: take a copy, images.clone()"
            )
    return artifact


def _reason(store: Store, key: str) -> str:
    """Return why an input is not applicable; empty if it is."""
    return str(((store.record(key) or {}).get("facts") or {}).get(NOT_APPLICABLE, ""))


def _provenance(task: Task, state: WorkerState, seconds: float) -> dict[str, JSON]:
    """Return how an artifact was computed, which is recorded with it and is no part of its key."""
    return {
        "name": task.name,
        "inputs": dict(task.inputs),
        "seconds": round(seconds, 6),
        "device": state.device,
        "threads": state.threads,
        "torch": torch.__version__,
        "machine": machine(state.device),
        "sources": {f"{k}:{n}": state.registry.source_digest(k, n) for k, n in task.components().items()},
    }
