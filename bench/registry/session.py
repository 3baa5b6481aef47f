"""Components that are objects of a Python session, such as those of a notebook's cells.

They are added to the registry of one run. Worker processes cannot import where they are from, so they receive the
objects, pickled by value.
"""

import dataclasses
import importlib.metadata
import sys
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager
from typing import Any

from bench.api.components import Component, fields_of
from bench.core.canonical import JSON
from bench.core.errors import BenchError, describe_error
from bench.registry.code import code_digest
from bench.registry.registry import SESSION, Registry
from bench.registry.validation import contract_violation


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
        return _changed(component, {f.name: _default(f) for f in fields_of(component)})
    other = registry.entries[kind][name]
    if other.distribution == SESSION and other.component == component:
        return {}
    if other.distribution == SESSION or type(other.component) is not type(component):
        raise BenchError(
            f"Two components are named {name!r}: an object and a {kind} of {other.distribution}. Choose another name"
        )
    return _changed(component, {f.name: getattr(other.component, f.name) for f in fields_of(component)})


def _changed(component: Component, usual: Mapping[str, object]) -> dict[str, JSON]:
    return {name: value for name, before in usual.items() if (value := getattr(component, name)) != before}


def _default(field: "dataclasses.Field[Any]") -> object:
    return field.default_factory() if callable(field.default_factory) else field.default


def ship(registry: Registry) -> bytes:
    """Return a registry's components of this session, for `receive` in another process.

    BenchError names the first one that cannot be pickled: it holds what no other process can have.
    """
    import cloudpickle

    found = [registry.entries[kind][name] for kind, name in sorted(registry.of_session)]
    with _by_value({type(e.component).__module__ for e in found}):
        for e in found:
            try:
                cloudpickle.dumps(e.component)
            except Exception as error:  # objects of a session may be anything
                text = f"{e.component.name} cannot be sent to worker processes: {describe_error(error)}"
                raise BenchError(text) from error
        pickled = cloudpickle.dumps([(e.component, e.source) for e in found])
    return bytes(cloudpickle.dumps((sys.path, pickled)))


@contextmanager
def _by_value(modules: Set[str]) -> Iterator[None]:
    """Pickle what these modules define by value, unless a distribution has installed them."""
    import cloudpickle

    installed = importlib.metadata.packages_distributions()
    local = [
        sys.modules[m] for m in modules if m in sys.modules and m.partition(".")[0] not in {*installed, "__main__"}
    ]
    local = [m for m in local if m.__name__ not in cloudpickle.list_registry_pickle_by_value()]
    for module in local:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in local:
            cloudpickle.unregister_pickle_by_value(module)


def receive(registry: Registry, shipped: bytes) -> None:
    """Add the components of another process's session; BenchError if they cannot be read here."""
    import cloudpickle

    try:
        path, pickled = cloudpickle.loads(shipped)
        sys.path += [entry for entry in path if entry not in sys.path]  # last: nothing is shadowed by it
        found: Sequence[tuple[Component, str]] = cloudpickle.loads(pickled)
    except Exception as error:  # what they import may raise anything
        raise BenchError(
            f"The components of the session cannot be used in this process: {describe_error(error)}"
        ) from error
    for component, source in found:
        registry.add(component, SESSION, source=source)
