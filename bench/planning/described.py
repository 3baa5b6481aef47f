"""The described networks of a Spec: which rows they are in, and what they are declared as."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.api.components import Architecture, Attack
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind, Role, SuspectKind
from bench.core.spec import Spec
from bench.core.tasks import Declaration
from bench.models.description import Description, label_order, of_spec
from bench.models.kinds import ModelFormat, ModelRole
from bench.registry.registry import Registry

VERSION = 1
"""Version of an attack or architecture of which nothing but the name is known."""
SUMMARY = "Known by the description of networks that were made elsewhere."

UNCACHED = (
    "what is behind a url may change unseen, so its scores cannot be cached. Judge it with bench verify, or record its "
    "answers in a table of format answers: bench models probes"
)


@dataclass(frozen=True)
class Layout:
    """What a Spec has to list for described networks: architectures and number of their sources, attacks."""

    sources: tuple[str, ...]
    seeds: tuple[int, ...]
    attacks: tuple[str, ...]

    @staticmethod
    def of(models: Sequence[Description], own: Sequence[str]) -> "Layout":
        """Return the layout of described networks, and of the host's `own` attacks.

        BenchError if none of the networks is a source, or if an attack is of both.
        """
        kinds = Counter(m.kind for m in models if m.role == ModelRole.SOURCE)
        if not kinds:
            raise BenchError("No described model has the role source: whose copies are the others?")
        attacks = {attack_of(m): m for m in models if m.role == ModelRole.STOLEN}
        for name in own:
            if name in attacks:
                raise attacks[name].fault("attack", f"--attacks names {name!r}, too: use another name for one of them")
        return Layout(tuple(kinds), tuple(range(max(kinds.values()))), (*attacks, *own))


def attack_of(model: Description) -> str:
    """Return the name of the attack in a stolen model's rows."""
    return model.attack or ModelRole.STOLEN


def described_names(spec: Spec, kind: str) -> set[str]:
    """Return the names of a kind in a Spec that only descriptions need to know."""
    models = of_spec(spec.models)
    if kind == ComponentKind.ARCHITECTURE:
        return {m.kind for m in models} - {*spec.suspects}
    return {attack_of(m) for m in models if m.role == ModelRole.STOLEN} if kind == ComponentKind.ATTACK else set()


KINDS = {
    ModelRole.IRRELEVANT: SuspectKind.IRRELEVANT,
    ModelRole.SUSPECT: SuspectKind.UNDECIDED,
    ModelRole.STOLEN: SuspectKind.STOLEN,
}
"""The roles of networks that are judged, in the order of their rows, and what their rows say that they are."""
HELPERS = {Role.SURROGATE: "surrogates", Role.REFERENCE: "references"}
"""The roles of helpers, with the parameter of a method that counts them."""


def helper_architectures(method: Declaration, spec: Spec) -> tuple[str, ...]:
    """Return the architectures of a method's helpers."""
    return tuple(method.attributes["helper_architectures"]) or spec.suspects


