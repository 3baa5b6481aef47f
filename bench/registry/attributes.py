"""Check the attributes of a component's classes: each is a field, a declaration or a constant of the author's."""

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from bench.api.components import Component
from bench.core.errors import did_you_mean
from bench.core.renamed import RENAMED


def stray_attribute(component: Component) -> str:
    """Return the first attribute of the author's classes that does not do what was meant; empty if there is none."""
    for name in ("kind", "declarations"):
        if any(name in vars(cls) for cls in type(component).__mro__ if cls.__module__ != Component.__module__):
            return f": {name!r} is the host's own: give what you call so another name"
    known = {f.name for f in dataclasses.fields(component)} | component.declarations.keys()  # type: ignore[arg-type]
    for cls, annotated in _own_classes(component):
        for name, value in vars(cls).items():
            if name.startswith("_") or name in known:
                continue
            if name in annotated:
                if reason := _no_hyperparameter(component, cls, name, str(annotated[name])):
                    return reason
                continue
            if callable(value) or hasattr(type(value), "__get__"):  # such as a property
                continue
            if name in RENAMED:
                return f": {name!r} is now {RENAMED[name]!r}: write `{RENAMED[name]} = {value!r}`"
            if name in ("name", "version"):
                return f": write `{name}: {type(value).__name__} = {value!r}`, with its annotation"
            return (
                f": {name!r} is neither a field nor a declaration ({', '.join(component.declarations)}). "
                f"{did_you_mean(name, component.declarations)}"
                f"Write `{name}: {type(value).__name__} = {value!r}` to make it a hyper-parameter"
            )
    return _ignored_value(component)


def _own_classes(component: Component) -> Iterator[tuple[type, dict[str, Any]]]:
    """Yield the author's classes, the component's own first, and what each annotates itself."""
    for cls in type(component).__mro__:
        if cls.__module__ != Component.__module__ and cls is not object:
            yield cls, inspect.get_annotations(cls)  # from Python 3.14 on, vars(cls) has them later


def _no_hyperparameter(component: Component, cls: type, name: str, annotation: str) -> str:
    """Return why an annotated attribute that is no field was meant as something else; empty if it is a constant."""
    if meant := did_you_mean(name, component.declarations):
        return f": {name!r} is no declaration. {meant}If it is a constant of yours, give it another name"
    if "ClassVar" in annotation or "__dataclass_params__" in vars(cls):
        return ""
    return (
        f": {name!r} is annotated in {cls.__name__}, which is no dataclass, so it is no hyper-parameter: write "
        f"@dataclass(frozen=True) above class {cls.__name__}"
    )


def _ignored_value(component: Component) -> str:
    """Return the first value that a class means to give an inherited field, which `dataclass` does not read."""
    fields = {f.name: f.type for f in dataclasses.fields(component)}  # type: ignore[arg-type]
    for cls, annotated in _own_classes(component):
        is_dataclass = "__dataclass_params__" in vars(cls)
        for name in [n for n in vars(cls) if n in fields]:
            value, hint = vars(cls)[name], fields.pop(name)
            if (name in annotated and is_dataclass) or hasattr(type(value), "__get__"):  # slots are descriptors
                continue
            text = hint if isinstance(hint, str) else inspect.formatannotation(hint)
            return (
                f": {name!r} of {cls.__name__} does not set the field: write `{name}: {text} = {value!r:.80}`, "
                f"with its annotation, in class {(cls if is_dataclass else type(component)).__name__}"
            )
        for name in annotated.keys() & fields.keys():
            del fields[name]
    return ""
