"""Check that a component keeps the contract of its base class."""

import dataclasses
import enum
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from bench.api.components import Architecture, Attack, Component, Dataset, Fingerprint, Method, Watermark, fields_of
from bench.api.data import Download, Reported, ReportedAccuracy
from bench.core.kinds import Access, ComponentKind, Role, SuspectKind
from bench.registry.attributes import stray_attribute
from bench.registry.fields import check_types, type_hints

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")

RESERVED: dict[str, tuple[str, ...]] = {
    ComponentKind.ATTACK: (Role.SOURCE, SuspectKind.IRRELEVANT, SuspectKind.UNDECIDED),
    ComponentKind.METHOD: ("plain",),
}
"""Names that stand for other networks in the results, by kind of component; `recipe` is what `--set recipe.…` sets."""

LONGEST_TEXT = 1000

MOST_HELPERS = 1000
"""Surrogates or references of one method: each is a network that is trained."""

MOST_DRAWS = 100

ADAPTATIONS = ("size", "channels")
"""What the host may adapt of an attack's surrogate data."""

REQUIRED: dict[type[Component], tuple[str, ...]] = {
    Dataset: ("load",),
    Architecture: ("build",),
    Attack: ("steal",),
    Fingerprint: ("extract", "score"),
    Watermark: ("embed", "score"),
}
"""The methods that authors write, by base class."""

Rule = tuple[Callable[[Any], bool], str]
"""A check of a declared value, and what the value must be."""


def _is_record(value: object, cls: type) -> bool:
    try:
        check_types(value)
    except (ValueError, TypeError):
        return False
    share = getattr(value, "auc", getattr(value, "accuracy", 0.0))
    return isinstance(value, cls) and 0 <= share <= 1 and _is_checksum(getattr(value, "checksum", ""))


def _is_checksum(text: str) -> bool:
    return not text or text.startswith(("md5:", "sha256:"))


def _all(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, tuple | list) and all(map(check, value))


def _records(cls: Any) -> Rule:
    shares = {"auc", "accuracy"} & {f.name for f in dataclasses.fields(cls)}
    more = "".join(f" and {name} within 0 and 1" for name in shares) or " and checksum md5:..., sha256:... or empty"
    text = f"must be a tuple of {cls.__name__}, with the types that its fields are annotated with{more}"
    return _all(lambda v: _is_record(v, cls)), text


_FLAG: Rule = (lambda v: isinstance(v, bool), "must be True or False")
_TEXT: Rule = (
    lambda v: isinstance(v, str) and v.isprintable() and len(v) <= LONGEST_TEXT,
    f"must be a string of at most {LONGEST_TEXT} printable characters",
)
_MAP: Rule = (
    lambda v: isinstance(v, Mapping) and all(isinstance(x, str) for pair in v.items() for x in pair),
    "must map strings to strings",
)
_FACTOR = 1000
"""Largest factor of the recipe's epochs."""