class Models:
    """The described networks of a Spec, by what they are for: none by default.

    `sources` are by architecture and seed. `attacks` and `unknown` (architectures) declare the names that only
    descriptions know, `identities` has what enters the key of a network's architecture.
    """

    def __init__(
        self,
        models: Sequence[Description] = (),
        dataset: str = "",
        identities: Mapping[str, JSON] = {},
    ) -> None:
        self.all, self.dataset, self.identities = tuple(models), dataset, dict(identities)
        self.sources: dict[tuple[str, int], Description] = {}
        counts: Counter[str] = Counter()
        for model in self.all:
            if model.role == ModelRole.SOURCE:
                self.sources[model.kind, counts[model.kind]] = model
                counts[model.kind] += 1
        self.attacks = {attack_of(m): self._attack(attack_of(m)) for m in self.all if m.role == ModelRole.STOLEN}
        self.unknown: dict[str, Declaration] = {}

    @staticmethod
    def of(spec: Spec, registry: Registry) -> "Models":
        """Return those of a Spec; BenchError if an architecture is not installed, or an attack has two meanings."""
        models = of_spec(spec.models)
        for model in models:
            if model.format == ModelFormat.HTTP:
                raise model.fault("format", UNCACHED)
            _check_dataset(model, spec.datasets[0], registry)
        identities = {m.name: _identity(m, registry) for m in models if m.format == ModelFormat.SAFETENSORS}
        found = Models(models, next(iter(spec.datasets), ""), identities)
        installed = {*registry.names(ComponentKind.ARCHITECTURE), *spec.suspects}
        names = {m.kind for m in models if m.kind not in installed}
        found.unknown = {n: _declared(ComponentKind.ARCHITECTURE, n, Architecture) for n in names}
        return found

    def __bool__(self) -> bool:
        return bool(self.all)

    def has_format(self, form: ModelFormat) -> bool:
        """Return True if one of them has a format."""
        return any(m.format == form for m in self.all)

    def datasets(self) -> list[str]:
        """Return the datasets on which networks were trained, as described."""
        return [m.trained_on for m in self.all if m.trained_on]

    def on(self, model: Description) -> str:
        """Return the dataset on which a network was trained."""
        return model.trained_on or self.dataset

    def settings(self, architecture: str) -> Mapping[str, JSON]:
        """Return the settings of the first described source of an architecture."""
        found = (m.settings for (kind, _), m in self.sources.items() if kind == architecture)
        return next(found, {})

    def suspects(self, source: Description, role: ModelRole) -> Iterator[tuple[Description, int]]:
        """Yield the networks with some roles that are judged for a source, with the number that their rows have."""
        counts: Counter[tuple[str, ...]] = Counter()
        for model in self.all:
            if model.role == role and (not model.source or model.source == source.name):
                place = (model.role, attack_of(model), self.on(model), model.kind)
                yield model, counts[place]
                counts[place] += 1

    def helpers(self, source: Description | None, role: Role) -> list[Description]:
        """Return the described surrogates of a source, or references."""
        return [m for m in self.all if source and m.role == ModelRole(role) and m.source in ("", source.name)]

    def unusable_source(self, attacks: Sequence[Declaration], source: Description | None, dataset: Declaration) -> str:
        """Return why the host cannot run attacks, one after another, on a described source; empty: it can."""
        if source is None:
            return ""
        for attack in attacks:
            needed = str(attack.attributes["access"])
            if Access.rank(needed) > Access.rank(source.access):
                return f"{attack.name} needs {needed} of the source, and {source.name} has {source.access} at most"
            if needed == Access.WEIGHTS and (steps := _steps_around(source, dataset)):
                return f"{attack.name} copies weights, and {source.name} {steps}: a copy of its weights would not"
        return ""

    def impossible(self, method: Declaration, architecture: str, seed: int, spec: Spec) -> str:
        """Return why a method cannot make a fingerprint of a described source; empty: it may."""
        model = self.sources.get((architecture, seed))
        if model is None:
            return ""
        if method.watermark:
            if architecture in self.unknown:
                return f"{method.name} trains its own source, and {model.name} has no known architecture"
            stolen = set(spec.attacks) - self.attacks.keys()
            return "" if stolen else f"{method.name} marks its own source, which no attack steals: --attacks names some"
        for role, field in HELPERS.items():
            count, given = int(method.params.get(field) or 0), len(self.helpers(model, role))
            if count > given and not helper_architectures(method, spec):
                what = f"{count} {field}, and {given} are described"
                return f"{method.name} needs {what}: --architectures names those to train"
            asked = count - given > 1 and role == Role.SURROGATE
            if asked and Access.rank(model.answers) < Access.rank(Access.PROBABILITIES):
                return f"{method.name} needs {field} that learn probabilities, and {model.name} answers with labels"
        return ""

    def _attack(self, name: str) -> Declaration:
        trained = {self.on(m): m for m in self.all if m.role == ModelRole.STOLEN and attack_of(m) == name}
        if len(trained) > 1:
            text = f"models of attack {name!r} were trained on {' and '.join(trained)}: name two attacks"
            raise list(trained.values())[-1].fault("trained_on", text)
        target = next(iter(trained))
        return _declared(ComponentKind.ATTACK, name, Attack, target="" if target == self.dataset else target)


def _steps_around(source: Description, dataset: Declaration) -> str:
    """Return what a described network does that its architecture does not do by itself; empty: nothing."""
    about = dataset.attributes
    order = label_order(source, int(about["num_classes"]), tuple(about["label_names"]))
    if order != tuple(sorted(order)):
        return "reorders labels"
    return "resizes images" if source.size not in (None, tuple(about["shape"][1:])) else ""


def _check_dataset(model: Description, dataset: str, registry: Registry) -> None:
    if model.role == ModelRole.SOURCE and model.trained_on not in ("", dataset):
        raise model.fault(
            "trained_on",
            f"a source is asked about the dataset that it was trained on, not {dataset}: change --datasets",
        )
    if model.trained_on:
        try:
            registry.get(ComponentKind.DATASET, model.trained_on)
        except BenchError as error:
            raise model.fault("trained_on", str(error)) from None


def _identity(model: Description, registry: Registry) -> dict[str, JSON]:
    try:
        return registry.declaration(ComponentKind.ARCHITECTURE, model.architecture, model.settings or None).identity()
    except BenchError as error:
        raise model.fault("settings" if model.settings else "architecture", str(error)) from None


def _declared(kind: str, name: str, base: type[Architecture] | type[Attack], **attributes: JSON) -> Declaration:
    defaults = {n: "" if default is None else default for n, default in base.declarations.items()}
    return Declaration(kind, name, VERSION, {}, {**defaults, **attributes}, summary=SUMMARY)
