"""The words of the benchmark as types: what plugins write, and the plain data that flows between the rooms.

Nothing here imports torch at run time, so that listing, planning and reporting stay fast.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

JSON: TypeAlias = Any
"""None, bool, int, float, str, or lists and string-keyed dictionaries of these."""

ACCESS = ("labels", "probabilities", "logits", "weights")
"""What a network may be asked for, weakest first."""


# --- images -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Split:
    """Labelled images.

    `images` is uint8 [N, C, H, W]; `labels` is int64 [N]. What the host hands to a plugin lies on the task's device.
    `origin` (int64 [N], optional) is for a dataset made from another dataset's *test* images: the index of the image
    that each one was made from. Such a dataset returns all its images for `train=True`; the host then leaves out those
    whose original lies in `probe` and divides the rest into a train and a test part.
    """

    images: Tensor
    labels: Tensor
    origin: Tensor | None = None

    @property
    def x(self) -> Tensor:
        """Give the images as float32 in [0, 1], [N, C, H, W]."""
        return self.images.float() / 255

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class DefenderData:
    """What the owner of a source model holds: `train` (the defender half) and `probe` (seen by no training)."""

    train: Split
    probe: Split


@dataclass(frozen=True)
class Download:
    """One published archive of a dataset.

    `url` is where it lies; `path` is where it is kept below the data root; `checksum` is `md5:...` or `sha256:...`
    as published, or empty where none is; `unpack` is the folder below the data root into which its members go
    (empty: it is used as it is). `unpack` of a plain `.gz` file names the unpacked file.
    """

    url: str
    path: str
    checksum: str = ""
    unpack: str = ""


@dataclass(frozen=True)
class Reported:
    """An AUC that a method's paper reports: of what, against what, from how many models (0: not known)."""

    dataset: str
    source_architecture: str
    suspect_architectures: tuple[str, ...]
    attack: str
    auc: float
    stolen: int = 0
    irrelevant: int = 0


@dataclass(frozen=True)
class ReportedAccuracy:
    """A test accuracy (share, not percent) that a paper reports.

    `model` is `source`, `irrelevant` or an attack's name; `plain` tells that it belongs to the source without the
    method's watermark; `suspect_dataset` is what the model was last trained on.
    """

    dataset: str
    source_architecture: str
    model: str
    suspect_dataset: str
    suspect_architecture: str
    accuracy: float
    variant: str = ""
    plain: bool = False


# --- what plugins write -------------------------------------------------------------------------------------------


class Component:
    """What every dataset, architecture, attack and method is: a frozen dataclass with a name and a version.

    All annotated fields but `name` and `version` are hyper-parameters, with JSON-able, immutable defaults.
    `declarations` lists the plain class attributes (or properties) that the planner reads, with their defaults.
    """

    name: str
    version: int
    declarations: ClassVar[Mapping[str, object]] = {}
    kind: ClassVar[str] = ""


class Dataset(Component):
    """Labelled images with a train and a test part."""

    kind = "dataset"
    declarations = {
        "num_classes": None,
        "shape": None,
        "flip": False,
        "crop": 0,
        "label_space": "",
        "related": {},
        "checksums": {},
        "downloads": (),
    }
    num_classes: ClassVar[Any]
    """How many labels there are."""
    shape: ClassVar[Any]
    """(channels, height, width)."""
    flip: ClassVar[Any] = False
    """Whether a mirrored image keeps its label: training then mirrors half of them."""
    crop: ClassVar[Any] = 0
    """By how many pixels training shifts the images."""
    label_space: ClassVar[Any] = ""
    """Whose labels these are; empty: its own. Two datasets with one label space can be judged by one fingerprint."""
    related: ClassVar[Any] = {}
    """Datasets of equal shape that attacks may land on, such as {"transfer": "cifar100_first10"}."""
    checksums: ClassVar[Any] = {}
    """Files below the data root that `load` reads, each with its published checksum (`md5:...`), or empty."""
    downloads: ClassVar[Any] = ()
    """The published archives (`Download`) that `bench data fetch` gets."""

    def load(self, root: Path, train: bool) -> Split:
        """Read the train or the test part from the data folder `root`."""
        raise TypeError(f"{type(self).__name__} does not define load(root, train)")

    def check(self, root: Path) -> list[str]:
        """Say what is wrong with the files below `root`, one line each; beyond `checksums`, which the host checks."""
        return []


