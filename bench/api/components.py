"""The base classes that plugin authors extend. Nothing here imports torch at run time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bench.api.context import Context, Helpers, Source, Suspect
from bench.api.data import DefenderData, Split
from bench.core.kinds import Access, ComponentKind

if TYPE_CHECKING:
    from torch import Tensor, nn


class Component:
    """Base of datasets, architectures, attacks and methods: a frozen dataclass with a name and a version.

    All annotated fields but `name` and `version` are hyper-parameters, with JSON-able, immutable defaults. `version` is
    a whole number from 1; increase it when results may change. `declarations` lists the class attributes or properties
    that planning reads, with their defaults; None: every component has to define it.
    """

    name: str
    version: int
    declarations: ClassVar[Mapping[str, object]] = {}
    kind: ClassVar[str] = ""

    def __init_subclass__(cls) -> None:
        """Read the declarations of the four base classes from their annotations."""
        if cls.__bases__ == (Component,):
            cls.declarations = {name: getattr(cls, name, None) for name in cls.__annotations__}


class Dataset(Component):
    """Labelled images with a train and a test part."""

    kind = ComponentKind.DATASET
    num_classes: ClassVar[Any]
    """Number of labels, from 2."""
    shape: ClassVar[Any]
    """Shape of an image: (channels, height, width)."""
    flip: ClassVar[Any] = False
    """True if a mirrored image keeps its label: training then mirrors half of the images."""
    crop: ClassVar[Any] = 0
    """Largest shift of a training image, in pixels."""
    label_space: ClassVar[Any] = ""
    """Name of the dataset whose labels it has; empty: its own. A fingerprint can score models of one label space."""
    label_names: ClassVar[Any] = ()
    """Names of the labels, in their order, which label maps of described networks may use; empty: none are known."""
    related: ClassVar[Any] = {}
    """Datasets that attacks may use, by key, such as {"transfer": "cifar100_first10"}; targets are of equal shape."""
    checksums: ClassVar[Any] = {}
    """Files below the data root that `load` reads, each with its published checksum (`md5:...`), or empty."""
    downloads: ClassVar[Any] = ()
    """Published archives (`Download`) that `bench data fetch` downloads."""

    def load(self, root: Path, train: bool) -> Split:
        """Return the train or the test part: uint8 images [N, C, H, W] and int64 labels [N].

        `root` is the data folder. Raise OSError or `BenchError` if a file is missing or damaged.
        """
        raise TypeError(f"{type(self).__name__} does not define load(root, train)")

    def check(self, root: Path) -> list[str]:
        """Return what is wrong with the files below `root`, one line each; the host compares `checksums` itself."""
        return []


class Architecture(Component):
    """Builds an untrained network for a number of classes and an image shape."""

    kind = ComponentKind.ARCHITECTURE
    precision: ClassVar[Any] = ""
    """`fp32` for networks that bf16 slows down (depthwise convolutions on CPUs); empty: the run's precision."""
    learning_rate: ClassVar[Any] = 0.0
    """The largest learning rate of its trainings, in the place of the recipe's; 0: the recipe's."""
    epochs_factor: ClassVar[Any] = 1.0
    """How many times the recipe's epochs its trainings take, up to 1000."""
    augmentation: ClassVar[Any] = {}
    """What replaces a dataset's own: `crop`, the largest shift in pixels, and `flip`, which may only be False."""

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        """Return an untrained network: float images `[N, *shape]` in [0, 1] in, logits [N, num_classes] out."""
        raise TypeError(f"{type(self).__name__} does not define build(num_classes, shape)")

    def head(self, model: nn.Module) -> nn.Module:
        """Return the last layer of a network that `build` returned (default: the last `nn.Linear`).

        Raises TypeError if there is no such layer.
        """
        from torch import nn

        layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
        if not layers:
            raise TypeError(f"architecture {self.name!r} has no nn.Linear: define head(model)")
        return layers[-1]

    def stages(self, model: nn.Module) -> Sequence[nn.Module]:
        """Return the blocks of a network, first to last (default: its children, and those of a `ModuleList`)."""
        from torch import nn

        return [
            stage
            for child in model.children()
            for stage in (child.children() if isinstance(child, nn.ModuleList) else (child,))
        ]


