"""The full description of a benchmark: the Spec, from which trials and tasks follow, with its training recipe."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from bench.core.canonical import JSON, canonical, digest
from bench.core.kinds import ComponentKind
from bench.core.renamed import new_name, translated

SCHEDULES = ("linear", "cosine", "constant")
"""How the learning rate falls after its rise."""
PRECISIONS = ("auto", "native", "fp32", "bf16")


@dataclass(frozen=True)
class Recipe:
    """Training settings and sizes of a benchmark; a preset or `--set recipe.NAME=VALUE` sets each field."""

    images: int = 0
    """Training images per half, class-balanced and seeded; 0 = all."""
    epochs: float = 20.0
    batch: int = 64
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.15
    """Share of the steps during which the learning rate rises from 0."""
    schedule: str = "linear"
    """How the learning rate falls to 0 afterwards: `linear`, `cosine`, or `constant` (it does not fall)."""
    clip: float = 5.0
    """Largest gradient norm; 0 = none."""
    plain: float = 0.0
    """Share of the epochs, the last ones, whose images are neither shifted nor mirrored."""
    precision: str = "auto"
    """`fp32` or `bf16`; before planning, `auto` becomes `bf16` on GPUs with bf16, `native` on such CPUs as well."""
    width: int = 0
    """Width of the networks that have such a field; 0 = their own default."""
    helpers: float = 1.0
    """Share of a method's default number of surrogates and references."""
    budget: int = 0
    """Queries of each method that declares a budget; 0 = its own default."""

    SIZES: ClassVar[tuple[str, ...]] = ("images", "width", "helpers", "budget")
    """Fields that change what is trained, not how."""
    LATER: ClassVar[tuple[str, ...]] = ("plain",)
    """Fields that later versions added: keys and files have them only if they are set."""

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if f.type == "float":  # 20 and 20.0 must have one key
                object.__setattr__(self, f.name, float(getattr(self, f.name)))

    def impossible(self) -> list[str]:
        """Return the fields with a value that no training can have."""
        known = {"schedule": SCHEDULES, "precision": PRECISIONS}
        return [name for name, value in dataclasses.asdict(self).items() if not _is_possible(name, value, known)]

    def training(self) -> dict[str, JSON]:
        """Return the fields that change how a network is trained; they enter its key."""
        return {k: v for k, v in self.written().items() if k not in self.SIZES}

    def written(self) -> dict[str, JSON]:
        """Return the fields as plain data; what later versions added, only if it is set."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v or k not in self.LATER}


def _is_possible(field: str, value: Any, known: Mapping[str, tuple[str, ...]]) -> bool:
    if field in known:
        return value in known[field]
    if field in ("momentum", "warmup", "plain"):
        return bool(0 <= value < 1)
    return bool(0 <= value < math.inf and (value or field not in ("epochs", "batch")))


@dataclass(frozen=True)
class Spec:
    """Everything that determines the trials of a benchmark and what they compute."""

    datasets: tuple[str, ...]
    sources: tuple[str, ...]
    suspects: tuple[str, ...]
    attacks: tuple[str, ...]
    methods: tuple[str, ...]
    baselines: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    replicates: int = 3
    copies: int = 5
    target_replicates: int = 3
    split_seed: int = 0
    budgets: tuple[int, ...] = ()
    preset: str = "quick"
    recipe: Recipe = field(default_factory=Recipe)
    settings: Mapping[str, Mapping[str, JSON]] = field(default_factory=dict)
    models: tuple[Mapping[str, JSON], ...] = ()
    """Described networks: their descriptions, with the digest of the content in place of a file."""
    draws: int = 0
    """Fingerprints per source and method; 0: as many as each method declares."""
    draw_seed: int = 0
    """Fingerprints of another seed are drawn independently of those of a benchmark, whose seed is 0."""
    negatives: int = 0
    """Irrelevant models of each architecture, if that is more than `replicates`; not those on an attack's target."""

    def __new__(cls, *values: object, **named: object) -> Spec:
        """Raise TypeError for a field's old name."""
        for name in named:
            if new := new_name(name):
                raise TypeError(new.rstrip(". "))
        return super().__new__(cls)

    def components(self) -> dict[ComponentKind, tuple[str, ...]]:
        """Return the names that the Spec lists, by kind of component."""
        return {
            ComponentKind.DATASET: self.datasets,
            ComponentKind.ARCHITECTURE: self.sources + self.suspects,
            ComponentKind.ATTACK: self.attacks,
            ComponentKind.METHOD: self.methods + self.baselines,
        }

    def to_json(self) -> dict[str, JSON]:
        """Return plain data that `from_json` reads."""
        result: dict[str, JSON] = json.loads(canonical(self._fields()))
        return result

    def _fields(self) -> dict[str, object]:
        """Return the fields as plain data; what later versions added, only if it is set."""
        later = ("models", "draws", "draw_seed", "negatives")
        fields = {**dataclasses.asdict(self), "recipe": self.recipe.written()}
        return {name: value for name, value in fields.items() if value or name not in later}

    @staticmethod
    def from_json(data: Mapping[str, JSON]) -> Spec:
        """Return the Spec that `to_json` wrote; raise ValueError for an unknown, missing or wrongly typed field."""
        import msgspec

        unknown = [name for name in data if name not in Spec.__dataclass_fields__]
        unknown += [f"recipe.{name}" for name in data.get("recipe", {}) if name not in Recipe.__dataclass_fields__]
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}. {new_name(unknown[0])}".rstrip(". "))
        try:
            return msgspec.convert(data, Spec)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from None

    @staticmethod
    def from_run(run: Mapping[str, JSON]) -> Spec:
        """Return the Spec of a `run.json`, of format 1 too; raise ValueError or KeyError where it holds none."""
        return Spec.from_json(translated(run["spec"]) if run.get("format") == 1 else run["spec"])

    def digest(self) -> str:
        """Return the SHA-256 of the Spec's canonical JSON."""
        return digest(self._fields())
