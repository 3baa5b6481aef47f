"""Run one task of any kind: the only place where a benchmark calls plugin code."""

import functools
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
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
from bench.planning.inventory import stored_outcome
from bench.registry import imports
from bench.registry.registry import Registry
from bench.sandbox.logs import Log
from bench.sandbox.process_state import genuine_interrupts
from bench.sandbox.torch_state import isolated
from bench.store.locks import Claims
from bench.store.store import Store

LONGEST_GROUP = 0.25
"""Seconds of work whose artifacts are published together: what is lost if the process is killed."""


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
    state, claims = state or WorkerState(store, registry, device, data or Path(), threads, on_progress), Claims(store)
    with genuine_interrupts() as pressed:
        try:
            return _execute(task, state, claims, pressed)
        finally:
            claims.release()


def execute_together(tasks: Sequence[Task], state: WorkerState, start: Callable[[Task], bool]) -> Iterator[Outcome]:
    """Run tasks one after the other, inputs first, and yield their outcomes. Never raises, as `execute`.

    Artifacts of short tasks are published together, and their outcomes come then. `start` is called before each task;
    if it returns False, that one and those after it are left out. Also left out is what needs one that is not done.
    """
    failed: set[str] = set()
    finished: list[tuple[Task, Outcome]] = []
    claims, begun = Claims(state.store), time.monotonic()
    try:
        with state.store.together():
            for task in tasks:
                if not failed.isdisjoint(task.inputs.values()):
                    failed.add(task.key)
                    continue
                if not start(task):
                    break
                with genuine_interrupts() as pressed:
                    outcome = _execute(task, state, claims, pressed)
                finished.append((task, outcome))
                if outcome.status != Status.DONE:
                    failed.add(task.key)
                if outcome.status == Status.FAILED or time.monotonic() - begun >= LONGEST_GROUP:
                    yield from _published(finished, state, claims)
                    finished, begun = [], time.monotonic()
            yield from _published(finished, state, claims)
    finally:
        claims.release()


def _published(finished: Sequence[tuple[Task, Outcome]], state: WorkerState, claims: Claims) -> list[Outcome]:
    """Publish the artifacts of tasks, and return the outcomes: if the store cannot be written, that they failed."""
    try:
        state.store.publish()
        claims.release()
    except Exception as failure:
        error, cause = classify_failure(failure, state.device)
        return [
            replace(o, status=Status.FAILED, facts={}, error=error, root=task.name, cause=cause)
            if o.status == Status.DONE and not o.stored
            else o
            for task, o in finished
        ]
    return [outcome for _, outcome in finished]


def _execute(task: Task, state: WorkerState, claims: Claims, pressed: threading.Event) -> Outcome:
    log, started = Log(state.store.log(task.key)), time.perf_counter()
    try:
        return stored_outcome(state.store, task) or _compute(task, state, claims, log, started)
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
        log=str(log.path) if log.size and log.created else "",
        cause=cause,
    )


def _compute(task: Task, state: WorkerState, claims: Claims, log: Log, started: float) -> Outcome:
    """Compute a task and save its artifact, unless another process is computing it or has just done so."""
    if not claims.add(task.key):
        return Outcome(task.key, Status.BUSY)
    state.store.look_again(task.key)
    if outcome := stored_outcome(state.store, task):
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
    with isolated(seed, log, state.threads, state.device, state.own_process):
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
        "sources": {f"{k}:{n}": _source(state, k, n) for k, n in task.components().items()},
    }


def _source(state: WorkerState, kind: str, name: str) -> str:
    """Return the digest of a component's source, which is the same until a further module of a plugin is imported."""
    imported = f"{kind}:{name} {len(imports.texts)}"
    return state.cached("source", imported, lambda: state.registry.source_digest(kind, name), 64)
