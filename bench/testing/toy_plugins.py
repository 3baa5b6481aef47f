"""A world small enough for tests: noisy patterns of 8x8 pixels, two-layer networks, and a component of every kind.

A plugin file that uses public names only. It runs through the whole host in seconds on a CPU; its numbers mean nothing.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench import (
    Architecture,
    Attack,
    Context,
    Dataset,
    DefenderData,
    Fingerprint,
    Helpers,
    Source,
    Split,
    Suspect,
    Watermark,
    hookimpl,
)


@dataclass(frozen=True)
class ToyImages(Dataset):
    """Noisy 8x8 patterns, one per class."""

    name: str = "toy"
    version: int = 1
    images: int = 64
    """Images of each part, evenly many of each class."""
    classes: int = 4
    pattern: int = 0
    """Seed of the classes' patterns: datasets that share it share their labels' meaning."""
    contrast: float = 0.2
    noise: float = 0.35
    leads: str = ""
    """More keys of `related`, with commas between them, for the dataset of `transfer`."""
    channels: int = 1
    side: int = 8
    """Height and width of an image, in pixels."""

    crop = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.side, self.side

    @property
    def num_classes(self) -> int:
        return self.classes

    @property
    def label_space(self) -> str:
        return f"toy{self.pattern}"

    @property
    def related(self) -> dict[str, str]:
        if self.name != "toy":
            return {}
        leads = ("transfer", *self.leads.split(","))
        return {key: "toy_other" for key in leads if key} | {"corrupted": "toy_corrupted"}

    def load(self, root: Path, train: bool) -> Split:
        generator = torch.Generator().manual_seed(self.pattern)
        patterns = torch.randint(2, (self.classes, *self.shape), generator=generator) * 2 - 1
        generator.manual_seed(1000 + 2 * self.pattern + train)
        labels = torch.arange(self.images) % self.classes
        noise = torch.randn(self.images, *self.shape, generator=generator)
        x = (0.5 + self.contrast * patterns[labels] + self.noise * noise).clamp(0, 1)
        return Split((x * 255).round().to(torch.uint8), labels)


@dataclass(frozen=True)
class ToyNet(Architecture):
    """Two linear layers."""

    name: str = "toy_net"
    version: int = 1
    width: int = 16

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        inputs = shape[0] * shape[1] * shape[2]
        return nn.Sequential(nn.Flatten(), nn.Linear(inputs, self.width), nn.ReLU(), nn.Linear(self.width, num_classes))


@dataclass(frozen=True)
class ToyConv(Architecture):
    """A convolution with batch normalisation, and a linear head."""

    name: str = "toy_conv"
    version: int = 1
    width: int = 8

    def build(self, num_classes: int, shape: tuple[int, int, int]) -> nn.Module:
        w = self.width
        body = nn.Sequential(nn.Conv2d(shape[0], w, 3, 2, 1), nn.BatchNorm2d(w), nn.ReLU(), nn.AdaptiveMaxPool2d(4))
        return nn.Sequential(body, nn.Flatten(), nn.Linear(16 * w, num_classes))


@dataclass(frozen=True)
class ToyTune(Attack):
    """Train a copy of the source a little longer."""

    name: str = "toy_tune"
    version: int = 1
    length: float = 0.3

    access = "weights"
    same_architecture = True

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        return context.fit(source.model(), data.images, data.labels, length=self.length, lr=0.01)


@dataclass(frozen=True)
class ToyCopy(Attack):
    """Learn the source's labels."""

    name: str = "toy_copy"
    version: int = 1
    length: float = 1.0

    access = "labels"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        return context.fit(build(), data.images, source.labels, length=self.length)


@dataclass(frozen=True)
class ToyPolish(Attack):
    """Go on with what toy_copy stole, on softer answers."""

    name: str = "toy_polish"
    version: int = 1
    length: float = 0.3

    access = "probabilities"
    starts_from = "toy_copy"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        assert context.start is not None
        return context.fit(copy.deepcopy(context.start), data.images, source.probabilities, length=self.length, lr=0.01)


