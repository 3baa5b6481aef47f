"""Described networks in tasks: open them, measure them, use one as a source."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from msgspec import structs
from torch import Tensor, nn

from bench.api.components import Architecture
from bench.core.canonical import JSON, canonical
from bench.core.errors import BenchError, NotApplicable
from bench.core.kinds import Access, ComponentKind
from bench.models.answers import Table
from bench.models.content import located
from bench.models.description import Description, read
from bench.models.opening import DescribedAnswers, Target, open_model
from bench.training.answering import Askable, ask

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bench.execution.task_context import Artifact, TaskContext, WorkerState


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


def open_described(
    state: WorkerState, described: Mapping[str, JSON], facts: Mapping[str, JSON]
) -> tuple[Askable, Architecture]:
    """Open the network that a task names, on the device of a worker; `facts` are those of its dataset.

    BenchError if the file of descriptions is not known here, or describes another network under this name.
    """
    if not state.zoo.path:
        raise BenchError(
            f"model {described['name']!r}: its file is not known: --models names the file that describes it"
        )
    models = state.cached("zoo", state.zoo.path, lambda: read(state.zoo.path), 1)
    model = structs.replace(located(models, str(described["name"])), sha256=str(described["sha256"]))
    if canonical(model.identity()) != canonical(described):
        raise BenchError(f"model {model.name!r}: its description changed while bench was running")
    return opened(state, model, facts)


def opened(state: WorkerState, model: Description, facts: Mapping[str, JSON]) -> tuple[Askable, Architecture]:
    """Open a described network on the device of a worker, with its architecture."""
    names = state.registry.get(ComponentKind.DATASET, facts["dataset"]).label_names
    target = Target(facts["num_classes"], tuple(facts["shape"]), tuple(names))
    found = open_model(model, target, state.registry, threads=state.threads, allow_code=state.zoo.allow_code)
    if not isinstance(found, nn.Module):
        return found, Unknown()
    architecture = state.registry.get(ComponentKind.ARCHITECTURE, model.architecture, model.settings or None)
    return found.to(state.device).eval(), architecture


def measure(context: TaskContext) -> Artifact:
    """Return the facts of a described network: its accuracy, and its answers, on `test`.

    A table of answers has neither, unless it has an answer to each of these images.
    """
    data, described = context.data(), context.params["model"]
    model, _ = open_described(context.state, described, data.facts)
    test = data.parts["test"]
    facts: dict[str, JSON] = {
        "accuracy": None,
        "architecture": context.params.get("architecture"),
        "num_classes": data.facts["num_classes"],
        "shape": data.facts["shape"],
        "data": context.inputs["data"],
        "notes": {},
        "model": described,
    }
    table = model.run if isinstance(model, DescribedAnswers) and isinstance(model.run, Table) else None
    if table and not table.has(test.images):
        return facts, {}
    answers = ask(model, Access.LABELS, test.images)
    facts["accuracy"] = float((answers == test.labels).double().mean())
    return facts, {"answers": {"test": answers.to(torch.int32)}}
