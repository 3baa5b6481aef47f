"""The differences of two runs that make them runs of other protocols: sizes, recipe, components as far as both have."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from bench.core.canonical import JSON
from bench.core.kinds import ComponentKind, Status
from bench.core.spec import Spec

if TYPE_CHECKING:
    import pandas as pd

Fact: TypeAlias = tuple[str, JSON, JSON]
"""A name, and its value in both runs."""
SIZES = ("preset", "recipe", "suspects", "copies")
"""The fields of a Spec that runs of one protocol share."""
OF_RECIPE: Mapping[str, JSON] = {"learning_rate": 0.0, "epochs_factor": 1.0, "augmentation": {}}
"""What an architecture may declare of its own recipe, with the defaults."""
OF_METHODS = ("budget", "helpers")
"""The fields of a recipe that concern methods only."""


def size_facts(a: Spec, b: Spec, without: Iterable[str] = (), more: Iterable[str] = ()) -> Iterator[Fact]:
    """Yield the sizes of two Specs, and `more` of their fields; `without` some fields of the recipe."""
    for name in (*SIZES, *more):
        mine, others = getattr(a, name), getattr(b, name)
        if name == "recipe":
            fields = (f for f in mine.__dataclass_fields__ if f not in without)
            yield from ((f"recipe.{f}", getattr(mine, f), getattr(others, f)) for f in fields)
        else:
            both = (mine, others)
            mine, others = map(sorted, both) if isinstance(mine, tuple) else both
            yield name, mine, others


def component_facts(a: Mapping[str, JSON], b: Mapping[str, JSON], kind: str, names: Iterable[str]) -> Iterator[Fact]:
    """Yield the versions and parameters of components of a kind, which both `run.json` describe."""
    for name in sorted(names):
        mine, others = (run["components"][kind][name] for run in (a, b))
        yield f"version of {kind} {name}", mine["version"], others["version"]
        for attribute, default in OF_RECIPE.items() if kind == ComponentKind.ARCHITECTURE else ():
            both = (entry["attributes"].get(attribute, default) for entry in (mine, others))
            yield (f"{name}.{attribute}", *both)
        for parameter in sorted({*mine["params"], *others["params"]}):
            yield f"{name}.{parameter}", mine["params"].get(parameter, "none"), others["params"].get(parameter, "none")


def used(run: Mapping[str, JSON], kind: str, targets: Iterable[str]) -> set[str]:
    """Name the components that took part, as far as `run.json` describes them; `targets`: the suspects' datasets."""
    described, spec = run["components"][kind], Spec.from_json(run["spec"])
    names = set(spec.components()[ComponentKind(kind)])
    if kind == ComponentKind.DATASET:
        names |= set(targets)
        wanted = {run["components"][ComponentKind.ATTACK][a]["attributes"].get("surrogate_data") for a in spec.attacks}
        names |= {described[d]["attributes"]["related"].get(w, w) for d in spec.datasets for w in wanted - {None}}
    if kind == ComponentKind.ATTACK:
        names |= {described[a]["attributes"].get("starts_from", "") for a in spec.attacks}
    return names & set(described)


def took_part(frame: "pd.DataFrame", run: Mapping[str, JSON]) -> dict[str, set[str]]:
    """Name the components of each kind that took part in a run, of all those that its `run.json` describes."""
    described, spec = run["components"], Spec.from_json(run["spec"])
    found = {kind: set(names) for kind, names in spec.components().items()}
    for method in spec.methods + spec.baselines:
        owner = described[ComponentKind.METHOD][method]["attributes"].get("fingerprint_of") or method
        found[ComponentKind.METHOD].add(owner)
        entry = described[ComponentKind.METHOD].get(owner) or {"params": {}}
        if entry["params"].get("surrogates") or entry["params"].get("references"):
            found[ComponentKind.ARCHITECTURE] |= {*entry["attributes"].get("helper_architectures", ())}
    waiting = [*spec.attacks]
    while waiting:
        entry = described[ComponentKind.ATTACK].get(waiting.pop()) or {"attributes": {}}
        previous = entry["attributes"].get("starts_from") or ""
        if previous and previous not in found[ComponentKind.ATTACK]:
            found[ComponentKind.ATTACK].add(previous)
            waiting.append(previous)
    found[ComponentKind.DATASET] |= {*frame.suspect_dataset[frame.status != Status.NOT_APPLICABLE]}
    return {kind: names & set(described[kind]) for kind, names in found.items()}


def differences(facts: Iterable[Fact]) -> list[str]:
    """Describe the facts that differ, as text."""
    return [f"{what} {_short(mine)} / {_short(others)}" for what, mine, others in facts if mine != others]


def _short(value: JSON) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_short, value)) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