class Attack(Component):
    """Derives a stolen suspect from a source model."""

    kind = ComponentKind.ATTACK
    access: ClassVar[Any]
    """The strongest access to the source that it needs: `weights`, `logits`, `probabilities` or `labels`."""
    same_architecture: ClassVar[Any] = False
    """True if the suspect has the source's architecture."""
    starts_from: ClassVar[Any] = ""
    """Name of the attack whose suspect this one starts from; empty: none."""
    target: ClassVar[Any] = ""
    """Key of the dataset's `related` that names the suspect's training set; empty: the source's own dataset."""
    deterministic: ClassVar[Any] = False
    """True if it draws nothing at random, so that all copies would be equal: one per architecture is made."""
    surrogate_data: ClassVar[Any] = ""
    """Images to query with (`context.surrogate_data`): a key of the dataset's `related`, or a dataset; empty: none."""
    surrogate_adapt: ClassVar[Any] = ()
    """What the host may adapt of these images to the source's, if it differs: `size`, `channels`."""
    answers: ClassVar[Any] = ""
    """The strongest answers of its suspects if these only answer: `logits`, `probabilities` or `labels`.

    Empty: its suspects are networks that load strictly into `build()`. See `rebuild`.
    """
    knows_method: ClassVar[Any] = False
    """True if its thief knows the method: each method judges suspects that were made against it (`context.probes`)."""
    strengths: ClassVar[Any] = 1
    """How many strengths it has, weakest first, each made at least once: copy i has number i modulo this.

    From 2 on, tables have the loss of accuracy at which a method loses sight of its suspects. `variant` names them.
    """

    def variant(self, replicate: int) -> str:
        """Return what varies between copies, such as `ratio=0.3`; empty: only the seed."""
        return ""

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        """Return a suspect that classifies the images of `data`, the attacker's training images.

        `build()` returns an untrained network of the suspect's architecture; the result must have its state dict. With
        `answers`, the result is any module whose state dict holds tensors only, from which `rebuild` makes it again.
        """
        raise TypeError(f"{type(self).__name__} does not define steal(source, data, build, context)")

    def rebuild(self, build: Callable[[], nn.Module], tensors: dict[str, Tensor]) -> nn.Module:
        """Return a suspect that only answers, from the state dict of what `steal` returned; only with `answers`.

        The module takes float images [1, C, H, W] in [0, 1], one at a time, and returns what `answers` declares: logits
        or probabilities [1, K], or labels int64 [1]. It may draw from torch's global generator, which is seeded from
        the image. `tensors` are on the task's device, as is what `build()` returns. Default: `build()` with these
        weights.
        """
        model = build()
        model.load_state_dict(tensors)
        return model


class Method(Component):
    """Common base of fingerprints and watermarks: it scores a suspect, higher = more probably stolen."""

    kind = ComponentKind.METHOD
    access: ClassVar[Any] = Access.LOGITS
    """The strongest access to a suspect that it needs; with `weights` it may call `suspect.model()`."""
    any_label_space: ClassVar[Any] = False
    """True if it can score a suspect whose label space differs from the source's."""
    helper_architectures: ClassVar[Any] = ()
    """Architectures of its surrogates and references, in turn; empty: the suspects' architectures."""
    baseline: ClassVar[Any] = False
    """True for a trivial method, which every table lists below a line and other methods are compared with."""
    exact: ClassVar[Any] = False
    """True if its score is -log10 of a p-value that is valid for each suspect by itself, without other models."""
    paper: ClassVar[Any] = ""
    """`A. Author, B. Author: Title, Venue 2026, https://...`: an entry of `references.bib`."""
    budget: ClassVar[Any] = ""
    """Name of the field with its number of queries (images), such as `samples`; empty: it has no budget."""
    draws: ClassVar[Any] = 1
    """Fingerprints per source, from 1. With a cheap fingerprint, take more: the AUC is averaged over them."""
    fingerprint_of: ClassVar[Any] = ""
    """Name of the fingerprint method whose fingerprints (and draws) it scores; empty: its own."""
    reported: ClassVar[Any] = ()
    """AUCs in its paper, as `Reported`."""
    reported_accuracy: ClassVar[Any] = ()
    """Test accuracies in its paper, as `ReportedAccuracy`."""

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float | None:
        """Return a finite score of a suspect: higher = more probably stolen; None if it cannot be judged.

        Better than None: raise `NotApplicable` with the reason, which the row then has.

        `fingerprint` holds copies of the tensors that `extract` or `embed` returned, on the task's device.
        """
        raise TypeError(f"{type(self).__name__} does not define score(fingerprint, suspect)")


class Fingerprint(Method):
    """A method that reads a fingerprint from a trained source model."""

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        """Return the named tensors that `score` needs, from a source model (eval mode) and the owner's data.

        It is called `draws` times per source, each time with another seed; never if `fingerprint_of` is set.
        """
        raise TypeError(f"{type(self).__name__} does not define extract(source, data, helpers, context)")


class Watermark(Method):
    """A method that embeds a watermark while the source model is trained."""

    def embed(
        self, build: Callable[[], nn.Module], data: DefenderData, context: Context
    ) -> tuple[nn.Module, dict[str, Tensor]]:
        """Train and return a source model with a watermark, and the named tensors that `score` needs.

        `build()` returns an untrained network; the model must have its state dict.
        """
        raise TypeError(f"{type(self).__name__} does not define embed(build, data, context)")


BASES: tuple[type[Component], ...] = (Dataset, Architecture, Attack, Fingerprint, Watermark)


def fields_of(component: type | object) -> Iterator[dataclasses.Field[Any]]:
    """Yield the hyper-parameters of a component: all its fields but `name` and `version`."""
    return (f for f in dataclasses.fields(component) if f.name not in ("name", "version"))  # type: ignore[arg-type]
