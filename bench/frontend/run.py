"""Run a benchmark from Python; the command does the same with the same function."""

import inspect
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from os import PathLike
from typing import Any, Unpack

from bench.core.errors import BenchError
from bench.core.hardware import gpus, suitable_precision
from bench.datasets.files import data_root
from bench.execution.benchmark import run_benchmark
from bench.execution.environment import check_environment
from bench.execution.preparation import BenchmarkRequest, results_folder
from bench.execution.slots import slots
from bench.frontend.options import RunOptions, argument, as_call, check_known, plain, read, with_names
from bench.frontend.reporter import DisplayReporter, ProgressFunction, reporter_of
from bench.frontend.results import Results
from bench.planning.options import READERS, build, flag
from bench.planning.planner import plan
from bench.registry import session
from bench.registry.discovery import load_registry
from bench.sandbox.process_state import deferred_interrupts, gc_paused
from bench.store.folders import default_root
from bench.store.store import Store

_working = threading.Lock()


@dataclass(frozen=True)
class Call:
    """A run that was asked for and checked as far as that is possible without its plan; `notes` are for the user."""

    request: BenchmarkRequest
    slots: int
    notes: Sequence[str] = ()


def run(*, progress: bool | ProgressFunction = True, **options: Unpack[RunOptions]) -> Results:
    """Run a benchmark as the command does, and return its results; finished work is stored, so nothing is done twice.

    Options are those of `bench run` with `_` in place of `-`; components may be objects, such as instances of a class
    that a notebook's cell defines. `progress`: True for a display, False for none, or a function that is called with
    a `RunProgress` at each change, and may return False to stop. BenchError for what the caller can correct.
    Tasks that fail raise nothing: their trials say so. KeyboardInterrupt keeps what is finished: the same call
    goes on from there.
    """
    check_known(options)
    given = plain(options)
    with _one_at_a_time(), _preserved_generators():
        call = checked_call(given, as_call(given), argument)
        reporter = reporter_of(progress, call.request.inline and bool(given.get("debug")))
        results = execute(call, reporter)
        error = getattr(reporter, "error", None)
        if error is not None:
            raise error
        return results


def _signature() -> inspect.Signature:
    """Return the signature of `run` with every option, which notebooks complete and `help` shows."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    options = [inspect.Parameter(name, keyword, default=None) for name in RunOptions.__annotations__]
    shown = inspect.Parameter("progress", keyword, default=True)
    return inspect.Signature([*options, shown], return_annotation=Results)


run.__signature__ = _signature()  # type: ignore[attr-defined]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Refuse a second run in this process: runs share its streams, its folder and torch's state."""
    if not _working.acquire(blocking=False):
        raise BenchError("This process runs a benchmark already: wait until it ends, or use another process")
    try:
        yield
    finally:
        _working.release()


@contextmanager
def _preserved_generators() -> Iterator[None]:
    """Restore the generators of `random` and numpy, from which Dask draws; torch's are restored after each task."""
    import numpy as np

    states = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def checked_call(options: Mapping[str, Any], command: str, shown: Callable[[str], str] = flag) -> Call:
    """Return what the options of a run ask for; BenchError, before anything is computed, for what cannot be.

    `command` is recorded in `run.json`; `shown` writes the name of an option for messages.
    """
    check_environment()
    values, present = read(options, shown), gpus()
    if values["debug"] and values["scheduler"]:
        raise BenchError(f"{shown('debug')} runs everything in this process: leave {shown('scheduler')} out")
    for name, default in (("workers", None), ("per_gpu", 1)) if values["scheduler"] else ():
        if values[name] != default:
            raise BenchError(f"The workers are those of the scheduler: leave {shown(name)} out")
    files = tuple(str(p) for p in values["plugins"] if isinstance(p, str | PathLike))
    registry = load_registry(files, data=values["data"])
    options = with_names(options, registry)
    devices = present if values["gpus"] is None else values["gpus"]
    chosen = {name: options[name] for name in READERS if name in options}
    precision, allow_code = suitable_precision(devices), values["allow_code"]
    spec, declarations = build(chosen, options.get("spec"), registry, precision, shown, allow_code, bool(devices))
    places = slots(values["workers"], values["gpus"], values["per_gpu"], present)
    request = BenchmarkRequest(
        spec,
        declarations,
        registry,
        Store(values["store"] or default_root()),
        data_root(values["data"]),
        results_folder(spec, values["out"]),
        workers=values["workers"],
        use_gpus=values["gpus"],
        per_gpu=values["per_gpu"],
        threads=values["threads"],
        scheduler=values["scheduler"],
        timeout=values["task_timeout"],
        inline=values["debug"],
        plugins=files,
        keep=values["keep"],
        refresh=values["refresh"],
        require_targets=bool(options.get("attacks")),
        command=command,
    )
    if registry.of_session:
        request, notes = _with_session(request)
        return Call(request, len(places), notes)
    return Call(request, len(places))


def _with_session(request: BenchmarkRequest) -> tuple[BenchmarkRequest, list[str]]:
    """Return a request whose worker processes receive the objects of this session, and notes for the user.

    What such an object took part in is computed again if its code has changed.
    """
    inline, notes, shipped = request.inline or request.workers == 0, [], b""
    try:
        shipped = b"" if inline else session.ship(request.registry)
    except BenchError as error:
        if request.workers or request.scheduler or request.timeout:
            raise BenchError(f"{error}. workers=0 runs everything in this process") from error
        inline = True
        notes.append(f"Note: {error}: everything runs in this process")
    edited = _edited(request)
    notes += [f"Note: the code of {name} has changed: what it took part in is computed again" for name in edited]
    plugins = (*request.plugins, *([shipped] if shipped else []))
    return replace(request, inline=inline, plugins=plugins, refresh=(*request.refresh, *edited)), notes


def _edited(request: BenchmarkRequest) -> list[str]:
    """Return the components of this session with stored results of other code."""
    found: dict[str, None] = {}
    for key, task in plan(request.spec, request.declarations).tasks.items():
        names = {f"{kind}:{name}": (kind, name) for kind, name in task.components().items()}
        own = {label: which for label, which in names.items() if which in request.registry.of_session}
        record = request.store.record(key) if own else None
        recorded = (record or {}).get("made", {}).get("sources", {})
        for label, (kind, name) in own.items():
            if recorded.get(label, digest := request.registry.source_digest(kind, name)) != digest:
                found[name] = None
    return [*found]


def execute(call: Call, reporter: DisplayReporter) -> Results:
    """Run a benchmark, write its report, and return its results."""
    for note in call.notes:
        reporter.note(note)
    result = run_benchmark(call.request, reporter)
    with gc_paused(), deferred_interrupts():
        from bench.reporting.build import update
    with gc_paused():
        update(result.folder)
    return Results(result.folder, result)
