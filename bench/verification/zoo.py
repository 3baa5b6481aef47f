"""The networks of a commitment: one source, innocents and known copies, from one or several files of descriptions."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import structs

from bench.core.errors import BenchError, did_you_mean
from bench.models.description import DERIVED, Description, read
from bench.models.kinds import ModelRole
from bench.models.toml_text import model_table
from bench.store.atomic import write_atomically

NAME = "models.toml"


def collected(
    models: str | Path,
    innocents: Sequence[str | Path],
    copies: Sequence[str | Path],
    source: str,
    note: Callable[[str], None],
) -> list[Description]:
    """Return the source, and the networks that belong to it, without suspects; `note` gets what is left out.

    `models` describes the source, and perhaps others. Further files add networks of role irrelevant (`innocents`) or
    stolen (`copies`). `source` chooses one of several. BenchError if there is no source, or if a name is used twice.
    """
    first = read(models)
    mine = _source(first, source, models)
    found = [mine, *(m for m in first if m.role not in (ModelRole.SOURCE, ModelRole.SUSPECT))]
    for role, files in ((ModelRole.IRRELEVANT, innocents), (ModelRole.STOLEN, copies)):
        for file in files:
            more = [m for m in read(file) if m.role == role]
            if not more:
                raise BenchError(f"{file} describes no model of role {role}")
            found += more
    others = [m for m in found if m.role in DERIVED and m.source not in ("", mine.name)]
    if others:
        note(f"Note: {len(others)} networks were derived from other sources than {mine.name}: they are left out")
    found = [structs.replace(m, source="") for m in found if m not in others]
    seen: set[str] = set()
    for model in found:
        if model.name in seen:
            raise model.fault("name", "two models of these files have this name")
        seen.add(model.name)
    return found


def _source(models: Sequence[Description], name: str, file: str | Path) -> Description:
    sources = {m.name: m for m in models if m.role == ModelRole.SOURCE}
    if not sources:
        raise BenchError(f"{file}: no described model has the role source: whose copies are looked for?")
    if name and name not in sources:
        raise BenchError(f"{file} describes no source {name!r}. {did_you_mean(name, sources)}".rstrip())
    if len(sources) > 1 and not name:
        raise BenchError(f"{file} describes {len(sources)} sources, and a commitment is about one: --source NAME")
    return sources[name] if name else next(iter(sources.values()))


def write(models: Sequence[Description], folder: Path) -> Path:
    """Write descriptions, with absolute paths, as one file; return its path."""
    path = folder / NAME
    try:
        write_atomically(path, "\n".join(model_table(model.plain()) for model in models))
    except UnicodeEncodeError:
        raise BenchError("A path of a described model is no Unicode text: move its folder") from None
    return path


def without_duplicates(models: Sequence[Description], note: Callable[[str], None]) -> list[Description]:
    """Return networks, an innocent with the content of an earlier one left out: it would count twice.

    BenchError if one file is a source and an innocent, or an innocent and a copy.
    """
    first: dict[str, Description] = {}
    kept = []
    for model in models:
        other = first.setdefault(model.sha256, model)
        if other.role != model.role and ModelRole.IRRELEVANT in (other.role, model.role):
            raise model.fault("role", f"it is {model.role}, and {other.name}, of role {other.role}, is the same file")
        if other is not model and model.role == ModelRole.IRRELEVANT:
            note(f"Note: {model.name} has the content of {other.name}, and would count twice: it is left out")
        else:
            kept.append(model)
    return kept


def note_datasets(models: Sequence[Description], dataset: str, note: Callable[[str], None]) -> None:
    """Note how many innocents were trained on other datasets than that of the commitment."""
    others = Counter(
        m.trained_on for m in models if m.role == ModelRole.IRRELEVANT and m.trained_on not in ("", dataset)
    )
    for name, count in others.items():
        note(
            f"Note: {count} innocent{'s' * (count > 1)} of {name} among those of {dataset}: innocents say something "
            "about suspects of their own dataset only"
        )
