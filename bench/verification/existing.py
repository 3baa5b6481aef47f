"""Innocents that exist: irrelevant networks of a store, or of a file of descriptions."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from bench.core.canonical import JSON, canonical
from bench.core.errors import BenchError
from bench.core.kinds import Role
from bench.execution.model_export import Exported, networks, unwritable
from bench.models.content import verified
from bench.models.description import Description, read
from bench.models.kinds import ModelRole
from bench.models.toml_text import model_table
from bench.registry.registry import Registry
from bench.store.store import Store


@dataclass(frozen=True)
class Existing:
    """An innocent that a file describes; it stays where it is."""

    model: Description
    origin: str

    def table(self, folder: Path) -> str:
        """Return its `[[model]]` table, with paths relative to a folder."""
        paths = {f: _relative(value, folder) for f in ("file", "probes") if (value := getattr(self.model, f))}
        return model_table({**self.model.plain(), **paths})

    def plain(self) -> dict[str, JSON]:
        """Return what `population.json` has of it."""
        return {"name": self.model.name, "family": self.model.family, "of": self.origin}


def _relative(path: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(path, folder.absolute())).as_posix()
    except ValueError:  # another drive
        return path


def described_innocents(path: str | Path, dataset: str, taken: Sequence[str] = ()) -> list[Existing]:
    """Return the irrelevant networks that a file describes.

    BenchError if there are none, if one has a name in `taken`, or if two are one network. A network
    without `family` is of a family with the name of its architecture, or of its format.
    """
    found: dict[str, Existing] = {}
    for model in read(path):
        if model.role != ModelRole.IRRELEVANT or model.trained_on not in ("", dataset):
            continue
        if model.name in taken:
            raise model.fault("name", "another innocent has this name")
        if same := found.get(content := verified(model).sha256):
            raise model.fault("file", f"it is the same network as {same.model.name!r}: an innocent counts once")
        found[content] = Existing(structs.replace(model, family=model.family or model.kind), str(path))
    if not found:
        raise BenchError(f"{path} describes no irrelevant network of {dataset}: give the innocents the role irrelevant")
    return [*found.values()]


def stored_innocents(
    store: Store, data: str, dataset: str, known: Sequence[str], registry: Registry, note: Callable[[str], None]
) -> Iterator[Exported]:
    """Yield the irrelevant networks of a store that were trained on the division with the key `data`, but the `known`.

    Those that no file would bring back are left out, with a note each.
    A store knows the families of networks that `bench innocents` trained. Of others it does not know the recipe: their
    family is the architecture with its settings.
    """
    for one in networks(store, sorted(store.all_keys()))[0]:
        if one.role == Role.IRRELEVANT and one.facts["data"] == data and one.key not in known:
            architecture = one.facts["architecture"]
            settings = [f"{name}{canonical(value)}" for name, value in sorted(architecture["params"].items())]
            named = str((store.record(one.key) or {"made": {"name": ""}})["made"]["name"]).rpartition(" of ")[2]
            word = "-".join([architecture["name"], *settings]) if " " in named else named
            family = "".join(c if c.isalnum() or c in "_.+-" else "_" for c in word)[:40]
            if reason := unwritable(store, one, registry):
                note(f"Note: {one.name} is left out: {reason}")
                continue
            yield one._replace(dataset=dataset, family=family, label=f"{family}-{one.key[:16]}")
