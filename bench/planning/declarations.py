"""The declarations of every component that a Spec can touch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration
from bench.planning.presets import scaled
from bench.registry.registry import Registry


@dataclass(frozen=True)
class Known:
    """What the planner knows: the declarations of a Spec's components, with its settings applied.

    A method stands once per query budget; the budget is None for its default.
    """

    datasets: Mapping[str, Declaration]
    architectures: Mapping[str, Declaration]
    attacks: Mapping[str, Declaration]
    methods: Mapping[str, tuple[tuple[int | None, Declaration], ...]]


def declare(spec: Spec, registry: Registry) -> Known:
    """Read the declarations of all components that a Spec can touch, with its sizes and settings applied."""

    def one(kind: str, name: str, **more: JSON) -> Declaration:
        sized = scaled(registry.declaration(kind, name), spec.recipe)
        settings = {**sized, **spec.settings.get(name, {}), **more}
        return registry.declaration(kind, name, settings, copies=max(spec.copies, spec.replicates))

    datasets: dict[str, Declaration] = {}
    waiting = list(spec.datasets)
    installed = registry.names(ComponentKind.DATASET)
    while waiting:
        name = waiting.pop()
        if name not in datasets:
            datasets[name] = one(ComponentKind.DATASET, name)
            waiting += [r for r in datasets[name].attributes["related"].values() if r in installed]
    attacks: dict[str, Declaration] = {}
    waiting = list(spec.attacks)
    while waiting:
        name = waiting.pop()
        if name in attacks:
            continue
        attacks[name] = one(ComponentKind.ATTACK, name)
        before = attacks[name].attributes["starts_from"]
        if before:
            if before not in registry.names(ComponentKind.ATTACK):
                raise BenchError(f"Attack {name!r} starts from {before!r}, which is not installed")
            if attacks[name].attributes["same_architecture"] or attacks[name].attributes["target"]:
                raise BenchError(
                    f"Attack {name!r} starts from {before!r} and inherits same_architecture and target: "
                    "it may not declare its own"
                )
            waiting.append(before)
    for name in attacks:
        chain(attacks, name)
    methods: dict[str, tuple[tuple[int | None, Declaration], ...]] = {}
    helpers: set[str] = set()
    for name in (*spec.methods, *spec.baselines):
        default = one(ComponentKind.METHOD, name)
        budget = str(default.attributes["budget"])
        versions: list[tuple[int | None, Declaration]] = []
        for queries in spec.budgets if budget else ():
            if queries != default.params[budget]:
                versions.append((queries, one(ComponentKind.METHOD, name, **{budget: queries})))
        usual = registry.declaration(ComponentKind.METHOD, name).params.get(budget)
        first = default.params[budget] if budget and default.params[budget] != usual else None
        methods[name] = ((first, default), *versions)
        helpers |= set(default.attributes["helper_architectures"])
    architectures = {n: one(ComponentKind.ARCHITECTURE, n) for n in sorted({*spec.sources, *spec.suspects, *helpers})}
    return Known(datasets, architectures, attacks, methods)


def chain(attacks: Mapping[str, Declaration], name: str) -> list[Declaration]:
    """List an attack and those it starts from, first to last; BenchError where they go in a circle."""
    line = [attacks[name]]
    while line[0].attributes["starts_from"]:
        before = attacks[str(line[0].attributes["starts_from"])]
        if before in line:
            raise BenchError(f"Attack {name!r} starts from itself: {' <- '.join(a.name for a in line)}")
        line.insert(0, before)
    return line
