"""Open described networks and ask each some images, before anything is computed.

What another library parses and runs (ONNX) is tried in a process of its own, which may die or hang. Programs run in one
anyway.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.kinds import Access
from bench.models.description import Description
from bench.models.kinds import ModelFormat
from bench.models.opening import Target, check_answers, close, known_images, open_model
from bench.registry.registry import Registry
from bench.sandbox.supervised_process import Died, SupervisedProcess
from bench.training.answering import weakened

LIMIT = 120.0
"""Seconds that a network may take to be opened and asked."""
IMAGES = 10
SAME = 1e-3
"""Largest difference, relative and absolute, between two answers to one image."""
APART = (ModelFormat.ONNX,)
"""Formats that are tried in a process of their own."""


class Finding(NamedTuple):
    """What came of trying a network: how many images it was asked and, if `labelled`, answered rightly; or an error."""

    model: Description
    target: Target
    asked: int = 0
    labelled: bool = False
    right: int = 0
    error: str = ""


class Attempt(NamedTuple):
    """A network to be tried, with the images and labels that it is asked; without labels, they are noise."""

    model: Description
    target: Target
    images: Tensor
    labels: Tensor | None = None

    @staticmethod
    def noise(model: Description, target: Target) -> "Attempt":
        """Return a attempt with ten images of noise."""
        random = torch.Generator().manual_seed(0)
        return Attempt(model, target, torch.rand(IMAGES, *target.shape, generator=random))


def preflight(attempts: Iterable[Attempt], registry: Registry, allow_code: bool = False) -> None:
    """Try networks; BenchError names the first that cannot be opened or does not answer as described, and the field."""
    for finding in findings(attempts, registry, allow_code):
        if finding.error:
            raise BenchError(finding.error)


def findings(
    attempts: Iterable[Attempt | Finding], registry: Registry, allow_code: bool = False, limit: float = LIMIT
) -> Iterator[Finding]:
    """Try networks one after the other, and yield what came of each; a finding that is known already is passed on."""
    process: SupervisedProcess | None = None
    try:
        for attempt in attempts:
            if isinstance(attempt, Finding):
                yield attempt
            elif attempt.model.format not in APART:
                yield tried(attempt, registry, allow_code)
            else:
                process = process or SupervisedProcess(limit)
                try:
                    yield from process.submit(_send_tried, attempt)
                except Died as error:
                    process = None
                    text = str(attempt.model.fault("file", f"it {error} when it was tried"))
                    yield Finding(attempt.model, attempt.target, error=text)
    finally:
        if process is not None:
            process.close()


def _send_tried(send: Callable[[Any], None], attempt: Attempt) -> None:
    send(tried(attempt, Registry(), False))


def tried(attempt: Attempt, registry: Registry, allow_code: bool = False) -> Finding:
    """Open a network, ask it, and return what came of it."""
    model, target, images, labels = attempt
    try:
        opened = open_model(model, target, registry, allow_code=allow_code)
        try:
            known = known_images(opened, images)
            asked = images if known is None else images[known]
            answers = check_answers(model, opened, asked, target.classes)
            again = check_answers(model, opened, asked, target.classes)
            if not torch.allclose(answers.double(), again.double(), rtol=SAME, atol=SAME):
                raise model.fault("output", "it answers differently when it is asked the same images again")
        finally:
            close(opened)
    except BenchError as error:
        return Finding(model, target, error=str(error))
    if labels is None:
        return Finding(model, target, len(answers))
    labels = labels if known is None else labels[known]
    found = answers if answers.dim() == 1 else weakened(answers, Access.LOGITS, Access.LABELS)
    return Finding(model, target, len(labels), True, int((found == labels).sum()))
