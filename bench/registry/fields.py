"""Fields and declarations of components as plain data, and conversion of values to annotations."""

import dataclasses
import enum
import json
import types as pytypes
import typing
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from bench.api.components import Component, fields_of
from bench.core.canonical import JSON, canonical, plain_data
from bench.core.errors import BenchError, did_you_mean
from bench.core.renamed import new_name


def hyperparameters(component: Component) -> dict[str, JSON]:
    """Return the hyper-parameters of a component as plain data, tuples as lists, in their order."""
    return {f.name: json.loads(canonical(getattr(component, f.name))) for f in fields_of(component)}


def plain_attributes(component: Component) -> dict[str, JSON]:
    """Return the declarations of a component as plain data, sorted by name."""
    return {name: json.loads(canonical(getattr(component, name))) for name in sorted(component.declarations)}


def coerce(component: Component, name: str, value: JSON) -> JSON:
    """Convert a JSON value, a number of numpy's or text as typed to a field's annotation; BenchError for others."""
    known = [f.name for f in fields_of(component)]
    if name not in known:
        hint, has = new_name(name) or did_you_mean(name, known), ", ".join(known) or "none"
        see = f"See: bench list {component.name}"
        raise BenchError(f"{component.name} has no field {name!r}. {hint}It has {has}. {see}")
    hints = type_hints(type(component))
    try:
        return convert(plain_data(value), hints[name])
    except ValueError:
        wanted = " or ".join(_choices(hints[name]))
        raise BenchError(f"{component.name}.{name} must be {wanted}, not {value!r}") from None


def annotations(component: Component) -> dict[str, str]:
    """Return the annotations of a component's hyper-parameters as text: choices as their values."""
    hints = type_hints(type(component))
    return {f.name: " | ".join(_choices(hints[f.name])) for f in fields_of(component)}


def type_hints(cls: type) -> Mapping[str, Any]:
    """Return the annotations of a class and its bases by name; raises whatever an annotation that is text raises."""
    if cls not in _hints:
        _hints[cls] = typing.get_type_hints(cls)
    return _hints[cls]


_hints: WeakKeyDictionary[type, dict[str, Any]] = WeakKeyDictionary()
"""Cache of `type_hints`; a class that nobody else holds is forgotten with all that its methods hold."""


def _choices(hint: Any) -> list[str]:
    """Return the alternatives of an annotation as text: values of Literal and of enumerations, names of types."""
    hint = _resolved(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, pytypes.UnionType):
        return [text for argument in arguments for text in _choices(argument)]
    if origin is typing.Literal:
        return [repr(value) for value in arguments]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return [repr(option.value) for option in hint]
    if hint is type(None):
        return ["None"]
    return [hint.__name__ if isinstance(hint, type) and origin is None else str(hint)]


def check_types(record: object, *skip: str) -> None:
    """Check the types of a dataclass that was read from a file, but for the fields to skip; lists count as tuples.

    ValueError names the first field with another type.
    """
    cls: type = type(record)
    hints = type_hints(cls)
    for f in dataclasses.fields(record):  # type: ignore[arg-type]
        value = getattr(record, f.name)
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
    """Convert a JSON value, or text as typed, to an annotation; ValueError if it does not fit."""
    hint = _resolved(hint)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, pytypes.UnionType):
        if type(None) in arguments and value in (None, "none", "None", "null"):
            return None
        for option in arguments:
            with suppress(ValueError):
                return convert(value, option)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(_chosen(value, [option.value for option in hint]))
    elif origin is typing.Literal:
        return _chosen(value, arguments)
    elif origin is tuple or hint is tuple:
        return _tuple(value, arguments)
    elif hint in (Any, object) or (hint is str and isinstance(value, str)):
        return value
    elif hint in (bool, int, float):
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.lower(), value) if hint is bool else _number(value)
        if hint is not float and type(value) is hint:
            return value
        if hint is float and type(value) in (int, float) and abs(value) < float("inf"):
            return float(value)
    raise ValueError(value)


def _resolved(hint: Any) -> Any:
    """Return what `Final`, `NewType` and named aliases of types stand for."""
    while True:
        if typing.get_origin(hint) is typing.Final:
            hint = typing.get_args(hint)[0]
        elif (meant := getattr(hint, "__supertype__", None) or getattr(hint, "__value__", None)) is not None:
            hint = meant
        else:
            return hint


def _chosen(value: JSON, options: Sequence[JSON]) -> JSON:
    """Return the option that equals a value in type, too, or whose text it is; ValueError if there is none."""
    same = (o for o in options if type(o) is type(value) and o == value)
    for option in (*same, *(o for o in options if isinstance(value, str) and value in (str(o), str(o).lower()))):
        return option
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
