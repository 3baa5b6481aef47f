"""Write the networks of a store with their descriptions, so that others can use them, without bench too."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, Role, TaskKind
from bench.models.kinds import ModelFormat
from bench.models.toml_text import model_table
from bench.registry.registry import Registry
from bench.store.atomic import new_folder, sync, write_atomically
from bench.store.store import Store
from bench.store.tensors import write_tensors

if TYPE_CHECKING:
    from torch import Tensor

KINDS = (TaskKind.TRAIN, TaskKind.EMBED, TaskKind.STEAL)
HEAD = """\
# Networks of bench (https://arxiv.org/abs/2210.15427). Score them: bench run --models {name} --datasets {dataset}
"""
DIGITS = 8
ZOO = "zoo.toml"
WITHOUT_BENCH = """\
# Each safetensors file is the state dict of the network that the architecture builds, without any wrapper: read it with
# safetensors.torch.load_file, and load it with the network's load_state_dict. Images: float [N, C, H, W] in [0, 1],
# less `mean`, divided by `std`. Answers: logits.
"""
ORDER = [*Role]
LOST = "its file would not bring back {entry!r}, since it holds the tensors of the state dict only"
"""Why a network cannot be written."""


class Exported(NamedTuple):
    """A network to be exported: its key, its role, and the words of its task's name.

    `label` replaces the name that follows from these.
    """

    key: str
    role: str
    dataset: str
    attack: str
    number: str
    facts: Mapping[str, JSON]
    source: str
    family: str = ""
    label: str = ""

    @property
    def name(self) -> str:
        """Return the name in the description, unique by the first digits of the key."""
        if self.label:
            return self.label
        words = (self.role, self.dataset, self.attack, self.facts["architecture"]["name"], self.number)
        return "-".join([*filter(None, words), self.key[:DIGITS]])


def networks(store: Store, keys: Iterable[str]) -> tuple[list[Exported], list[str]]:
    """Return the networks among artifacts, and a line for each that cannot be exported."""
    found, left_out = [], []
    for key in keys:
        record = store.record(key)
        if record is None or record["kind"] not in KINDS or "architecture" not in record["facts"]:
            continue
        words = str(record["made"]["name"]).split()
        if record["dropped"]:
            left_out.append(f"{' '.join(words)}: its weights were removed (--keep scores)")
        elif "rebuilt" in record["facts"]:
            left_out.append(f"{' '.join(words)}: it only answers, and has no architecture of its own")
        else:
            found.append(_described(key, words, record))
    return found, left_out


def _described(key: str, words: list[str], record: Mapping[str, JSON]) -> Exported:
    kind, inputs = record["kind"], record["made"]["inputs"]
    role = {TaskKind.EMBED: Role.SOURCE, TaskKind.STEAL: Role.STOLEN}.get(kind) or Role(words[1])
    dataset = words[2] if kind == TaskKind.TRAIN else words[1]
    attack = words[2] if kind == TaskKind.STEAL else ""
    return Exported(key, role, dataset, attack, words[-1], record["facts"], inputs.get("source", ""))


def unwritable(store: Store, one: Exported, registry: Registry) -> str:
    """Return why a network cannot be written as a file of its state dict; empty if it can."""
    from bench.training.export_checks import lost_entry
    from bench.training.network_state import RESERVED

    named, weights = one.facts["architecture"], store.load(one.key, "weights")
    if not any(name.startswith(RESERVED) for name in weights):
        return ""
    try:
        architecture = registry.get(ComponentKind.ARCHITECTURE, named["name"], named["params"])
    except BenchError as error:
        return f"its file may not bring back all of it. {error}"
    if architecture.version != named["version"]:
        versions = f"version {architecture.version} here, and it was made with version {named['version']}"
        return f"its file may not bring back all of it. {architecture.name} is {versions}"
    entry = lost_entry(architecture, one.facts["num_classes"], tuple(one.facts["shape"]), weights)
    return LOST.format(entry=entry) if entry else ""


def export_networks(store: Store, keys: Iterable[str], folder: Path, registry: Registry) -> tuple[int, list[str]]:
    """Write networks as safetensors, and `zoo.toml` for each dataset; return their number and what was left out.

    BenchError if there are none, or if the folder holds other files.
    """
    found, left_out = networks(store, keys)
    if folder.is_dir() and any(folder.iterdir()):
        raise BenchError(f"{folder} is not empty: name another folder")
    for one in [*found]:
        if reason := unwritable(store, one, registry):
            found.remove(one)
            left_out.append(f"{one.name}: {reason}")
    if not found:
        raise BenchError(f"{store.root} has no networks to export{f': {left_out[0]}' if left_out else ''}")
    found.sort(key=lambda one: (ORDER.index(Role(one.role)), one.name))
    with new_folder(folder, ZOO) as new:
        for dataset, texts in (tables := write_networks(store, found, new)).items():
            name = ZOO if len(tables) == 1 else f"zoo-{dataset}.toml"
            head = HEAD.format(name=name, dataset=dataset) + WITHOUT_BENCH
            write_atomically(new / name, "\n".join([head, *texts]))
    return len(found), left_out


def write_networks(store: Store, found: Iterable[Exported], folder: Path) -> dict[str, list[str]]:
    """Write networks as safetensors, and return the `[[model]]` tables that describe them, by dataset."""
    found = list(found)
    names = {one.key: one.name for one in found}
    tables: dict[str, list[str]] = {}
    for one in found:
        weights = store.load(one.key, "weights")
        table = _table(one, names, weights, _write_weights(one.name, weights, folder))
        tables.setdefault(one.dataset, []).append(table)
    return tables


def exported_digest(weights: "Mapping[str, Tensor]", folder: Path) -> str:
    """Return the digest of the file that an export of a network makes; `folder` is a temporary one."""
    return _write_weights("network", weights, folder)


def _write_weights(name: str, weights: "Mapping[str, Tensor]", folder: Path) -> str:
    """Write the state dict of a network without its normalisation; return the file's digest."""
    from bench.training.export_checks import state_dict_of

    path = folder / f"{name}.safetensors"
    write_tensors(state_dict_of(weights), path, name)
    sync(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _table(one: Exported, names: Mapping[str, str], weights: "Mapping[str, Tensor]", digest: str) -> str:
    fields: dict[str, JSON] = {
        "name": one.name,
        "role": str(one.role),
        "format": str(ModelFormat.SAFETENSORS),
        "file": f"{one.name}.safetensors",
        "sha256": digest,
        "architecture": one.facts["architecture"]["name"],
        "settings": one.facts["architecture"]["params"],
        "mean": [float(v) for v in weights["mean"].flatten()],
        "std": [float(v) for v in weights["std"].flatten()],
        "output": "logits",
        "attack": one.attack,
        "source": names.get(one.source, ""),
        "trained_on": one.dataset,
        "family": one.family,
    }
    return model_table({name: value for name, value in fields.items() if value not in ("", {})})
