"""The schema of `run.json`."""

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct, ValidationError, convert

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind
from bench.core.renamed import translated
from bench.core.spec import Spec
from bench.results.writer import UNPRINTABLE, clean

FORMAT = 3
"""The current format. Format 1 had old names of some fields; 1 and 2 lack machines and the digest of `trials.csv`."""

MOST_BYTES = 1 << 29
LONGEST_NAME = 100
LONGEST_TEXT = 20_000
"""Of `run.json`, which holds the command line."""

UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)

Count = Annotated[int, Meta(ge=0)]
Share = Annotated[float, Meta(ge=0, le=1)]


class _Reported(Struct, forbid_unknown_fields=True):
    dataset: str
    source_architecture: str
    suspect_architectures: list[str]
    attack: str
    auc: Share
    stolen: int = 0
    irrelevant: int = 0


class _ReportedAccuracy(Struct, forbid_unknown_fields=True):
    dataset: str
    source_architecture: str
    model: str
    suspect_dataset: str
    suspect_architecture: str
    accuracy: Share
    variant: str = ""
    plain: bool = False


class _Attributes(Struct):
    """What a component of any kind declares. Plugins may declare more."""

    access: str = ""
    answers: str = ""
    budget: str = ""
    fingerprint_of: str = ""
    label_space: str = ""
    paper: str = ""
    precision: str = ""
    starts_from: str = ""
    surrogate_data: str = ""
    target: str = ""
    any_label_space: bool = False
    baseline: bool = False
    deterministic: bool = False
    exact: bool = False
    flip: bool = False
    knows_method: bool = False
    same_architecture: bool = False
    crop: Count = 0
    learning_rate: float = 0.0
    epochs_factor: float = 1.0
    augmentation: dict[str, Any] = {}
    draws: Count = 1
    strengths: Count = 1
    num_classes: Count = 0
    shape: list[Count] = []
    checksums: dict[str, str] = {}
    related: dict[str, str] = {}
    helper_architectures: list[str] = []
    surrogate_adapt: list[str] = []
    downloads: list[Any] = []
    reported: list[_Reported] = []
    reported_accuracy: list[_ReportedAccuracy] = []


class _Component(Struct):
    version: Count
    params: dict[str, Any]
    attributes: _Attributes
    watermark: bool = False


class _Origin(Struct):
    """Where some rows of merged results were made; sources: dataset, architecture, seed here, seed there."""

    name: str
    sources: list[tuple[str, str, Count, Count]]
    hardware: dict[str, Any] = {}
    libraries: dict[str, Any] = {}


class _Run(Struct):
    spec: dict[str, Any]
    components: dict[str, dict[str, dict[str, Any]]]
    hardware: dict[str, Any] = {}
    libraries: dict[str, Any] = {}
    machines: dict[str, Count] = {}
    trials_sha256: str = ""
    origins: list[_Origin] = []


class SchemaError(Exception):
    """What is wrong with a file, without its name and the remedy."""


ERRORS = (ValidationError, ValueError, TypeError, AttributeError, RecursionError, SchemaError)


def read_content(path: Path) -> str:
    """Return the text of a results file; raise BenchError if it is missing, too large or not UTF-8.

    Marks of the byte order and line ends, which spreadsheets and editors change, are left out.
    """
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise BenchError(f"{path} has {size >> 20} MiB, more than a results file can have. Is it the right file?")
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(UTF16) else "utf-8-sig")
        return text.replace("\r\n", "\n").replace("\r", "\n")
    except FileNotFoundError:
        if path.name != "run.json" and (path.parent / "run.json").is_file():
            raise BenchError(f"{path} is missing: the run that makes it has not ended. {remedy(path)}") from None
        raise BenchError(f"{path} is missing: {path.parent} holds no results. Make some with: bench run") from None
    except UnicodeDecodeError as error:
        advice = "A spreadsheet has to save it as `CSV UTF-8`. " if path.suffix == ".csv" else ""
        raise BenchError(f"{path} is no UTF-8 text (byte {error.start}). {advice}{remedy(path)}") from None
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from None


def remedy(path: Path) -> str:
    """Return the sentence that explains how to replace a damaged results file."""
    if path.name == "run.json":
        return "Make the results again, in another folder: bench run --out FOLDER"
    return f"Make it again: bench run --spec {path.parent / 'run.json'} --out {path.parent}"


def load_run(path: Path) -> dict[str, JSON]:
    """Return the content of a `run.json`, in the current format; raise BenchError if bench did not write it."""
    try:
        return _parsed(read_content(path))
    except KeyError as error:
        raise BenchError(f"{path} lacks {error}. {remedy(path)}") from None
    except ERRORS as error:
        raise BenchError(f"{path} is no run.json that bench wrote: {error_line(error)}. {remedy(path)}") from None


def check_readable(run: Mapping[str, JSON]) -> None:
    """Raise BenchError if a `run.json` of this content could not be read back: before the work, not after it."""
    try:
        _parsed(json.dumps(run, allow_nan=False))
    except (KeyError, *ERRORS) as error:
        raise BenchError(f"run.json cannot describe this run: {error_line(error)}. Shorten or rename it") from None


def _parsed(text: str) -> dict[str, JSON]:
    """Return the content of a `run.json`; raise KeyError, or one of ERRORS, if bench did not write it."""
    run = json.loads(text, parse_constant=_refuse)
    check_values(run)
    run = _current_format(run)
    convert(run, _Run)
    spec = Spec.from_json(run["spec"])
    for kind in ComponentKind:
        for name, entry in run["components"][kind].items():
            _check_component(kind, name, entry)
    used = [(kind, name) for kind, names in spec.components().items() for name in names]
    for kind, name in used:
        if name not in run["components"][kind]:
            raise SchemaError(f"it does not describe the {kind} {name!r}")
    return run


def _current_format(run: JSON) -> dict[str, JSON]:
    """Return a run with the names of the current format; raise SchemaError for an unknown format."""
    found = run.get("format") if isinstance(run, dict) else None
    if type(found) is not int or found not in (1, 2, FORMAT):
        raise SchemaError(f"it is not of format 1, 2 or {FORMAT}")
    if found > 1:
        return dict(run) | {"format": FORMAT}
    components = {
        kind: {name: entry | {"attributes": translated(entry["attributes"])} for name, entry in entries.items()}
        for kind, entries in run["components"].items()
    }
    return dict(run) | {"format": FORMAT, "spec": translated(run["spec"]), "components": components}


def check_values(value: JSON) -> None:
    """Raise SchemaError for text that cannot be shown, and for a number that a float cannot represent exactly."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for inner in value:
            check_values(inner)
    elif isinstance(value, str):
        if len(value) > LONGEST_TEXT or UNPRINTABLE.search(value):
            raise SchemaError(f"it holds text that cannot be shown, {value!r:.60}")
    elif isinstance(value, int | float) and not abs(value) <= 1 << 53:
        raise SchemaError(f"it holds the number {value!r:.60}")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number")


def error_line(error: Exception) -> str:
    """Return the first line of an error's message, printable."""
    return clean((str(error).splitlines() or [type(error).__name__])[0])


def _check_component(kind: str, name: str, entry: Mapping[str, JSON]) -> None:
    if not 0 < len(name) <= LONGEST_NAME:
        raise SchemaError(f"its {kind} {clean(name)!r} has a name of {len(name)} characters")
    try:
        component = convert(entry, _Component)
        budget = component.params.get(component.attributes.budget)
        if kind == ComponentKind.METHOD and budget is not None:
            convert(budget, Count)
    except ValidationError as error:
        raise SchemaError(f"its {kind} {name!r}: {error}") from None
