"""The declarations of every component that a Spec can touch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.core.canonical import JSON
from bench.core.errors import BenchError, BrokenPlugin
from bench.core.kinds import ComponentKind
from bench.core.spec import Recipe, Spec
from bench.core.tasks import Declaration
from bench.models.description import Zoo
from bench.planning.described import Models
from bench.planning.presets import scaled
from bench.registry.registry import Registry

NEEDS = ("starts_from", "fingerprint_of", "helper_architectures")
"""Declarations that name other components."""


class MethodVersion(NamedTuple):
    """A method with a query budget (None: its default), and the method whose fingerprints it scores: often itself."""

    budget: int | None
    method: Declaration
    fingerprint: Declaration


@dataclass(frozen=True)
class Declarations:
    """The declarations of a Spec's components, with its sizes and settings applied, by name.

    A method has one per query budget.
    """

    datasets: Mapping[str, Declaration]
    architectures: Mapping[str, Declaration]
    attacks: Mapping[str, Declaration]
    methods: Mapping[str, tuple[MethodVersion, ...]]
    models: Models = field(default_factory=Models)
    """The described networks."""
    zoo: Zoo = field(default_factory=Zoo)
    """The file with their descriptions, where it is known."""


def default(registry: Registry, kind: ComponentKind, named: tuple[str, ...]) -> set[str]:
    """Return which components of a kind a preset runs: all, or those it names and those of other distributions.

    Those that lack what they need are left out.
    """
    installed = registry.entries[kind].items()
    found = {name for name, entry in installed if not named or name in named or not entry.is_shipped}
    return {name for name in found if not unmet_need(registry, kind, name)}


def unmet_need(registry: Registry, kind: ComponentKind, name: str) -> str:
    """Return why an attack or a method cannot be planned, as what it needs is missing or broken; empty: nothing is."""
    component = registry.entries[kind][name].component
    if not any(getattr(component, need, None) for need in NEEDS):
        return ""
    attacks, methods = ((name,), ()) if kind == ComponentKind.ATTACK else ((), (name,))
    try:
        declare(Spec((), (), (), attacks, methods, replicates=0, copies=0), registry)
    except BenchError as error:
        return str(error)
    return ""


def declare(spec: Spec, registry: Registry) -> Declarations:
    """Return the declarations of all components that a Spec can touch; BenchError if one contradicts the Spec."""

    most = max(spec.copies, spec.replicates)

    def one(kind: str, name: str, copies: int = most, /, **more: JSON) -> Declaration:
        given = {**spec.settings.get(name, {}), **more}
        sized = {k: v for k, v in scaled(registry.declaration(kind, name), spec.recipe).items() if k not in given}
        try:
            return registry.declaration(kind, name, {**sized, **given}, copies=copies)
        except BenchError as error:
            registry.declaration(kind, name, given, copies=copies)  # or the settings are wrong by themselves
            chosen, first = ", ".join(f"{k} to {v}" for k, v in sized.items()), next(iter(sized))
            way = f"--set {name}.{first}=VALUE sets another value"
            raise BenchError(f"{error}. The sizes of the recipe set {chosen}: {way}") from None

    datasets: dict[str, Declaration] = {}
    models = Models.of(spec, registry)
    waiting = [*spec.datasets, *models.datasets()]
    installed = registry.names(ComponentKind.DATASET)
    while waiting:
        name = waiting.pop()
        if name not in datasets:
            datasets[name] = one(ComponentKind.DATASET, name)
            waiting += [r for r in datasets[name].attributes["related"].values() if r in installed]
    attacks: dict[str, Declaration] = {}
    chained = [(name, most) for name in spec.attacks if name not in models.attacks]
    while chained:
        name, copies = chained.pop()
        if name not in attacks or len(attacks[name].variants) < copies:
            attacks[name] = one(ComponentKind.ATTACK, name, copies)
            if previous := _previous_attack(attacks[name], registry):
                chained.append((previous, len(attacks[name].variants)))  # strengths may be more than copies
    for name in attacks:
        chain(attacks, name)
        surrogate = str(attacks[name].attributes["surrogate_data"])
        if surrogate in installed and surrogate not in datasets:
            datasets[surrogate] = one(ComponentKind.DATASET, surrogate)
    methods: dict[str, tuple[MethodVersion, ...]] = {}
    for name in (*spec.methods, *spec.baselines):
        default = one(ComponentKind.METHOD, name)
        budget = str(default.attributes["budget"])
        usual = registry.declaration(ComponentKind.METHOD, name).params.get(budget)
        versions = {default.params[budget] if budget and default.params[budget] != usual else None: default}
        for queries in spec.budgets if budget else ():
            if queries != default.params[budget]:
                versions[queries] = one(ComponentKind.METHOD, name, **{budget: queries})
        methods[name] = tuple(MethodVersion(q, m, _fingerprint_method(m, registry, one)) for q, m in versions.items())
    helpers = {a: n for n, v in methods.items() for a in v[0].fingerprint.attributes["helper_architectures"]}
    for asked, name in helpers.items():
        try:
            registry.get(ComponentKind.ARCHITECTURE, asked)
        except BenchError as error:
            raise BenchError(f"Method {name!r} has helpers of the architecture {asked!r}: {error}") from None
    names = sorted({*spec.sources, *spec.suspects, *helpers} - models.unknown.keys())
    architectures = {n: one(ComponentKind.ARCHITECTURE, n, **models.settings(n)) for n in names}
    architectures |= {n: models.unknown[n] for n in spec.sources if n in models.unknown}
    return Declarations(datasets, architectures, {**attacks, **models.attacks}, methods, models)


def _fingerprint_method(method: Declaration, registry: Registry, one: Callable[..., Declaration]) -> Declaration:
    """Return the method whose fingerprints a method scores, with the same budget; BenchError if it has none."""
    name = str(method.attributes["fingerprint_of"])
    if not name:
        return method
    scores = f"Method {method.name!r} scores the fingerprints of {name!r}"
    _needed(registry, ComponentKind.METHOD, name, scores)
    owner = one(ComponentKind.METHOD, name)
    if owner.watermark:
        raise BenchError(f"{scores}, a watermark, which is a part of its own source: derive a class from its class")
    if owner.attributes["fingerprint_of"]:
        raise BenchError(f"{scores}, which makes none of its own")
    budgets = str(owner.attributes["budget"]), str(method.attributes["budget"])
    return one(ComponentKind.METHOD, name, **{budgets[0]: method.params[budgets[1]]}) if all(budgets) else owner


def _previous_attack(attack: Declaration, registry: Registry) -> str:
    """Return the attack that an attack starts from (empty: none); BenchError if it may not start from that."""
    previous = str(attack.attributes["starts_from"])
    starts = f"Attack {attack.name!r} starts from {previous!r}"
    if previous and _needed(registry, ComponentKind.ATTACK, previous, starts).knows_method:
        raise BenchError(f"{starts}, which makes other suspects for each method")
    return previous


def _needed(registry: Registry, kind: ComponentKind, name: str, needs: str) -> Any:
    """Return a component that another one `needs`; BenchError says that it is not installed, or how it is broken."""
    try:
        return registry.get(kind, name)
    except BrokenPlugin as error:
        raise BrokenPlugin(f"{needs}. {error}") from None
    except BenchError:
        raise BenchError(f"{needs}, which is not installed") from None


def chain(attacks: Mapping[str, Declaration], name: str) -> list[Declaration]:
    """Return an attack and those it starts from, first to last; BenchError if they form a cycle."""
    result = [attacks[name]]
    while result[0].attributes["starts_from"]:
        previous = attacks[str(result[0].attributes["starts_from"])]
        if previous in result:
            raise BenchError(f"Attack {name!r} starts from itself: {' <- '.join(a.name for a in result)}")
        result.insert(0, previous)
    return result


def own_recipe(recipe: Recipe, architecture: Declaration) -> dict[str, JSON]:
    """Return the recipe of an architecture's trainings: the run's, with what the architecture declares."""
    training, own = recipe.training(), architecture.attributes
    if own["precision"]:
        training["precision"] = own["precision"]
    if rate := own.get("learning_rate"):
        training["lr"] = float(rate)
    training["epochs"] *= float(own.get("epochs_factor", 1))
    if augmentation := own.get("augmentation"):
        training["augmentation"] = dict(augmentation)
    return training


def is_deterministic(attacks: Mapping[str, Declaration], name: str) -> bool:
    """Return True if an attack, and those that it starts from, draw nothing at random."""
    return all(attack.attributes["deterministic"] for attack in chain(attacks, name))


def variant(attacks: Mapping[str, Declaration], name: str, replicate: int) -> str:
    """Return the variant of a copy of an attack, after those of the copies that it starts from."""
    before = ""
    if previous := str(attacks[name].attributes["starts_from"]):
        before = variant(attacks, previous, 0 if is_deterministic(attacks, previous) else replicate)
    return ", ".join(filter(None, (before, attacks[name].variants[replicate])))