def _is_number(value: object, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high  # type: ignore[operator]


def _is_augmentation(value: object) -> bool:
    if not isinstance(value, Mapping) or not value.keys() <= {"flip", "crop"}:
        return False
    crop = value.get("crop", 0)
    return value.get("flip", False) is False and type(crop) is int and crop >= 0


RULES: dict[str, Rule] = {
    "num_classes": (lambda v: type(v) is int and v >= 2, "must be a whole number from 2"),
    "shape": (
        lambda v: _all(lambda n: type(n) is int and n > 0)(v) and len(v) == 3,
        "must be (channels, height, width)",
    ),
    "crop": (lambda v: type(v) is int and v >= 0, "must be a number of pixels"),
    "precision": (lambda v: v in ("", "fp32"), "must be 'fp32' or empty"),
    "access": (lambda v: v in tuple(Access), f"must be one of {', '.join(Access)}"),
    "label_names": (_all(lambda v: isinstance(v, str)), "must be a tuple of str"),
    "answers": (
        lambda v: v in ("", *Access) and v != Access.WEIGHTS,
        f"must be one of {', '.join(a for a in Access if a != Access.WEIGHTS)}, or empty",
    ),
    "surrogate_adapt": (_all(lambda v: v in ADAPTATIONS), f"must be a tuple with some of {', '.join(ADAPTATIONS)}"),
    "learning_rate": (lambda v: _is_number(v, 0, 1000), "must be a number from 0 to 1000; 0: the recipe's"),
    "epochs_factor": (lambda v: _is_number(v, 1e-3, _FACTOR), f"must be a number from 0.001 to {_FACTOR}"),
    "augmentation": (_is_augmentation, "must be a mapping with some of `crop` (pixels) and `flip` (False)"),
    "helper_architectures": (_all(lambda v: isinstance(v, str)), "must be a tuple of str"),
    "downloads": _records(Download),
    "draws": (lambda v: type(v) is int and 1 <= v <= MOST_DRAWS, f"must be a whole number from 1 to {MOST_DRAWS}"),
    "reported": _records(Reported),
    "reported_accuracy": _records(ReportedAccuracy),
    "strengths": (lambda v: type(v) is int and 1 <= v <= MOST_DRAWS, f"must be a whole number from 1 to {MOST_DRAWS}"),
    **dict.fromkeys(
        ("flip", "same_architecture", "deterministic", "any_label_space", "baseline", "exact", "knows_method"), _FLAG
    ),
    **dict.fromkeys(("label_space", "starts_from", "target", "fingerprint_of", "paper", "surrogate_data"), _TEXT),
    "related": _MAP,
    "checksums": (
        lambda v: _MAP[0](v) and all(map(_is_checksum, v.values())),
        "must map files to md5:..., sha256:... or an empty string",
    ),
}
"""What each declaration must be, but for `budget`."""


def is_reserved(kind: str, name: str) -> bool:
    """Return True for a name that no component of a kind may have, since it means something else."""
    return name == "recipe" or name in RESERVED.get(kind, ())


def contract_violation(component: Component) -> str:
    """Return how a component breaks its contract, with the class and the line to write; empty if it does not."""
    cls = type(component)
    base = next((base for base in REQUIRED if isinstance(component, base)), None)
    if base is None:
        return f"class {cls.__name__} is none of Dataset, Architecture, Attack, Fingerprint, Watermark"
    parameters = cls.__dict__.get("__dataclass_params__")
    if parameters is None or not parameters.frozen:
        return f"class {cls.__name__} is not a frozen dataclass: write @dataclass(frozen=True) above it"
    reason = (
        _unreadable_annotation(component)
        or stray_attribute(component)
        or _wrong_identity(component, base)
        or _wrong_field(component)
        or _wrong_declaration(component)
        or _wrong_method(component, base)
    )
    return f"class {cls.__name__}{reason}" if reason else ""


def _unreadable_annotation(component: Component) -> str:
    try:
        type_hints(type(component))
    except Exception as error:  # an annotation is an expression, which may raise anything
        return f": its annotations cannot be read: {type(error).__name__}: {error}"
    return ""


def _wrong_identity(component: Component, base: type[Component]) -> str:
    fields = [f.name for f in dataclasses.fields(component)]  # type: ignore[arg-type]
    for name in fields:
        if inspect.isfunction(method := getattr(base, name, None)):
            arguments = ", ".join(inspect.signature(method).parameters)
            return f": {name!r} is the method {name}({arguments}), which a field hides: give the field another name"
    for name in component.declarations:
        if name in fields:
            return f": {name!r} is a declaration, not a field: write `{name} = ...` without annotation"
    for name in ("name", "version"):
        if name not in fields:
            return f" has no field {name!r}: write `{name}: {'str' if name == 'name' else 'int'} = ...`"
    if not isinstance(component.name, str) or not NAME.fullmatch(component.name):
        return f": the name {component.name!r:.80} is not lower-case snake_case"
    if is_reserved(component.kind, component.name):
        return f": the name {component.name!r} means something else in results and options: choose another"
    if type(component.version) is not int or component.version < 1:
        return f": version must be a whole number from 1, not {component.version!r:.80}"
    return ""


def _wrong_field(component: Component) -> str:
    for f in fields_of(component):
        value = getattr(component, f.name)
        if not _is_immutable(value):
            return f": field {f.name!r} must hold JSON-able, immutable data ({_advice(value)}), not {value!r:.80}"
        if f.name in ("surrogates", "references") and not (type(value) is int and 0 <= value <= MOST_HELPERS):
            return f": field {f.name!r} must be a whole number from 0 to {MOST_HELPERS}, not {value!r:.80}"
    return ""


def _advice(value: object) -> str:
    """Return what to write in place of a value that a field must not hold."""
    if isinstance(value, enum.Enum):
        return "derive the enumeration from enum.StrEnum, or annotate the field with Literal"
    if dataclasses.is_dataclass(value) or isinstance(value, Mapping):
        return "make each of its entries a field"
    return "use tuples" if isinstance(value, list | set) else "Python's finite numbers, text, None, tuples of these"


def _is_immutable(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_immutable(v) for v in value)
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    return value is None or isinstance(value, bool | int | str)


def _wrong_declaration(component: Component) -> str:
    fields = ["", *(f.name for f in fields_of(component))]
    rules = {**RULES, "budget": (fields.__contains__, "must name a field")}
    for name, default in component.declarations.items():
        try:
            value = getattr(component, name) if hasattr(type(component), name) else None
        except Exception as error:  # a property may raise anything
            return f": {name} cannot be read: {type(error).__name__}: {error}"
        if value is None and default is None:
            return f" does not declare {name!r}: write `{name} = ...` in the class"
        is_valid, requirement = rules[name]
        if not is_valid(value):
            return f": {name} {requirement}, not {value!r:.80}"
        if name == "budget" and value and (type(asked := getattr(component, value)) is not int or asked < 1):
            return f": {component.name}.{value} must be a whole number from 1, not {asked!r:.80}: it is the budget"
    if isinstance(component, Watermark) and (component.draws != 1 or component.fingerprint_of):
        return ": a watermark's fingerprint is part of its source, so leave out draws and fingerprint_of"
    if isinstance(component, Attack) and type(component).rebuild is not Attack.rebuild and not component.answers:
        return ': it defines rebuild: declare which answers its suspects give, such as `answers = "probabilities"`'
    if isinstance(component, Attack) and component.knows_method and component.access != Access.WEIGHTS:
        return ': its thief makes a fingerprint of the network that he holds: declare `access = "weights"`'
    if isinstance(component, Attack) and component.deterministic and component.strengths > 1:
        return ": it is deterministic, so that one copy is made: leave out strengths"
    if isinstance(component, Attack) and component.starts_from and (component.same_architecture or component.target):
        both = f": {component.name!r} starts from {component.starts_from!r} and inherits same_architecture and target"
        return f"{both}: leave them out"
    if getattr(component, "fingerprint_of", "") == component.name:
        return ": fingerprint_of names itself: leave it out"
    return ""


def _wrong_method(component: Component, base: type[Component]) -> str:
    shares = bool(getattr(component, "fingerprint_of", ""))
    for name in (n for n in REQUIRED[base] if not (shares and n == "extract")):
        method, parameters = getattr(type(component), name), inspect.signature(getattr(base, name)).parameters
        wanted = ", ".join(parameters)
        if method in (getattr(base, name), getattr(Method, name, None)):
            return f" does not define {name}({wanted})"
        try:
            inspect.signature(method).bind(*parameters)
        except TypeError:
            return f": {name} has the wrong arguments: write def {name}({wanted})"
    return ""
