"""The fields and declarations of components as plain data, and values converted to their types."""

from __future__ import annotations

import dataclasses
import json
import types as pytypes
import typing
from collections.abc import Mapping
from typing import Any

from bench.api.components import (
    Component,
    fields_of,
)
from bench.core.canonical import JSON, canonical
from bench.core.errors import BenchError, did_you_mean
from bench.core.renamed import new_name


def hyperparameters(component: Component) -> dict[str, JSON]:
    """Give a component's fields but `name` and `version` as plain data, tuples as lists, in their order."""
    return {f.name: json.loads(canonical(getattr(component, f.name))) for f in fields_of(component)}


def plain_attributes(component: Component) -> dict[str, JSON]:
    """Give what a component declares as plain data."""
    return {name: json.loads(canonical(getattr(component, name))) for name in sorted(component.declarations)}


def coerce(component: Component, name: str, value: JSON) -> JSON:
    """Fit a value to a field's annotation; a string may be the field's text as typed. BenchError where it cannot."""
    known = [f.name for f in fields_of(component)]
    if name not in known:
        hint, has = new_name(name) or did_you_mean(name, known), ", ".join(known) or "none"
        see = f"See: bench list {component.name}"
        raise BenchError(f"{component.name} has no field {name!r}. {hint}It has {has}. {see}")
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
