"""The base classes that plugin authors extend. Nothing here imports torch at run time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api.context import Context, Helpers, Source, Suspect
from bench.api.data import DefenderData, Split
from bench.core.kinds import ComponentKind

if TYPE_CHECKING:
    from torch import Tensor, nn


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

    kind = ComponentKind.DATASET
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

    kind = ComponentKind.ARCHITECTURE
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

    kind = ComponentKind.ATTACK
    declarations = {"access": None, "same_architecture": False, "starts_from": "", "target": ""}
    access: ClassVar[Any]
    """The most it asks of the source: `weights`, `logits`, `probabilities` or `labels`."""
    same_architecture: ClassVar[Any] = False
    """Whether the suspect keeps the source's architecture."""
    starts_from: ClassVar[Any] = ""
    """Another attack, whose suspect this one goes on with."""
    target: ClassVar[Any] = ""
    """A key of the dataset's `related`: what the suspect is trained on; empty: the source's own dataset."""

    def variant(self, replicate: int) -> str:
        """Name what varies over its copies, such as `ratio=0.3`; empty: nothing but the seed."""
        return ""

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Make a suspect from a source model and the thief's images."""
        raise TypeError(f"{type(self).__name__} does not define steal(source, data, build, context)")


class Method(Component):
    """What fingerprints and watermarks share: they score a suspect, higher = more probably stolen."""

    kind = ComponentKind.METHOD
    declarations = {
        "any_label_space": False,
        "helper_architectures": (),
        "baseline": False,
        "paper": "",
        "budget": "",
        "reported": (),
        "reported_accuracy": (),
    }
    any_label_space: ClassVar[Any] = False
    """Whether it can judge a suspect whose labels are not the source's."""
    helper_architectures: ClassVar[Any] = ()
    """The architectures of its surrogates and references in turn; empty: the suspects'."""
    baseline: ClassVar[Any] = False
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


def fields_of(component: type | object) -> Iterator[dataclasses.Field[Any]]:
    """Walk a component's hyper-parameters: all its fields but `name` and `version`."""
    return (f for f in dataclasses.fields(component) if f.name not in ("name", "version"))  # type: ignore[arg-type]
