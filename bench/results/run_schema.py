"""The schema of `run.json`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.api.data import Reported, ReportedAccuracy
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind
from bench.core.spec import Spec
from bench.registry.fields import check_types
from bench.results.writer import UNPRINTABLE, clean

if TYPE_CHECKING:
    pass

MOST_BYTES = 1 << 29

LONGEST_NAME = 100

LONGEST_TEXT = 20_000
"""Of `run.json`, which holds the command line."""


def _text(value: JSON) -> bool:
    return isinstance(value, str)


def _flag(value: JSON) -> bool:
    return isinstance(value, bool)


def _count(value: JSON) -> bool:
    return type(value) is int and value >= 0


def _names(value: JSON) -> bool:
    return isinstance(value, list) and all(map(_text, value))


ATTRIBUTES: dict[str, Callable[[JSON], bool]] = {
    **dict.fromkeys(("access", "budget", "label_space", "target", "paper", "precision", "starts_from"), _text),
    **dict.fromkeys(("any_label_space", "flip", "baseline", "same_architecture"), _flag),
    **dict.fromkeys(("crop", "num_classes"), _count),
    **dict.fromkeys(("reported", "reported_accuracy", "downloads"), lambda v: isinstance(v, list)),
    **dict.fromkeys(("checksums", "related"), lambda v: isinstance(v, dict) and all(map(_text, v.values()))),
    "helper_architectures": _names,
    "shape": lambda v: isinstance(v, list) and all(map(_count, v)),
}
"""What a component's declarations are in `run.json`, where they stand there."""


class SchemaError(Exception):
    """What is wrong with a file, without its name and the way out."""


def read_content(path: Path) -> str:
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BenchError(f"{path} has {size >> 20} MiB, more than a results file can have. Is it the right file?")
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BenchError(f"{path} is missing: {path.parent} holds no results. Make some with: bench run") from None
    except UnicodeDecodeError as error:
        raise BenchError(f"{path} is no UTF-8 text (byte {error.start}). {remedy(path)}") from None
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from None


def remedy(path: Path) -> str:
    if path.name == "run.json":
        return "Make the results again, in another folder: bench run --out FOLDER"
    return f"Make it again: bench run --spec {path.parent / 'run.json'} --out {path.parent}"


def load_run(path: Path) -> dict[str, JSON]:
    try:
        run = json.loads(read_content(path), parse_constant=_refuse)
        if not isinstance(run, dict) or run.get("format") != 1 or run["format"] is True:
            raise SchemaError("it is not of format 1")
        _plain(run)
        if not all(isinstance(run.get(part, {}), dict) for part in ("hardware", "libraries")):
            raise SchemaError("it does not say on what it was made")
        spec = Spec.from_json(run["spec"])
        check_types(spec, "recipe")
        check_types(spec.recipe)
        for kind in ComponentKind:
            for name, entry in run["components"][kind].items():
                _check_component(kind, name, entry)
        for kind, names in spec.components().items():
            for name in names:
                if name not in run["components"][kind]:
                    raise SchemaError(f"it does not describe the {kind} {name!r}")
    except KeyError as error:
        raise BenchError(f"{path} lacks {error}. {remedy(path)}") from None
    except (ValueError, TypeError, AttributeError, RecursionError, SchemaError) as error:
        raise BenchError(f"{path} is no run.json that bench wrote: {error_line(error)}. {remedy(path)}") from None
    return run


def _plain(value: JSON) -> None:
    """See that text can be shown and that numbers are finite, and no larger than a float can tell apart."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _plain(name)
            _plain(inner)
    elif isinstance(value, list):
        for inner in value:
            _plain(inner)
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT or UNPRINTABLE.search(value):
            raise SchemaError(f"it holds text that cannot be shown, {value!r:.60}")
    elif isinstance(value, int | float) and not abs(value) <= 1 << 53:
        raise SchemaError(f"it holds the number {value!r:.60}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def error_line(error: Exception) -> str:
    return clean((str(error).splitlines() or [type(error).__name__])[0])


def _check_component(kind: str, name: str, entry: Mapping[str, JSON]) -> None:
    attributes = entry["attributes"]
    good = _count(entry["version"]) and isinstance(entry["params"], dict) and isinstance(attributes, dict)
    good = good and _flag(entry.get("watermark", False))
    if not good or not 0 < len(name) <= LONGEST_NAME:
        raise SchemaError(f"its {kind} {clean(name)!r} is not described as bench does")
    for attribute, value in attributes.items():
        if attribute in ATTRIBUTES and not ATTRIBUTES[attribute](value):
            raise SchemaError(f"its {kind} {name!r} declares {attribute} = {value!r:.60}")
    if kind == ComponentKind.METHOD:
        _check_figures(name, entry["params"], attributes)


def _check_figures(name: str, params: Mapping[str, JSON], attributes: Mapping[str, JSON]) -> None:
    """See that a method's budget is a number, and that what its paper reports are shares."""
    budget = params.get(attributes.get("budget", ""))
    if budget is not None and not _count(budget):
        raise SchemaError(f"the budget of {name!r} is {budget!r:.60}")
    reported = [Reported(**r) for r in attributes.get("reported", ())]
    accuracies = [ReportedAccuracy(**r) for r in attributes.get("reported_accuracy", ())]
    for figure in (*reported, *accuracies):
        check_types(figure)
    if not all(0 <= f <= 1 for f in (*(r.auc for r in reported), *(r.accuracy for r in accuracies))):
        raise SchemaError(f"a figure that {name!r} reports is not within 0 and 1")
