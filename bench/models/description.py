"""Descriptions of networks that were made elsewhere: a TOML file with a `[[model]]` table for each.

Nothing here opens a network, or imports torch.
"""

import json
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct, ValidationError, convert, structs, to_builtins

from bench.core.canonical import JSON, canonical
from bench.core.errors import BenchError, did_you_mean, printable
from bench.core.kinds import Access
from bench.models.endpoint_address import address, check_headers
from bench.models.fields import (
    FINITE,
    Batch,
    Concurrency,
    OptionalDigest,
    OptionalWord,
    Retries,
    Seconds,
    Side,
    Text,
    Word,
    explained,
    infinite,
)
from bench.models.kinds import ModelFormat, ModelOutput, ModelRole

LARGEST_FILE = 1 << 26
"""Bytes of a file of descriptions."""
PROGRAMS = (ModelFormat.TORCHSCRIPT, ModelFormat.PT2)
"""Formats that are programs: they run only with `--allow-code`, in a process of their own."""
DERIVED = (ModelRole.STOLEN, ModelRole.SURROGATE)
"""Roles of networks that were derived from a source."""
ABOUT_IMAGES = ("layout", "range", "mean", "std", "size")
"""Fields that describe how a network wants its images."""
OF_ENDPOINTS = (
    *("url", "input", "output_name", "datatype"),
    *("binary", "headers", "batch", "concurrency", "timeout", "retries"),
)
"""Fields of format `http` only; those of the second line change no answer."""
NOT_IN_KEY = ("file", "probes", "role", "source", "attack", "family", "trained_on", *OF_ENDPOINTS[4:])
"""Fields that change no answer: they are no part of a key by themselves."""


