"""Described networks in tasks: open them, measure them, use one as a source."""

import functools
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

import torch
from msgspec import structs
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.api.data import Split
from bench.core.canonical import JSON, canonical
from bench.core.errors import BenchError, NotApplicable
from bench.core.kinds import Access, ComponentKind
from bench.models.answers import Table
from bench.models.content import located
from bench.models.description import Description, Zoo, read
from bench.models.opening import DescribedAnswers, Target, open_model
from bench.registry.registry import Registry
from bench.stats.majority import majority_note
from bench.stats.renumbering import renumbering_note
from bench.training.answering import Askable, ask

if TYPE_CHECKING:
    from bench.execution.task_context import Artifact


@functools.lru_cache(maxsize=2)
def _read(path: str, changed: int, size: int) -> tuple[Description, ...]:
    return read(path)


def descriptions(path: str) -> tuple[Description, ...]:
    """Read a file of descriptions, once while it does not change: it may have thousands, and each task needs one."""
    try:
        found = os.stat(path)  # noqa: PTH116  (Path.stat makes a Path for each task)
    except OSError as error:
        raise BenchError(f"{path} cannot be read: {error.strerror or error}") from error
    return _read(path, found.st_mtime_ns, found.st_size)


class Unknown(Architecture):
    """The architecture of a network that is not known: it names no layers."""

    def head(self, model: nn.Module) -> nn.Module:
        """Raise NotApplicable."""
        raise NotApplicable("the layers of this network are not known: it only answers")

    def stages(self, model: nn.Module) -> Sequence[nn.Module]:
        """Raise NotApplicable."""
        raise NotApplicable("the layers of this network are not known: it only answers")


class SourceNetwork(nn.Module):
    """A described network that only answers, in the form in which methods get a source: logits, without gradients."""

    def __init__(self, answers: DescribedAnswers) -> None:
        super().__init__()
        self.answers = answers

    @property
    def inner(self) -> nn.Module:
        """Return this network: there is none inside."""
        return self

    def forward(self, x: Tensor) -> Tensor:
        """Return logits [N, K] of float images [N, C, H, W] in [0, 1]; NotApplicable where gradients are needed."""
        name = self.answers.model.name
        if torch.is_grad_enabled() and x.requires_grad:
            raise NotApplicable(f"{name} only answers ({self.answers.model.format}): it has no gradients")
        return ask(self.answers, Access.LOGITS, x, name=name)


class Place(Protocol):
    """Where a network is opened: what the state of a worker has."""

    registry: Registry
    device: str
    threads: int
    zoo: Zoo


def opened(described: Mapping[str, JSON], dataset: Mapping[str, JSON], place: Place) -> tuple[Askable, Architecture]:
    """Open the network that a task describes, and return it with its architecture; `dataset` has the facts of its data.

    BenchError if the file of descriptions is not known here, or describes another network under this name.
    """
    zoo, registry = place.zoo, place.registry
    if not zoo.path:
        raise BenchError(f"model {described['name']!r}: --models names the file that describes it, which is not known")
    model = structs.replace(located(descriptions(zoo.path), str(described["name"])), sha256=str(described["sha256"]))
    if canonical(model.identity()) != canonical(described):
        raise BenchError(f"model {model.name!r}: its description changed while bench was running")
    names = registry.get(ComponentKind.DATASET, dataset["dataset"]).label_names
    target = Target(dataset["num_classes"], tuple(dataset["shape"]), tuple(names))
    found = open_model(model, target, registry, threads=place.threads, allow_code=zoo.allow_code)
    if not isinstance(found, nn.Module):
        return found, Unknown()
    architecture = registry.get(ComponentKind.ARCHITECTURE, model.architecture, model.settings or None)
    return found.to(place.device).eval(), architecture


def measurements(model: Askable, test: Split, facts: Mapping[str, JSON]) -> "Artifact":
    """Return the facts and files of a described network: its accuracy, and its answers, on `test`.

    A table of answers has neither, unless it has an answer to each of these images. `facts` are further ones.
    """
    table = model.run if isinstance(model, DescribedAnswers) and isinstance(model.run, Table) else None
    if table and not table.has(test.images):
        return {**facts, "accuracy": None}, {}
    answers = ask(model, Access.LABELS, test.images)
    accuracy = float((answers == test.labels).double().mean())
    labels = test.labels.cpu().numpy()
    if note := renumbering_note(answers.cpu().numpy(), labels) | majority_note(labels, facts["num_classes"]):
        facts = {**facts, "notes": {**facts.get("notes", {}), **note}}
    return {**facts, "accuracy": accuracy}, {"answers": {"test": answers.to(torch.int32)}}
