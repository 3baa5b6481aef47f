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
from bench.core.errors import NonFiniteLoss
from bench.core.tasks import Outcome, Task
from bench.execution.failures import classify_failure
from bench.execution.task_context import Desk, TaskContext, Told
from bench.registry.registry import Catalogue
from bench.sandbox.logs import Log
from bench.sandbox.process_state import watched
from bench.store.store import Store


def execute(
    task: Task,
    store: Store,
    catalogue: Catalogue,
    device: str = "cpu",
    *,
    data: Path | None = None,
    threads: int = 1,
    told: Told | None = None,
    desk: Desk | None = None,
) -> Outcome:
    """Run a task and save its artifact; give its outcome. Never raises: a failure is an outcome too.

    `data` is the folder of the datasets; `desk` (made of the rest where it is None) remembers what was read last, so
    that many scores of one suspect load it once.
    """
    desk = desk or Desk(store, catalogue, device, data or Path(), threads, told)
    with watched() as pressed:
        return _executed(task, desk, pressed)


def _executed(task: Task, desk: Desk, pressed: threading.Event) -> Outcome:
    store, log = desk.store, Log(desk.store.log(task.key))
    started = time.perf_counter()
    error, cause = "", ""
    try:
        record = store.record(task.key)
        if record is not None and store.is_whole(task.key, record):
            return done(task.key, record, stored=True)
        with store.claim(task.key) as ours:
            if not ours:
                return Outcome(task.key, "busy")
            record = store.record(task.key)  # another run may have finished it in between
            if record is not None and store.is_whole(task.key, record):
                return done(task.key, record, stored=True)
            with log.ready():
                facts, files = _attempt(task, desk, log)
            seconds = time.perf_counter() - started
            record = store.save(task.key, task.kind, facts, files, _made(task, desk, seconds))
        return done(task.key, record, stored=False)
    except BaseException as failure:  # a stranger's code may raise anything; the run has to go on
        if pressed.is_set():
            raise
        error, cause = classify_failure(failure, desk.device)
        if cause != "store":
            log.end(traceback.format_exc())
    finally:
        desk.read = OrderedDict() if error else desk.read
    if cause == "memory" and desk.device.startswith("cuda"):
        torch.cuda.empty_cache()
    return Outcome(
        task.key, "failed", seconds=time.perf_counter() - started, device=desk.device, error=error,
        root=task.name, log=str(log.path) if log.size else "", cause=cause,
    )  # fmt: skip


def done(key: str, record: Mapping[str, JSON], stored: bool) -> Outcome:
    """Give the outcome of a task from its artifact's record."""
    made = record["made"]
    return Outcome(key, "done", stored, record["facts"], made.get("seconds", 0.0), made.get("device", ""))


def _attempt(task: Task, desk: Desk, log: Log) -> tuple[dict[str, JSON], dict[str, Mapping[str, Tensor]]]:
    """Run a task; a non-finite loss gets one more try with another seed, and the row's note says so."""
    prepare_torchvision()
    seed = seed_of(task.key)
    try:
        return TaskContext(task, desk, seed).result(log)
    except NonFiniteLoss as failure:
        log.write(f"{failure}: trying once more with another seed\n")
        desk.read = OrderedDict()
    facts, files = TaskContext(task, desk, seed + 1).result(log)
    facts["notes"] = {**facts.get("notes", {}), "restarted": 1}
    return facts, files


def _made(task: Task, desk: Desk, seconds: float) -> dict[str, JSON]:
    """Say how an artifact came to be: recorded with it, no part of its key."""
    used = {
        f"{kind}:{task.params[kind]['name']}": kind
        for kind in ("dataset", "architecture", "attack", "method")
        if kind in task.params and (kind != "dataset" or task.kind == "data")
    }
    return {
        "name": task.name,
        "inputs": dict(task.inputs),
        "seconds": round(seconds, 6),
        "device": desk.device,
        "threads": desk.threads,
        "torch": torch.__version__,
        "machine": f"{platform.system()} {platform.machine()}",
        "sources": {name: desk.catalogue.source_digest(kind, name.split(":")[1]) for name, kind in used.items()},
    }  # fmt: skip
