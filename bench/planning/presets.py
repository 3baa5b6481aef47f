"""The presets: numbers of images, epochs and models of a benchmark, and its components by default.

Attacks, methods and baselines are named, so that those that this distribution ships later do not change a preset. What
other distributions and plugin files offer is added to them. An empty list means every installed component.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bench.core.canonical import JSON
from bench.core.errors import BenchError, did_you_mean
from bench.core.kinds import ComponentKind
from bench.core.spec import Recipe, Spec
from bench.core.tasks import Declaration

TINY = ("tiny_vgg", "tiny_resnet", "tiny_densenet", "tiny_mobilenet")
STOCK = ("vgg13", "resnet18", "densenet121", "mobilenet_v2")
ATTACKS = (
    "finetune_a",
    "finetune_l",
    "prune",
    "extract_l",
    "extract_p",
    "extract_adv",
    "transfer_a",
    "transfer_l",
    "finetune_c",
)
CLASSES_STAY = tuple(name for name in ATTACKS if not name.startswith("transfer"))
"""The attacks after which a network still tells the source's classes apart."""
METHODS = ("ipguard", "cae", "ewe", "sac_w", "sac_m")
"""The order of the paper's tables; other components follow by name."""
READINGS = ("ipguard_k10", "sac_m_probabilities")
"""Other readings of the paper's methods."""
BASELINES = ("agreement", "akh", "noise")


@dataclass(frozen=True)
class Preset:
    """A scale. Counts are per source, `seeds` of which are made of each dataset and architecture.

    `replicates` and `target_replicates` are also per suspect architecture, `copies` per same-architecture attack.
    """

    name: str
    summary: str
    datasets: tuple[str, ...]
    sources: tuple[str, ...]
    suspects: tuple[str, ...]
    recipe: Recipe
    attacks: tuple[str, ...] = ATTACKS
    methods: tuple[str, ...] = METHODS + READINGS
    baselines: tuple[str, ...] = BASELINES
    seeds: int = 3
    replicates: int = 1
    copies: int = 2
    target_replicates: int = 1
    negatives: int = 0
    """Irrelevant models per suspect architecture, where that is more than `replicates`."""
    keep: str = "all"
    settings: Mapping[str, Mapping[str, JSON]] = field(default_factory=dict)
    """Fields of components other than their defaults, where a run has these components."""
    meaningless: bool = False
    """True if networks are too small, or trained too briefly, for its figures to mean anything."""

    def settings_with(
        self, given: Mapping[str, Mapping[str, JSON]], spec: Spec, sized: bool = False
    ) -> dict[str, dict[str, JSON]]:
        """Return the settings that are given, and before them the preset's of components that a Spec lists.

        `sized` leaves out the preset's widths: `recipe.width` is given, which sets that of every architecture.
        """
        listed = {name for names in spec.components().values() for name in names}
        found: dict[str, dict[str, JSON]] = {}
        for name in sorted({*listed & self.settings.keys(), *given}):
            own = self.settings.get(name, {}) if name in listed else {}
            kept = {field: value for field, value in own.items() if not (sized and field == "width")}
            if fields := {**kept, **given.get(name, {})}:
                found[name] = fields
        return found


PRESETS = {
    p.name: p
    for p in (
        Preset(
            "smoke",
            "seconds, for tests: every part runs, no number means anything",
            ("noisy_digits",),
            TINY[:1],
            TINY[:2],
            Recipe(images=1000, epochs=3, helpers=0.2, budget=50),
            seeds=1,
            replicates=2,
            meaningless=True,
        ),
        Preset(
            "quick",
            "minutes on 2 CPU cores (the default)",
            ("noisy_digits",),
            TINY[:1],
            TINY,
            Recipe(epochs=11, helpers=0.1),
            seeds=5,
        ),
        Preset(
            "field",
            "quick with every method and attack that is installed, instead of the paper's",
            ("noisy_digits",),
            TINY[:1],
            TINY,
            Recipe(epochs=11, helpers=0.1),
            attacks=(),
            methods=(),
            baselines=(),
            seeds=5,
            negatives=5,
        ),
        Preset(
            "small",
            "up to three hours on 2 CPU cores: the small networks, wider, trained until they fit",
            ("fashion_mnist",),
            TINY[:1],
            TINY,
            Recipe(images=2000, epochs=100, width=16, helpers=0.4),
        ),
        Preset(
            "cpu",
            "real images, networks trained until they fit; the goal: two hours a source on 2 CPU cores with bf16",
            ("cifar10",),
            TINY[:1],
            TINY,
            Recipe(epochs=20, batch=128, lr=0.2, plain=0.25, precision="native", width=16, helpers=0.1),
            attacks=CLASSES_STAY,
            seeds=5,
            settings={"tiny_vgg": {"width": 48}, "tiny_mobilenet": {"width": 8}},
        ),
        Preset(
            "medium",
            "stock networks, 30 epochs, one GPU; over three sources as many suspects as the paper has of one",
            ("cifar10",),
            ("vgg16_bn",),
            STOCK,
            Recipe(epochs=30, batch=128, lr=0.05, schedule="cosine", helpers=0.4),
            replicates=2,
            copies=4,
            keep="scores",
        ),
        Preset(
            "paper",
            "the publication's scale, for each of three sources: 200 epochs, 20 surrogates and 20 references",
            ("fashion_mnist", "cifar10", "cifar100", "tiny_imagenet"),
            ("vgg16_bn",),
            STOCK,
            Recipe(epochs=200, batch=128, lr=0.05, schedule="cosine"),
            replicates=5,
            copies=10,
            target_replicates=2,
            keep="scores",
        ),
    )
}


def effective_keep(chosen: str, preset: str) -> str:
    """Return `scores` or `all`: what was chosen; else what a preset keeps, or `all` for a Spec of no preset."""
    known = PRESETS.get(preset)
    return chosen or (known.keep if known else "all")


def preset(name: str) -> Preset:
    """Return a preset; BenchError with a suggestion if the name is unknown."""
    if name in PRESETS:
        return PRESETS[name]
    raise BenchError(f"Unknown preset {name!r}. {did_you_mean(name, PRESETS)}There are {', '.join(PRESETS)}")


def scaled(declaration: Declaration, recipe: Recipe) -> dict[str, JSON]:
    """Return the settings of a component that follow from a recipe's sizes.

    They are the `width` of an architecture, if its default is a whole number, and a method's budget field, `surrogates`
    and `references`. The last two are its own defaults times `helpers`, at least 1 if the default is not 0.
    """
    settings: dict[str, JSON] = {}
    counted = type(declaration.params.get("width")) is int  # a float is a factor, and no number of channels
    if declaration.kind == ComponentKind.ARCHITECTURE and recipe.width and counted:
        settings["width"] = recipe.width
    if declaration.kind == ComponentKind.METHOD:
        for name in ("surrogates", "references"):
            count = declaration.params.get(name, 0)
            if count and recipe.helpers != 1:
                settings[name] = max(1, round(count * recipe.helpers))
        if declaration.attributes.get("budget") and recipe.budget:
            settings[str(declaration.attributes["budget"])] = recipe.budget
    return settings


def ordered(names: Iterable[str], first: tuple[str, ...]) -> tuple[str, ...]:
    """Return names in the order of `first`, then the others by name."""
    return tuple(sorted(names, key=lambda n: (first.index(n) if n in first else len(first), n)))