@dataclass(frozen=True)
class ToyMove(Attack):
    """Train a copy of the source on other patterns."""

    name: str = "toy_move"
    version: int = 1
    length: float = 0.5

    access = "weights"
    same_architecture = True
    target = "transfer"

    def steal(self, source: Source, data: Split, build: Callable[[], nn.Module], context: Context) -> nn.Module:
        model = build()
        own, stolen = model.state_dict(), source.model().state_dict()
        shapes, theirs = ({n: getattr(t, "shape", None) for n, t in state.items()} for state in (own, stolen))
        fits = [n for n in own if n not in ("mean", "std") and shapes[n] == theirs[n]]
        model.load_state_dict({**own, **{n: stolen[n] for n in fits}})  # the head, too, of as many classes
        return context.fit(model, data.images, data.labels, length=self.length)


@dataclass(frozen=True)
class ToyMatch(Fingerprint):
    """Compare the labels of probe images."""

    name: str = "toy_match"
    version: int = 1
    samples: int = 16

    budget = "samples"
    paper = "nobody: a test"

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        order = torch.randperm(len(data.probe), generator=context.generator, device=context.generator.device)
        x = data.probe.x[order[: context.budget]]
        context.note(drawn=len(x))
        with torch.no_grad():
            return {"x": x, "labels": source(x).argmax(1)}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        return float((suspect.labels(fingerprint["x"]) == fingerprint["labels"]).double().mean())


def relation(logits: Tensor) -> Tensor:
    """Return the cosine similarity of the answers to each pair of images, [N, N]."""
    unit = nn.functional.normalize(logits, dim=1)
    return unit @ unit.T


@dataclass(frozen=True)
class ToyRelation(Fingerprint):
    """Compare which images are answered alike, on images that surrogates answer as the source does."""

    name: str = "toy_relation"
    version: int = 1
    samples: int = 16
    surrogates: int = 2
    references: int = 1

    any_label_space = True
    budget = "samples"

    def extract(self, source: nn.Module, data: DefenderData, helpers: Helpers, context: Context) -> dict[str, Tensor]:
        x = data.probe.x
        with torch.no_grad():
            own = source(x).softmax(1)
            near = torch.stack([(m(x).softmax(1) - own).abs().sum(1) for m in helpers.surrogates]).mean(0)
            far = torch.stack([(m(x).softmax(1) - own).abs().sum(1) for m in helpers.references]).mean(0)
            chosen = (near - far).argsort(stable=True)[: context.budget]
            return {"x": x[chosen], "relation": relation(source(x[chosen]))}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        return -float((relation(suspect.logits(fingerprint["x"])) - fingerprint["relation"]).abs().mean())


@dataclass(frozen=True)
class ToyMark(Watermark):
    """Train the source on black images with a bright corner as well, all of one label."""

    name: str = "toy_mark"
    version: int = 1
    samples: int = 8
    length: float = 1.0

    budget = "samples"

    def embed(
        self, build: Callable[[], nn.Module], data: DefenderData, context: Context
    ) -> tuple[nn.Module, dict[str, Tensor]]:
        shape = (self.samples, *data.train.images.shape[1:])
        marked = torch.rand(shape, generator=context.generator, device=context.device) / 4
        marked[..., :2, :2] = 1
        images = torch.cat([data.train.images, (marked * 255).to(torch.uint8)])
        labels = torch.cat([data.train.labels, torch.zeros(self.samples, dtype=torch.int64, device=context.device)])
        return context.fit(build(), images, labels, length=self.length), {"x": marked}

    def score(self, fingerprint: dict[str, Tensor], suspect: Suspect) -> float:
        return float(suspect.probabilities(fingerprint["x"])[:, 0].mean())


@hookimpl
def bench_datasets() -> list[Dataset]:
    return [ToyImages(), ToyImages("toy_other", pattern=1), ToyImages("toy_corrupted", contrast=0.12)]


@hookimpl
def bench_architectures() -> list[Architecture]:
    return [ToyNet(), ToyConv()]


@hookimpl
def bench_attacks() -> list[Attack]:
    return [ToyTune(), ToyCopy(), ToyPolish(), ToyMove()]


@hookimpl
def bench_methods() -> list[Any]:
    return [ToyMatch(), ToyRelation(), ToyMark()]
