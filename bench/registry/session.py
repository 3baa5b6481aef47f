"""Components that are objects of a Python session, such as those of a notebook's cells.

They are added to the registry of one run. Worker processes cannot import where they are from, so they receive the
objects, pickled by value, in a file: one object may hold a hundred megabytes.
"""

import dataclasses
import importlib.metadata
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from bench.api.components import Component, fields_of
from bench.core.canonical import JSON
from bench.core.errors import BenchError, describe_error
from bench.registry.code import code_digest
from bench.registry.registry import SESSION, Registry
from bench.registry.validation import contract_violation


class Shipped(NamedTuple):
    """A file with what `ship` returned, and its SHA-256: others may write to a shared folder, and a pickle is code."""

    path: str
    digest: str


def add(registry: Registry, component: Component) -> dict[str, JSON]:
    """Add a component to a registry, unless it is there; return its fields that differ from the usual ones.

    An object of an installed component's class and name is that component with some fields set. BenchError if the
    component breaks its contract, or another one has its name.
    """
    if reason := contract_violation(component):
        raise BenchError(reason)
    kind, name = registry.kind_of(component.name), component.name
    if kind is None:
        if broken := next((b for b in registry.broken if b.name == name), None):
            raise BenchError(f"{name!r} is the name of a broken plugin of {broken.distribution}: choose another one")
        registry.add(component, SESSION, source=code_digest(type(component)))
        return _changed(component, {f.name: _default(f) for f in fields_of(component) if f.init})
    other = registry.entries[kind][name]
    if other.distribution == SESSION and other.component == component:
        return {}
    if other.distribution == SESSION or type(other.component) is not type(component):
        raise BenchError(
            f"Two components are named {name!r}: an object and a {kind} of {other.distribution}. Choose another name"
        )
    return _changed(component, {f.name: getattr(other.component, f.name) for f in fields_of(component) if f.init})


def _changed(component: Component, usual: Mapping[str, object]) -> dict[str, JSON]:
    return {name: value for name, before in usual.items() if (value := getattr(component, name)) != before}


def _default(field: "dataclasses.Field[Any]") -> object:
    return field.default_factory() if callable(field.default_factory) else field.default


def ship(registry: Registry) -> bytes:
    """Return a registry's components of this session; from a file, `receive` adds them in another process.

    BenchError names the first one that cannot be pickled: it holds what no other process can have.
    """
    import cloudpickle

    found = [registry.entries[kind][name] for kind, name in sorted(registry.of_session)]
    installed = importlib.metadata.packages_distributions()
    modules = {type(e.component).__module__ for e in found}
    local = {m for m in modules if m.partition(".")[0] not in installed}
    with _by_value(local - {"__main__"}):
        for e in found:
            try:
                cloudpickle.dumps(e.component)
            except Exception as error:  # objects of a session may be anything
                text = f"{e.component.name} cannot be sent to worker processes: {describe_error(error)}"
                raise BenchError(text) from error
        pickled = cloudpickle.dumps([(e.component, e.source, _hints(type(e.component), local)) for e in found])
    return bytes(cloudpickle.dumps((sys.path, pickled)))


def _hints(cls: type, local: Set[str]) -> list[dict[str, Any]]:
    """Return what the annotations of a class and its bases stand for, of those that are in the same local module.

    As text (`from __future__ import annotations`) they may mean nothing in another process.
    """
    known = typing.get_type_hints(cls)
    own = [c.__module__ == cls.__module__ and c.__module__ in local for c in cls.__mro__]
    return [
        {name: known[name] for name in inspect.get_annotations(c)} if is_own else {}
        for c, is_own in zip(cls.__mro__, own, strict=True)
    ]


@contextmanager
def _by_value(modules: Set[str]) -> Iterator[None]:
    """Pickle what these modules define by value."""
    import cloudpickle

    local = [sys.modules[m] for m in modules if m in sys.modules]
    local = [m for m in local if m.__name__ not in cloudpickle.list_registry_pickle_by_value()]
    for module in local:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in local:
            cloudpickle.unregister_pickle_by_value(module)


def write(path: Path, content: bytes) -> Shipped:
    """Write what `ship` returned into a file."""
    path.write_bytes(content)
    return Shipped(str(path), sha256(content).hexdigest())


def receive(registry: Registry, shipped: Shipped) -> None:
    """Add the components of another process's session; BenchError if they cannot be read here."""
    import cloudpickle

    try:
        content = Path(shipped.path).read_bytes()
        if sha256(content).hexdigest() != shipped.digest:
            raise ValueError(f"{shipped.path} is not what the run wrote")
        path, pickled = cloudpickle.loads(content)
        sys.path += [entry for entry in path if entry not in sys.path]  # last: nothing is shadowed by it
        found: Sequence[tuple[Component, str, list[dict[str, Any]]]] = cloudpickle.loads(pickled)
        for component, _, hints in found:
            for cls, own in zip(type(component).__mro__, hints, strict=True):
                if own:
                    cls.__annotations__ = own
    except Exception as error:  # what they import may raise anything
        raise BenchError(
            f"The components of the session cannot be used in this process: {describe_error(error)}"
        ) from error
    for component, source, _ in found:
        registry.add(component, SESSION, source=source)
