"""Read components: check that one keeps the contract, and give its fields and declarations as plain data."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re
import types as pytypes
import typing
from collections.abc import Mapping
from typing import Any

from bench.errors import BenchError, did_you_mean
from bench.types import (
    ACCESS,
    BASES,
    JSON,
    Architecture,
    Attack,
    Component,
    Dataset,
    Download,
    Fingerprint,
    Method,
    Reported,
    ReportedAccuracy,
    Watermark,
    canonical,
    fields_of,
)

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


def hyperparameters(component: Component) -> dict[str, JSON]:
    """Give a component's fields but `name` and `version` as plain data, tuples as lists, in their order."""
    return {f.name: json.loads(canonical(getattr(component, f.name))) for f in fields_of(component)}


def plain_attributes(component: Component) -> dict[str, JSON]:
    """Give what a component declares as plain data."""
    return {name: json.loads(canonical(getattr(component, name))) for name in sorted(component.declarations)}


def _base(component: Component) -> type[Component] | None:
    return next((base for base in BASES if isinstance(component, base)), None)


def _own_classes(component: Component) -> list[type]:
    """List the classes that a plugin wrote: all of the MRO that do not stand in `bench.types`."""
    return [c for c in type(component).__mro__ if c.__module__ != "bench.types" and c is not object]


def fault(component: Component) -> str:
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
        return "" if value in ACCESS else f"must be one of {', '.join(ACCESS)}"
    if name == "precision":
        return "" if value in ("", "fp32") else "must be 'fp32' or empty"
    if name == "budget":
        good = value == "" or value in {f.name for f in fields_of(component)}
        return "" if good else "must name a field"
    if name in ("flip", "same_architecture", "any_label_space", "floor"):
        return "" if isinstance(value, bool) else "must be True or False"
    if name in ("label_space", "starts_from", "lands_on", "paper"):
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


def coerce(component: Component, name: str, value: JSON) -> JSON:
    """Fit a value to a field's annotation; a string may be the field's text as typed. BenchError where it cannot."""
    known = [f.name for f in fields_of(component)]
    if name not in known:
        has = f"{did_you_mean(name, known)}It has {', '.join(known) or 'none'}. See: bench list {component.name}"
        raise BenchError(f"{component.name} has no field {name!r}. {has}")
    hints = typing.get_type_hints(type(component))
    try:
        return convert(value, hints[name])
    except ValueError:
        wanted = getattr(hints[name], "__name__", None) or str(hints[name])
        raise BenchError(f"{component.name}.{name} must be {wanted}, not {value!r}") from None


def check_types(saved: object, *skip: str) -> None:
    """See that a dataclass which was read from a file has the types it was written with, but for the fields to skip.

    ValueError names the first field that has not. A list stands for a tuple.
    """
    hints = typing.get_type_hints(type(saved))
    for f in dataclasses.fields(saved):  # type: ignore[arg-type]
        value = getattr(saved, f.name)
        if f.name not in skip and not _fits(tuple(value) if isinstance(value, list) else value, hints[f.name]):
            raise ValueError(f"{f.name!r} is {value!r:.80}")


def _fits(value: JSON, hint: Any) -> bool:
    if typing.get_origin(hint) is Mapping:
        inner = typing.get_args(hint)[1]
        return isinstance(value, dict) and all(_fits(v, inner) for v in value.values())
    try:
        return bool(convert(value, hint) == value)
    except (ValueError, OverflowError):
        return False


def convert(value: JSON, hint: Any) -> JSON:
    """Fit a JSON value, or text as typed, to an annotation; ValueError where it does not fit."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, pytypes.UnionType):
        if type(None) in arguments and value in (None, "none", "None", "null"):
            return None
        for option in arguments:
            try:
                return convert(value, option)
            except ValueError:
                continue
        raise ValueError(value)
    if origin is typing.Literal:
        for option in arguments:
            if value == option or str(value) == str(option):
                return option
        raise ValueError(value)
    if hint is Any:
        return value
    if origin is tuple or hint is tuple:
        return _tuple(value, arguments)
    if hint is str:
        if not isinstance(value, str):
            raise ValueError(value)
        return value
    if isinstance(value, str):
        value = {"true": True, "false": False}.get(value.lower(), value) if hint is bool else _number(value)
    if hint is bool and isinstance(value, bool):
        return value
    if hint is int and type(value) is int:
        return value
    if hint is float and type(value) in (int, float) and abs(value) < float("inf"):
        return float(value)
    raise ValueError(value)


def _number(text: str) -> JSON:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _tuple(value: JSON, arguments: tuple[Any, ...]) -> tuple[JSON, ...]:
    if isinstance(value, str):
        text = value.strip()
        parts = [v.strip() for v in text.strip("()").split(",") if v.strip()]
        value = json.loads(text) if text.startswith("[") else parts
    if not isinstance(value, list | tuple):
        raise ValueError(value)
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(convert(v, arguments[0]) for v in value)
    if arguments and len(arguments) != len(value):
        raise ValueError(value)
    return tuple(convert(v, a) for v, a in zip(value, arguments, strict=True)) if arguments else tuple(value)
