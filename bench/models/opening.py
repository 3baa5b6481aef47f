"""Open a described network: what the host can ask, whatever the format."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind
from bench.models.answers import Table
from bench.models.content import check_content, read
from bench.models.description import PROGRAMS, Description, label_order
from bench.models.endpoint import HttpNetwork
from bench.models.kinds import ModelFormat
from bench.models.network import Described, network
from bench.models.onnx_session import OnnxNetwork
from bench.models.outputs import converted, fault
from bench.models.preprocessing import Preprocessing
from bench.models.program import ProgramNetwork
from bench.registry.registry import Registry
from bench.training.answering import Askable
from bench.training.augmentation import pixels
from bench.training.inference import BATCH

Run = Callable[[Tensor], Tensor]
"""From input images, as the network wants them, to its raw answers."""


@dataclass(frozen=True)
class Target:
    """The dataset that a network answers about: its number of classes, shape of images, names of labels if known."""

    classes: int
    shape: tuple[int, int, int]
    label_names: Sequence[str] = ()


class DescribedAnswers:
    """A described network that only answers (`bench.training.answering.Answering`).

    BenchError, which names the model and the field, if what comes back contradicts the description.
    """

    def __init__(self, model: Description, run: Run, steps: Callable[[Tensor], Tensor], target: Target) -> None:
        self.model, self.run, self.steps, self.classes = model, run, steps, target.classes
        self.order = label_order(model, target.classes, target.label_names)
        self.output: str = model.answers

    def answer(self, images: Tensor) -> Tensor:
        """Return the answers to images (uint8, or float [N, C, H, W] in [0, 1]) of the kind `output`, on the CPU."""
        parts = [self._answered(part) for part in torch.split(images, BATCH)] if len(images) else []
        if parts:
            return torch.cat(parts)
        return torch.empty(0, dtype=torch.int64) if self.output == Access.LABELS else torch.empty(0, self.classes)

    def _answered(self, images: Tensor) -> Tensor:
        with torch.no_grad():
            raw = self.run(self.steps(pixels(images.cpu())))
        if wrong := fault(raw, self.model.output, self.classes):
            raise self.model.fault("output", wrong)
        return converted(raw, self.model, self.order)


def open_model(
    model: Description, target: Target, registry: Registry, *, threads: int = 1, allow_code: bool = False
) -> Askable:
    """Open a described network, on the CPU: a torch network if it has logits and an architecture.

    BenchError, which names the model and the field, if its file is damaged, has another content than `model.sha256`,
    or is not what the description promises. A model behind a URL is not asked anything yet.
    """
    if model.format in PROGRAMS and not allow_code:
        raise model.fault("format", f"a {model.format} file is a program: it runs only with --allow-code")
    if model.format == ModelFormat.HTTP:
        order, names = label_order(model, target.classes, target.label_names), target.label_names
        run = HttpNetwork(model, [names[i] for i in order] if names and order else names)
        return DescribedAnswers(model, run, Preprocessing.of(model, target.shape), target)
    content = read(model)
    check_content(model, content)
    if model.format == ModelFormat.ANSWERS:
        return DescribedAnswers(model, Table(model, content, target.label_names), lambda images: images, target)
    steps = Preprocessing.of(model, target.shape)
    if model.format == ModelFormat.SAFETENSORS:
        return _torch_network(model, target, registry, content)
    if model.format in PROGRAMS:
        return DescribedAnswers(model, ProgramNetwork(model, content, threads), steps, target)
    shape = steps.input_shape(target.shape[0])
    return DescribedAnswers(model, OnnxNetwork(model, content, shape, threads), steps, target)


def _torch_network(model: Description, target: Target, registry: Registry, content: bytes) -> Askable:
    try:
        architecture = registry.get(ComponentKind.ARCHITECTURE, model.architecture, model.settings or None)
    except BenchError as error:
        raise model.fault("settings" if model.settings else "architecture", str(error)) from None
    order = label_order(model, target.classes, target.label_names)
    if model.answers == Access.LOGITS:
        return network(model, architecture, content, target.classes, target.shape, order)
    inner: Described = network(model, architecture, content, target.classes, target.shape, ())
    return DescribedAnswers(model, inner, lambda images: images, target)


def check_answers(model: Description, opened: Askable, images: Tensor, classes: int) -> Tensor:
    """Ask a network some images and return its answers; BenchError if they, or a whole table, are not right."""
    if isinstance(opened, DescribedAnswers):
        if isinstance(opened.run, Table) and (wrong := fault(opened.run.answers, model.output, classes)):
            raise model.fault("output", wrong)
        return opened.answer(images)
    with torch.no_grad():
        answers: Tensor = opened(pixels(images))  # type: ignore[operator]  # it is a torch network
    if wrong := fault(answers, model.output, classes):
        raise model.fault("output", wrong)
    return answers


def known_images(opened: Askable, images: Tensor) -> Tensor | None:
    """Return the indices of the images that a table has answers to; None for a network, which answers to any."""
    if isinstance(opened, DescribedAnswers) and isinstance(opened.run, Table):
        return torch.tensor([i for i in range(len(images)) if opened.run.has(images[i : i + 1])], dtype=torch.int64)
    return None


def close(opened: Askable) -> None:
    """End the process of a program, or the one that asks a URL; for anything else, do nothing."""
    if isinstance(opened, DescribedAnswers) and isinstance(opened.run, ProgramNetwork | HttpNetwork):
        opened.run.close()
