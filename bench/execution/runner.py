"""Run one task, whatever its kind: the only place a benchmark calls plugin code."""

from __future__ import annotations

import platform
import threading
import time
import traceback
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from bench.api.torchvision import prepare_torchvision
from bench.core.canonical import JSON, seed_of
from bench.core.errors import BenchError, NonFiniteLoss
from bench.core.kinds import ComponentKind, FailureCause, Status
from bench.core.tasks import Outcome, Task
from bench.execution.failures import classify_failure
from bench.execution.result_checks import data_checksum
from bench.execution.task_context import ProgressCallback, TaskContext, WorkerState
from bench.execution.tasks import KINDS
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
    told: ProgressCallback | None = None,
    state: WorkerState | None = None,
) -> Outcome:
    """Run a task and save its artifact; give its outcome. Never raises: a failure is an outcome too.

    `data` is the folder of the datasets; `desk` (made of the rest where it is None) remembers what was read last, so
    that many scores of one suspect load it once.
    """
    state = state or WorkerState(store, registry, device, data or Path(), threads, told)
    with genuine_interrupts() as pressed:
        return _executed(task, state, pressed)


def _executed(task: Task, state: WorkerState, pressed: threading.Event) -> Outcome:
    store, log = state.store, Log(state.store.log(task.key))
    started = time.perf_counter()
    error, cause = "", FailureCause.NONE
    try:
        record = store.record(task.key)
        if record is not None and store.is_complete(task.key, record):
            return done(task.key, record, stored=True)
        with claim(store, task.key) as ours:
            if not ours:
                return Outcome(task.key, Status.BUSY)
            record = store.record(task.key)  # another run may have finished it in between
            if record is not None and store.is_complete(task.key, record):
                return done(task.key, record, stored=True)
            with log.catching_crashes():
                facts, files = _attempt(task, state, log)
            seconds = time.perf_counter() - started
            record = store.save(task.key, task.kind, facts, files, _made(task, state, seconds))
        return done(task.key, record, stored=False)
    except BaseException as failure:  # a stranger's code may raise anything; the run has to go on
        if pressed.is_set():
            raise
        error, cause = classify_failure(failure, state.device)
        if cause != FailureCause.STORE:
            log.append_failure(traceback.format_exc())
    finally:
        state.read = OrderedDict() if error else state.read
    if cause == FailureCause.MEMORY and state.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return Outcome(
        task.key, Status.FAILED, seconds=time.perf_counter() - started, device=state.device, error=error,
        root=task.name, log=str(log.path) if log.size else "", cause=cause,
    )  # fmt: skip


def done(key: str, record: Mapping[str, JSON], stored: bool) -> Outcome:
    """Give the outcome of a task from its artifact's record."""
    made = record["made"]
    return Outcome(key, Status.DONE, stored, record["facts"], made.get("seconds", 0.0), made.get("device", ""))


def _run_handler(context: TaskContext, log: Log) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    """Run a task's handler; BenchError where plugin code changed the data that later tasks of this process receive."""
    with isolated(context.seed, log, context.state.threads):
        found = KINDS[context.task.kind](context)
    if context.versions:
        data = context.data()
        if context.versions != data.versions or context.seal() != data_checksum(data):
            who = next(k for k in reversed(ComponentKind) if k in context.params)
            raise BenchError(
                f"{who} {context.params[who]['name']!r} changed images or labels in place: take a copy, images.clone()"
            )
    return found


def _attempt(task: Task, state: WorkerState, log: Log) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    """Run a task; a non-finite loss gets one more try with another seed, and the row's note says so."""
    prepare_torchvision()
    seed = seed_of(task.key)
    try:
        return _run_handler(TaskContext(task, state, seed), log)
    except NonFiniteLoss as failure:
        log.write(f"{failure}: trying once more with another seed\n")
        state.read = OrderedDict()
    facts, files = _run_handler(TaskContext(task, state, seed + 1), log)
    facts["notes"] = {**facts.get("notes", {}), "restarted": 1}
    return facts, files


def _made(task: Task, state: WorkerState, seconds: float) -> dict[str, JSON]:
    """Say how an artifact came to be: recorded with it, no part of its key."""
    return {
        "name": task.name,
        "inputs": dict(task.inputs),
        "seconds": round(seconds, 6),
        "device": state.device,
        "threads": state.threads,
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "sources": {f"{k}:{n}": state.registry.source_digest(k, n) for k, n in task.components().items()},
    }