class Architecture(Component):
    """Makes an untrained network for a number of classes and an image shape."""

    kind = "architecture"
    declarations = {"precision": ""}
    precision: ClassVar[Any] = ""
    """`fp32` for networks that bf16 slows down (depthwise convolutions on CPUs); empty: the run's."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Make an untrained network: float images `[N, *shape]` in, logits [N, num_classes] out."""
        raise TypeError(f"{type(self).__name__} does not define build(num_classes, shape)")

    def head(self, model: nn.Module) -> nn.Module:
        """Find the last layer of a network that `build` made (default: the last `nn.Linear`)."""
        from torch import nn

        layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
        if not layers:
            raise TypeError(f"architecture {self.name!r} has no nn.Linear: define head(model)")
        return layers[-1]

    def stages(self, model: nn.Module) -> Sequence[nn.Module]:
        """List the blocks of a network, first to last (default: its top-level children)."""
        return list(model.children())


class Attack(Component):
    """Turns a source model into a stolen suspect."""

    kind = "attack"
    declarations = {"access": None, "same_architecture": False, "starts_from": "", "lands_on": ""}
    access: ClassVar[Any]
    """The most it asks of the source: `weights`, `logits`, `probabilities` or `labels`."""
    same_architecture: ClassVar[Any] = False
    """Whether the suspect keeps the source's architecture."""
    starts_from: ClassVar[Any] = ""
    """Another attack, whose suspect this one goes on with."""
    lands_on: ClassVar[Any] = ""
    """A key of the dataset's `related`: what the suspect is trained on; empty: the source's own dataset."""

    def variant(self, replicate: int) -> str:
        """Name what varies over its copies, such as `ratio=0.3`; empty: nothing but the seed."""
        return ""

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Make a suspect from a source model and the thief's images."""
        raise TypeError(f"{type(self).__name__} does not define steal(source, data, build, context)")


class Method(Component):
    """What fingerprints and watermarks share: they score a suspect, higher = more probably stolen."""

    kind = "method"
    declarations = {
        "any_label_space": False,
        "helper_architectures": (),
        "floor": False,
        "paper": "",
        "budget": "",
        "reported": (),
        "reported_accuracy": (),
    }
    any_label_space: ClassVar[Any] = False
    """Whether it can judge a suspect whose labels are not the source's."""
    helper_architectures: ClassVar[Any] = ()
    """The architectures of its surrogates and references in turn; empty: the suspects'."""
    floor: ClassVar[Any] = False
    """Whether it is a trivial method that stands below a line in every table."""
    paper: ClassVar[Any] = ""
    """Authors, title, venue, link."""
    budget: ClassVar[Any] = ""
    """The field that sets its number of queries, such as `samples`."""
    reported: ClassVar[Any] = ()
    """The AUCs of the paper, as `Reported`."""
    reported_accuracy: ClassVar[Any] = ()
    """The test accuracies of the paper, as `ReportedAccuracy`."""

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        """Judge a suspect by its answers: higher = more probably stolen."""
        raise TypeError(f"{type(self).__name__} does not define score(fingerprint, suspect)")


class Fingerprint(Method):
    """Read off a finished source model."""

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Make the named tensors that `score` needs, from a source model (eval mode) and the owner's data."""
        raise TypeError(f"{type(self).__name__} does not define extract(source, data, helpers, context)")


class Watermark(Method):
    """Embedded while the source model is trained."""

    def embed(
        self, build: Callable[[], nn.Module], data: DefenderData, context: Context
    ) -> tuple[nn.Module, dict[str, Tensor]]:
        """Train a source model that carries a watermark; give it and the named tensors that `score` needs."""
        raise TypeError(f"{type(self).__name__} does not define embed(build, data, context)")


BASES: tuple[type[Component], ...] = (Dataset, Architecture, Attack, Fingerprint, Watermark)


# --- what plugins are given ---------------------------------------------------------------------------------------


