"""Check that a component keeps the contract of its base class."""

from __future__ import annotations

import dataclasses
import inspect
import re
import typing
from collections.abc import Mapping
from typing import Any

from bench.api.components import (
    BASES,
    Architecture,
    Attack,
    Component,
    Dataset,
    Fingerprint,
    Method,
    Watermark,
    fields_of,
)
from bench.api.data import Download, Reported, ReportedAccuracy
from bench.core.errors import did_you_mean
from bench.core.kinds import Access
from bench.core.renamed import RENAMED
from bench.registry.fields import check_types

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

LONGEST_TEXT = 1000

MOST_HELPERS = 1000
"""Surrogates or references of one method: each is a network that is trained."""

WRITE: dict[type[Component], dict[str, int]] = {
    Dataset: {"load": 2},
    Architecture: {"build": 2},
    Attack: {"steal": 4},
    Fingerprint: {"extract": 4, "score": 2},
    Watermark: {"embed": 3, "score": 2},
}
"""What each base class leaves to its authors, with the number of arguments."""


def _base(component: Component) -> type[Component] | None:
    return next((base for base in BASES if isinstance(component, base)), None)


def _own_classes(component: Component) -> list[type]:
    """List the classes that a plugin wrote: all of the MRO but ours."""
    return [c for c in type(component).__mro__ if c.__module__ != Component.__module__ and c is not object]


def contract_violation(component: Component) -> str:
    """Say how a component breaks the contract, naming the class and the line to write; empty: it keeps it."""
    cls = type(component)
    where = f"class {cls.__name__}"
    base = _base(component)
    if base is None:
        return f"{where} is none of Dataset, Architecture, Attack, Fingerprint, Watermark"
    parameters = cls.__dict__.get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        return f"{where} is no frozen dataclass: write @dataclass(frozen=True) above it"
    fields = {f.name for f in dataclasses.fields(component)}  # type: ignore[arg-type]
    for own in _own_classes(component):
        annotated = vars(own).get("__annotations__", {})
        for name, value in vars(own).items():
            if name.startswith("_") or name in fields or name in component.declarations:
                continue
            if callable(value) or isinstance(value, property | classmethod | staticmethod) or name in annotated:
                continue
            if name in RENAMED:
                return f"{where}: {name!r} is now {RENAMED[name]!r}: write `{RENAMED[name]} = {value!r}`"
            if name in ("name", "version"):
                return f"{where}: write `{name}: {type(value).__name__} = {value!r}`, with its annotation"
            known = ", ".join(component.declarations)
            hint = did_you_mean(name, component.declarations)
            return (
                f"{where}: {name!r} is neither a field nor a declaration ({known}). {hint}"
                f"Write `{name}: {type(value).__name__} = {value!r}` to make it a hyper-parameter"
            )
    for name in component.declarations:
        if name in fields:
            return f"{where}: {name!r} is a declaration, not a field: write `{name} = ...` without annotation"
    for name in ("name", "version"):
        if name not in fields:
            return f"{where} has no field {name!r}: write `{name}: {'str' if name == 'name' else 'int'} = ...`"
    if not isinstance(component.name, str) or not NAME.fullmatch(component.name):
        return f"{where}: the name {component.name!r:.80} is not lower-case snake_case"
    if type(component.version) is not int or component.version < 1:
        return f"{where}: version must be a whole number from 1, not {component.version!r:.80}"
    return _values(component, where) or _methods(component, base, where)


def _values(component: Component, where: str) -> str:
    try:
        typing.get_type_hints(type(component))
    except Exception as error:  # an annotation is an expression, which may raise anything
        return f"{where}: its annotations cannot be read: {type(error).__name__}: {error}"
    for f in fields_of(component):
        value = getattr(component, f.name)
        if not _immutable(value):
            return f"{where}: field {f.name!r} must hold JSON-able, immutable data (use tuples), not {value!r:.80}"
        if f.name in ("surrogates", "references") and not (type(value) is int and 0 <= value <= MOST_HELPERS):
            return f"{where}: field {f.name!r} must be a whole number from 0 to {MOST_HELPERS}, not {value!r:.80}"
    for name, default in component.declarations.items():
        try:
            value = getattr(component, name) if hasattr(type(component), name) else None
        except Exception as error:  # a stranger's property may raise anything
            return f"{where}: {name} cannot be read: {type(error).__name__}: {error}"
        if value is None and default is None:
            return f"{where} does not declare {name!r}: write `{name} = ...` in the class"
        reason = _declared(component, name, value)
        if reason:
            return f"{where}: {name} {reason}, not {value!r:.80}"
    return ""


def _immutable(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_immutable(v) for v in value)
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    return value is None or isinstance(value, bool | int | str)


def _declared(component: Component, name: str, value: Any) -> str:
    """Say what a declared value must be; empty: it is."""
    if name == "shape":
        good = isinstance(value, tuple | list) and len(value) == 3 and all(type(v) is int and v > 0 for v in value)
        return "" if good else "must be (channels, height, width)"
    if name == "num_classes":
        return "" if type(value) is int and value >= 2 else "must be a whole number from 2"
    if name == "crop":
        return "" if type(value) is int and value >= 0 else "must be a number of pixels"
    if name == "access":
        return "" if value in tuple(Access) else f"must be one of {', '.join(Access)}"
    if name == "precision":
        return "" if value in ("", "fp32") else "must be 'fp32' or empty"
    if name == "budget":
        good = value == "" or value in {f.name for f in fields_of(component)}
        return "" if good else "must name a field"
    if name in ("flip", "same_architecture", "any_label_space", "baseline"):
        return "" if isinstance(value, bool) else "must be True or False"
    if name in ("label_space", "starts_from", "target", "paper"):
        good = isinstance(value, str) and value.isprintable() and len(value) <= LONGEST_TEXT
        return "" if good else f"must be a string of at most {LONGEST_TEXT} printable characters"
    if name in ("related", "checksums"):
        good = isinstance(value, Mapping) and all(isinstance(x, str) for kv in value.items() for x in kv)
        return "" if good else "must map strings to strings"
    wanted = {"reported": Reported, "reported_accuracy": ReportedAccuracy, "downloads": Download}.get(name, str)
    good = isinstance(value, tuple | list) and all(isinstance(v, wanted) and _sound(v) for v in value)
    typed = "" if wanted is str else ", with the types that its fields are annotated with"
    return "" if good else f"must be a tuple of {wanted.__name__}{typed}"


def _sound(value: object) -> bool:
    """Say whether a record among the declarations has the types that its fields are annotated with."""
    if isinstance(value, str):
        return True
    try:
        check_types(value)
    except ValueError:
        return False
    figure = getattr(value, "auc", getattr(value, "accuracy", 0.0))
    return bool(0 <= figure <= 1)


def _methods(component: Component, base: type[Component], where: str) -> str:
    for name, arguments in WRITE[base].items():
        method = getattr(type(component), name)
        if method in (getattr(base, name), getattr(Method, name, None)):
            wanted = ", ".join(inspect.signature(getattr(base, name)).parameters)
            return f"{where} does not define {name}({wanted})"
        try:
            inspect.signature(method).bind(*[None] * (arguments + 1))
        except TypeError:
            wanted = ", ".join(inspect.signature(getattr(base, name)).parameters)
            return f"{where}: {name} has the wrong arguments: write def {name}({wanted})"
    return ""
