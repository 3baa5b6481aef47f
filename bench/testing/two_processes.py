"""Two processes that share the tasks of a component under test, as the workers of a run do."""

from __future__ import annotations

import atexit
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

from bench.api.components import Component
from bench.core.tasks import Task
from bench.registry.discovery import load_registry
from bench.sandbox.supervised_process import Died, SupervisedProcess


class NotImportable(Exception):
    """No other process can import a component, for this reason."""


LIMIT = 60.0
"""Seconds for one call of a component."""
_workers: list[SupervisedProcess] = []
Packed: TypeAlias = tuple[bytes, tuple[str, ...]]
"""Pickled components, and the plugin files to import before unpickling."""


def workers() -> list[SupervisedProcess]:
    """Return two waiting processes; they are started at the first call and reused."""
    _workers[:] = [w for w in _workers if w.process.is_alive()]
    while len(_workers) < 2:
        _workers.append(SupervisedProcess(LIMIT))
        atexit.register(_workers[-1].close)
    return list(_workers)


def divide(work: Callable[..., None], given: Sequence[Any], tasks: Sequence[Task]) -> dict[str, str]:
    """Divide tasks between two processes; return the errors of those that failed, by key.

    Each does `work(tell, *given, tasks)`, which tells a key and an error, or an empty one, for every task that it has
    done. Where it cannot begin it tells None and the reason, for which NotImportable is raised.
    """
    shares = [(w, tasks[i::2]) for i, w in enumerate(workers())]
    submitted = [(w.submit(work, *given, own), own) for w, own in shares if own]
    failures: dict[str, str] = {}
    for results, own in submitted:
        failures |= _failures(results, own)
    return failures


def pack(component: Component, required: Sequence[Component]) -> Packed:
    """Pickle components for another process; raise NotImportable if that is impossible."""
    try:
        packed = pickle.dumps((component, list(required)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise NotImportable(str(error)) from error
    modules = (sys.modules.get(type(c).__module__) for c in (component, *required))
    files = [str(m.__file__) for m in modules if m is not None and m.__name__.startswith("bench_plugin_file_")]
    return packed, tuple(dict.fromkeys(files))


def unpack(packed: Packed) -> tuple[Component, list[Component]]:
    """Return the components that `pack` pickled in another process; raise NotImportable if that is impossible."""
    try:
        load_registry(packed[1])
        component, required = pickle.loads(packed[0])
    except (ImportError, AttributeError) as error:
        raise NotImportable(str(error)) from error
    return component, required


def _failures(results: Iterator[Any], own: Sequence[Task]) -> dict[str, str]:
    left = [t.key for t in own]
    failures = {}
    try:
        for key, error in results:
            if key is None:
                raise NotImportable(error)
            left.remove(key)
            if error:
                failures[key] = f"it failed: {error}"
    except Died as death:
        failures |= dict.fromkeys(left, f"it {death}")
    return failures