class Source(Protocol):
    """The source model as an attack may see it: no more than the attack's `access`; queries are counted."""

    def model(self) -> nn.Module:
        """Give a copy of the network. Only where `access` is `weights`."""
        ...

    def logits(self, x: Tensor) -> Tensor:
        """Answer float images [N, C, H, W] in [0, 1] with logits [N, K]."""
        ...

    def probabilities(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with probabilities [N, K]."""
        ...

    def labels(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with labels, int64 [N]."""
        ...


class Suspect(Protocol):
    """A suspect as a method may see it: its answers, never its weights; queries are counted."""

    def logits(self, x: Tensor) -> Tensor:
        """Answer float images [N, C, H, W] in [0, 1] with logits, float32 [N, K]."""
        ...

    def probabilities(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with probabilities, float32 [N, K]."""
        ...

    def labels(self, x: Tensor) -> Tensor:
        """Answer float images in [0, 1] with labels, int64 [N]."""
        ...


@dataclass(frozen=True)
class Helpers:
    """Networks the host trained on `defender` for a method, in eval mode, loaded when they are looked at.

    `surrogates` learned the source's answers (even ones its labels, odd ones its probabilities), `references` the
    true labels. Neither is ever a source or a suspect.
    """

    surrogates: Sequence[nn.Module] = ()
    references: Sequence[nn.Module] = ()


class Fit(Protocol):
    """The host's training loop, as `Context.fit` gives it."""

    def __call__(
        self,
        model: nn.Module,
        images: Tensor,
        targets: Tensor | Callable[[Tensor], Tensor],
        *,
        length: float = 1.0,
        loss: Callable[[nn.Module, Tensor, Tensor], Tensor] | None = None,
        trainable: nn.Module | None = None,
        **recipe_overrides: JSON,
    ) -> nn.Module:
        """Train `model` in place and give it back; see `bench.training.fit`."""
        ...


@dataclass
class Context:
    """What a task knows besides its data: seeds, recipe, device, the training loop, and where to leave notes.

    `start` is the suspect of the attack named by `starts_from`; `budget` the number of queries the method may ask;
    `length` the share of the recipe's epochs that `fit` trains by default.
    """

    seed: int
    replicate: int
    recipe: Recipe
    device: torch.device
    generator: torch.Generator
    fit: Fit
    head: Callable[[nn.Module], nn.Module]
    stages: Callable[[nn.Module], Sequence[nn.Module]]
    start: nn.Module | None = None
    budget: int | None = None
    notes: dict[str, JSON] = field(default_factory=dict)

    def note(self, **values: JSON) -> None:
        """Keep values for the row's `note`, such as converged=0.97."""
        self.notes.update(values)


# --- plain data that flows ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How the host trains, and how large a benchmark is; every field is set by a preset or `--set recipe.x=…`."""

    images: int = 0
    """Training images per half, class-balanced and seeded; 0 = all."""
    epochs: float = 20.0
    batch: int = 64
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup: float = 0.15
    """Share of the steps in which the learning rate rises from 0."""
    schedule: str = "linear"
    """How it falls to 0 afterwards: `linear`, `cosine`, or `constant` (which does not fall)."""
    clip: float = 5.0
    """Largest gradient norm; 0 = none."""
    precision: str = "auto"
    """`fp32` or `bf16`; `auto` is resolved from the devices before planning."""
    width: int = 0
    """Width of the networks that have such a field; 0 = their own default."""
    helpers: float = 1.0
    """Share of the surrogates and references that a method asks for by default."""
    budget: int = 0
    """Queries of every method that declares a budget; 0 = its own default."""

    SIZES: ClassVar[tuple[str, ...]] = ("images", "width", "helpers", "budget")

    def __post_init__(self) -> None:
        for f in dataclasses.fields(self):
            if f.type == "float":  # an int given for a float is a float, or two spellings would be two keys
                object.__setattr__(self, f.name, float(getattr(self, f.name)))

    def training(self) -> dict[str, JSON]:
        """Give the fields that change how one network is trained: they enter its key."""
        return {k: v for k, v in dataclasses.asdict(self).items() if k not in self.SIZES}


@dataclass(frozen=True)
class Declaration:
    """A component as the planner sees it: plain data, read off the live object after settings were applied."""

    kind: str
    name: str
    version: int
    params: Mapping[str, JSON]
    attributes: Mapping[str, JSON]
    distribution: str = ""
    summary: str = ""
    watermark: bool = False
    types: Mapping[str, str] = field(default_factory=dict)
    variants: tuple[str, ...] = ()

    def identity(self) -> dict[str, JSON]:
        """Give what enters a key: name, version and parameters."""
        return {"name": self.name, "version": self.version, "params": dict(self.params)}


@dataclass(frozen=True)
class Spec:
    """One benchmark, named in full: everything that decides which trials there are and what they compute."""

    datasets: tuple[str, ...]
    sources: tuple[str, ...]
    suspects: tuple[str, ...]
    attacks: tuple[str, ...]
    methods: tuple[str, ...]
    floors: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    replicates: int = 3
    copies: int = 5
    landed: int = 3
    split_seed: int = 0
    budgets: tuple[int, ...] = ()
    preset: str = "quick"
    recipe: Recipe = field(default_factory=Recipe)
    settings: Mapping[str, Mapping[str, JSON]] = field(default_factory=dict)

    def to_json(self) -> dict[str, JSON]:
        """Give plain data that `from_json` reads back."""
        result: dict[str, JSON] = json.loads(canonical(dataclasses.asdict(self)))
        return result

    @staticmethod
    def from_json(data: Mapping[str, JSON]) -> Spec:
        """Read what `to_json` gave; ValueError or TypeError where it is no Spec."""
        known = {f.name: f for f in dataclasses.fields(Spec)}
        unknown = sorted(set(data) - set(known))
        if unknown:
            raise ValueError(f"unknown field {unknown[0]!r}")
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in data.items()}
        recipe: dict[str, Any] = {
            f.name: (float(v) if f.type == "float" else v)
            for f in dataclasses.fields(Recipe)
            if (v := data.get("recipe", {}).get(f.name, f.default)) is not None
        }
        extra = sorted(set(data.get("recipe", {})) - set(recipe))
        if extra:
            raise ValueError(f"unknown field 'recipe.{extra[0]}'")
        values["recipe"] = Recipe(**recipe)
        return Spec(**values)

    def digest(self) -> str:
        """Give the SHA-256 of the Spec's canonical JSON."""
        return digest(dataclasses.asdict(self))


@dataclass(frozen=True)
class Task:
    """One unit of compute: strings and numbers only, so that it can cross to any process."""

    kind: str
    role: str
    params: Mapping[str, JSON]
    inputs: Mapping[str, str]
    key: str = ""

    @staticmethod
    def of(kind: str, role: str, params: Mapping[str, JSON], inputs: Mapping[str, str], written: str = "") -> Task:
        """Make a task and its key: SHA-256 over kind, role, parameters and the keys of the inputs.

        `written` is `canonical(params)`, where many tasks share their parameters.
        """
        parts = {"inputs": canonical(inputs), "kind": canonical(kind), "params": written or canonical(params),
                 "role": canonical(role)}  # fmt: skip
        text = ",".join(f'"{name}":{part}' for name, part in parts.items())
        return Task(kind, role, params, inputs, hashlib.sha256(f"{{{text}}}".encode()).hexdigest())

    @property
    def name(self) -> str:
        """Say what it is in a few words, for people: `steal extract_l tiny_vgg 0`."""
        parts = [self.kind, self.role if self.kind == "train" else ""]
        kinds = ("dataset", "attack", "method", "architecture")
        parts += [str(self.params[k]["name"]) for k in kinds if k in self.params]
        parts.append(str(self.params.get("replicate", "")))
        return " ".join(p for p in parts if p)


@dataclass(frozen=True)
class Trial:
    """One cell of the product, one row of the results: what it is, and the keys of what it needs."""

    dataset: str
    source_architecture: str
    source_seed: int
    method: str
    method_version: int
    budget: int | None
    suspect_kind: str
    attack: str
    attack_version: int | None
    variant: str
    suspect_dataset: str
    suspect_architecture: str
    replicate: int
    score: str = ""
    source: str = ""
    suspect: str = ""
    fingerprint: str = ""
    helpers: tuple[str, ...] = ()
    reason: str = ""
    """Why it is not applicable; empty: it is."""


@dataclass(frozen=True)
class Outcome:
    """What became of a task: `done`, `failed` or `blocked`; `facts` is the JSON part of its artifact.

    `root` names the task that failed first (kind and name) where this one is `blocked`.
    """

    key: str
    status: str
    stored: bool = False
    facts: Mapping[str, JSON] = field(default_factory=dict)
    seconds: float = 0.0
    device: str = ""
    error: str = ""
    root: str = ""
    log: str = ""
    cause: str = ""
    """Why it failed, where the scheduler has to act on it: `memory`, `device` (lost), `store`, `damaged` (an input)."""


SCALARS = frozenset({str, int, float, bool, type(None)})


def _plain(value: object) -> JSON:
    if type(value) in SCALARS:
        return value
    if isinstance(value, dict | Mapping):  # `dict` first: asking an abstract class takes ten times as long
        return {str(k): v if type(v) in SCALARS else _plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    return value


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def canonical(value: object) -> str:
    """Write plain data as the one JSON text that its key is made from: sorted, no spaces, tuples as lists, no NaN."""
    return _CANONICAL.encode(_plain(value))


def digest(value: object) -> str:
    """Give the SHA-256 of plain data's canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def seed_of(key: str) -> int:
    """Give the seed that a task starts from: the first 60 bits of its key."""
    return int(key[:15], 16)


def fields_of(component: type | object) -> Iterator[dataclasses.Field[Any]]:
    """Walk a component's hyper-parameters: all its fields but `name` and `version`."""
    return (f for f in dataclasses.fields(component) if f.name not in ("name", "version"))  # type: ignore[arg-type]