class Description(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One `[[model]]`: a network, its file, how it wants its images and what it answers. See docs/models.md.

    `file` and `probes` are absolute paths once read, and empty in a Spec.
    """

    name: Word
    role: ModelRole
    format: ModelFormat
    file: Text = ""
    sha256: OptionalDigest = ""
    architecture: OptionalWord = ""
    settings: dict[str, Any] = {}
    layout: Literal["NCHW", "NHWC"] = "NCHW"
    range: Literal["0-1", "0-255"] = "0-1"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: tuple[Side, Side] | None = None
    output: ModelOutput = ModelOutput.LOGITS
    labels: list[int | Text] | dict[str, int | Text] = []
    probes: Text = ""
    source: OptionalWord = ""
    attack: OptionalWord = ""
    trained_on: OptionalWord = ""
    family: OptionalWord = ""
    url: Text = ""
    input: Text = ""
    output_name: Text = ""
    datatype: Literal["FP32", "FP64", "FP16", "UINT8"] = "FP32"
    binary: bool | Literal["auto"] = "auto"
    headers: dict[str, str] = {}
    batch: Batch = 32
    concurrency: Concurrency = 1
    timeout: Seconds = 30.0
    retries: Retries = 4

    def plain(self) -> dict[str, JSON]:
        """Return the fields that are set, as plain data."""
        result: dict[str, JSON] = json.loads(canonical(to_builtins(self)))
        return result

    def without_paths(self) -> "Description":
        """Return the description as a Spec has it."""
        return structs.replace(self, file="", probes="")

    def identity(self) -> dict[str, JSON]:
        """Return what enters a key: the digest of the content, and every field that can change an answer."""
        return {name: value for name, value in self.plain().items() if name not in NOT_IN_KEY}

    @property
    def kind(self) -> str:
        """Return the architecture, or the format of a network whose architecture is not known."""
        return self.architecture or self.format

    @property
    def answers(self) -> Access:
        """Return the strongest kind of answer that the host gets from it."""
        if self.output == ModelOutput.LABELS:
            return Access.LABELS
        return Access.LOGITS if self.output == ModelOutput.LOGITS else Access.PROBABILITIES

    @property
    def access(self) -> Access:
        """Return the strongest access to it: `weights` if the host has a torch network that answers with logits."""
        white_box = self.format == ModelFormat.SAFETENSORS and self.answers == Access.LOGITS
        return Access.WEIGHTS if white_box else self.answers

    def fault(self, field: str, text: str) -> BenchError:
        """Return the error that names this model and a field."""
        return BenchError(printable(f"model {self.name!r}: {field}: {text}"))


@dataclass(frozen=True)
class Zoo:
    """A file of descriptions, and whether the programs among them may run; `path` is empty where there is none."""

    path: str = ""
    allow_code: bool = False


def of_spec(models: Sequence[Mapping[str, JSON]]) -> tuple[Description, ...]:
    """Return the descriptions that a Spec holds; ValueError if they are none."""
    return tuple(convert(model, Description) for model in models)


def read(path: str | Path) -> tuple[Description, ...]:
    """Read a file of descriptions, with absolute paths; BenchError names the model and the field that is wrong."""
    path = Path(path)
    content = toml_content(path)
    tables = content.pop("model", None)
    if content:
        raise BenchError(printable(f"{path}: unknown entry {next(iter(content))!r}: it may have [[model]] tables only"))
    if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
        raise BenchError(f"{path} describes no model: write a [[model]] table for each. See: docs/models.md")
    models = tuple(_described(table, i, path.absolute().parent) for i, table in enumerate(tables, 1))
    _check_names(models)
    return models


def toml_content(path: Path) -> dict[str, JSON]:
    """Return the content of a TOML file; BenchError if it cannot be read."""
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise BenchError(f"{path} is larger than {LARGEST_FILE >> 20} MiB. Is it the right file?")
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise BenchError(printable(f"{path} is no TOML: {(str(error).splitlines() or ['?'])[0]}")) from error


def _described(table: Mapping[str, JSON], number: int, folder: Path) -> Description:
    name = table.get("name")
    who = printable(f"model {name!r:.80}" if isinstance(name, str) else f"model {number} of the file")
    try:
        found = convert(table, Description)
    except (ValidationError, RecursionError) as error:
        raise BenchError(f"{who}: {explained(str(error), Description.__struct_fields__)}") from None
    for field, value in table.items():
        if infinite(value):
            raise found.fault(field, FINITE)
    _check(found)
    paths = {f: _path(found, f, folder) for f in ("file", "probes") if getattr(found, f)}
    return structs.replace(found, **paths)


def _path(model: Description, field: str, folder: Path) -> str:
    text = getattr(model, field)
    if "\0" in text:
        raise model.fault(field, f"{text!r:.80} is no path")
    try:
        return str(folder / Path(text).expanduser())
    except RuntimeError:
        raise model.fault(field, f"the user of {text!r:.80} has no home folder: write the whole path") from None


def _check(model: Description) -> None:
    """Check the fields of one description that depend on each other."""
    given = model.plain()
    if model.format == ModelFormat.HTTP:
        _check_endpoint(model)
    elif foreign := [field for field in OF_ENDPOINTS if field in given]:
        raise model.fault(foreign[0], f"only models of format {ModelFormat.HTTP} have it: leave it out")
    elif not model.file:
        raise model.fault("file", "it is missing")
    weights = model.format == ModelFormat.SAFETENSORS
    if weights and not model.architecture:
        raise model.fault("architecture", "a safetensors file holds weights only: name an installed architecture")
    if model.settings and not weights:
        raise model.fault("settings", f"format {model.format} has no architecture to set: leave them out")
    if not all(v > 0 for v in model.std):
        raise model.fault("std", f"it must be numbers above 0, not {list(model.std)}")
    if len(model.mean) != len(model.std):
        missing = "std" if model.mean else "mean"
        raise model.fault(missing, "mean and std must have a number for each channel, both")
    if model.role not in DERIVED and model.source:
        raise model.fault("source", f"a model of role {model.role} was not derived from a source: leave it out")
    if model.role != ModelRole.STOLEN and model.attack:
        raise model.fault("attack", f"a model of role {model.role} was made by no attack: leave it out")
    answers = model.format == ModelFormat.ANSWERS
    for field in ABOUT_IMAGES if answers else ("probes",):
        if field in given:
            wrong = "answers are a table that gets no images" if answers else "only a table of answers has them"
            raise model.fault(field, f"{wrong}: leave it out")


def _check_endpoint(model: Description) -> None:
    for field in ("file", "sha256"):
        if getattr(model, field):
            raise model.fault(field, "a model behind a url has no file: leave it out")
    if not model.url:
        raise model.fault("url", "it is missing: name the model, such as https://host/v2/models/NAME/infer")
    for field, check in (("url", address), ("headers", check_headers)):
        try:
            check(getattr(model, field))
        except ValueError as error:
            raise model.fault(field, str(error)) from None
    if model.datatype == "UINT8" and (model.range != "0-255" or model.mean):
        raise model.fault("datatype", 'UINT8 has whole numbers only: it needs range = "0-255", and no mean')


def _check_names(models: Sequence[Description]) -> None:
    seen: set[str] = set()
    for model in models:
        if model.name in seen:
            raise model.fault("name", "two models have this name")
        seen.add(model.name)
    sources = {model.name for model in models if model.role == ModelRole.SOURCE}
    for model in models:
        if model.source and model.source not in sources:
            hint = did_you_mean(model.source, sources)
            raise model.fault("source", f"no model of role source is named {model.source!r}. {hint}".rstrip())
        if model.role in DERIVED and not model.source and len(sources) > 1:
            raise model.fault(
                "source", f"name the source that it was derived from, one of {', '.join(sorted(sources))}"
            )


def label_order(model: Description, classes: int, names: Sequence[str]) -> tuple[int, ...]:
    """Return the dataset's label for each label of a model, empty where the order is the same.

    BenchError if the map does not name each of the `classes` labels once; `names` are the labels' names, if known.
    """
    if not model.labels:
        return ()
    given = _by_index(model, classes) if isinstance(model.labels, dict) else model.labels
    order = tuple(_label(model, value, classes, names) for value in given)
    if sorted(order) != list(range(classes)):
        missing = sorted(set(range(classes)) - set(order))
        what = f"label {missing[0]} is missing" if missing else "it has too many entries"
        raise model.fault("labels", f"the map must name each of the dataset's {classes} labels once: {what}")
    return order


def _by_index(model: Description, classes: int) -> list[int | str]:
    assert isinstance(model.labels, dict)
    wanted = [str(i) for i in range(classes)]
    if set(model.labels) != set(wanted):
        raise model.fault("labels", f"the map must have an entry for each label of the model, 0 to {classes - 1}")
    return [model.labels[i] for i in wanted]


def _label(model: Description, value: int | str, classes: int, names: Sequence[str]) -> int:
    if isinstance(value, str):
        if value in names:
            return names.index(value)
        known = f"{did_you_mean(value, names)}It has {', '.join(names[:10])}" if names else f"Use 0 to {classes - 1}"
        raise model.fault("labels", f"the dataset has no label {value!r}. {known}")
    if not 0 <= value < classes:
        raise model.fault("labels", f"{value} is no label of the dataset, which has 0 to {classes - 1}")
    return value
