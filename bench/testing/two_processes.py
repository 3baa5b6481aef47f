"""Two processes beside this one, as the workers of a run are: each does some of the tasks of a component under test."""

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


class Unknown(Exception):
    """Why no other process can import a component."""


LIMIT = 60.0
"""Seconds for one call of a component."""
_workers: list[SupervisedProcess] = []
Packed: TypeAlias = tuple[bytes, tuple[str, ...]]
"""Components as bytes, and the plugin files that have to be read before them."""


def workers() -> list[SupervisedProcess]:
    """Give two processes that wait for work: started when they are first asked for, and kept."""
    _workers[:] = [w for w in _workers if w.process.is_alive()]
    while len(_workers) < 2:
        _workers.append(SupervisedProcess(LIMIT))
        atexit.register(_workers[-1].close)
    return list(_workers)


def divide(work: Callable[..., None], given: Sequence[Any], tasks: Sequence[Task]) -> dict[str, str]:
    """Let two processes do tasks, every other one each; give the errors of those that failed, by key.

    Each does `work(tell, *given, tasks)`, which tells a key and an error, or an empty one, for every task that it has
    done. Where it cannot begin it tells None and the reason, for which Unknown is raised.
    """
    shares = [(w, tasks[i::2]) for i, w in enumerate(workers())]
    asked = [(w.submit(work, *given, own), own) for w, own in shares if own]
    failures: dict[str, str] = {}
    for told, own in asked:
        failures |= _heard(told, own)
    return failures


def packed_up(component: Component, needed: Sequence[Component]) -> Packed:
    """Pack components for another process; Unknown if that cannot be."""
    try:
        packed = pickle.dumps((component, list(needed)))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Unknown(str(error)) from error
    modules = (sys.modules.get(type(c).__module__) for c in (component, *needed))
    files = [str(m.__file__) for m in modules if m is not None and m.__name__.startswith("bench_plugin_file_")]
    return packed, tuple(dict.fromkeys(files))


def unpacked(packed: Packed) -> tuple[Component, list[Component]]:
    """Unpack in another process what was packed for it; Unknown if that cannot be."""
    try:
        load_registry(packed[1])
        component, needed = pickle.loads(packed[0])
    except (ImportError, AttributeError) as error:
        raise Unknown(str(error)) from error
    return component, needed


def _heard(told: Iterator[Any], own: Sequence[Task]) -> dict[str, str]:
    left = [t.key for t in own]
    failures = {}
    try:
        for key, error in told:
            if key is None:
                raise Unknown(error)
            left.remove(key)
            if error:
                failures[key] = f"it failed: {error}"
    except Died as death:
        failures |= dict.fromkeys(left, f"it {death}")
    return failures
