"""Open described networks and ask each some images, before anything is computed.

What another library parses and runs (ONNX) is tried in a process of its own, which may die or hang. Programs run in one
anyway.
"""

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.hardware import cores
from bench.core.kinds import Access
from bench.models.description import Description
from bench.models.differences import difference, moved
from bench.models.kinds import ModelFormat
from bench.models.opening import Target, check_answers, close, known_images, open_model
from bench.registry.registry import Registry
from bench.sandbox.supervised_process import Died, SupervisedProcess
from bench.training.answering import Askable, weakened

LIMIT = 120.0
"""Seconds that a network may take to be opened and asked."""
IMAGES = 10
SAME = 1e-3
"""Largest difference, relative and absolute, between two answers to one question."""
ALONE = 2
"""Images that a network is asked once more, each of them alone."""
TRACED = (ModelFormat.TORCHSCRIPT, ModelFormat.PT2)
"""Formats in which the mode of a network is a part of the file; torch exports ONNX in evaluation mode."""
APART = (ModelFormat.ONNX,)
"""Formats that are tried in a process of their own."""
CHUNK = 32
"""Networks that a process gets at once."""
START = 2.0
"""Seconds of trying after which further processes are worth their start."""


class Finding(NamedTuple):
    """What came of trying a network: how many images it was asked and, if `labelled`, answered rightly; or an error.

    `batch` says how answers depend on the other images of a batch, if they do.
    """

    model: Description
    target: Target
    asked: int = 0
    labelled: bool = False
    right: int = 0
    error: str = ""
    batch: str = ""


class Attempt(NamedTuple):
    """A network to be tried, with the images and labels that it is asked; without labels, they are noise."""

    model: Description
    target: Target
    images: Tensor
    labels: Tensor | None = None

    @staticmethod
    def noise(model: Description, target: Target) -> "Attempt":
        """Return an attempt with ten images of noise."""
        random = torch.Generator().manual_seed(0)
        return Attempt(model, target, torch.rand(IMAGES, *target.shape, generator=random))


def preflight(attempts: Iterable[Attempt], registry: Registry, allow_code: bool = False) -> list[str]:
    """Try networks, and return a line for each whose answers depend on the batch.

    BenchError names the first that cannot be opened or does not answer as described, and the field.
    """
    lines = []
    for finding in findings(attempts, registry, allow_code):
        if finding.error:
            raise BenchError(finding.error)
        if finding.batch:
            lines.append(f"model {finding.model.name!r}: {finding.batch}")
    return lines


def findings(
    attempts: Iterable[Attempt | Finding], registry: Registry, allow_code: bool = False, limit: float = LIMIT
) -> Iterator[Finding]:
    """Try networks one after the other, and yield what came of each; a finding that is known already is passed on."""
    with _Processes(limit) as processes:
        for apart, group in itertools.groupby(attempts, lambda a: isinstance(a, Attempt) and a.model.format in APART):
            if apart:
                yield from processes.findings(a for a in group if isinstance(a, Attempt))
            else:
                yield from (a if isinstance(a, Finding) else tried(a, registry, allow_code) for a in group)


class _Processes:
    """Processes that try networks: one, and if that takes longer than START, as many as there are cores."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.first = math.inf
        """When the first network had been tried."""
        self.idle: list[SupervisedProcess] = []
        self.busy: deque[tuple[SupervisedProcess, deque[Attempt], Iterator[Finding]]] = deque()

    def findings(self, attempts: Iterator[Attempt]) -> Iterator[Finding]:
        """Try networks, and yield in their order what came of each; one that kills its process is a finding, too."""
        chunks = iter(lambda: deque(itertools.islice(attempts, CHUNK)), deque())
        while True:
            while len(self.busy) < self._useful() and (chunk := next(chunks, None)):
                self._start(chunk)
            if not self.busy:
                return
            _, chunk, found = self.busy[0]
            try:
                for finding in found:
                    chunk.popleft()
                    self.first = min(self.first, time.monotonic())
                    yield finding
                self.idle.append(self.busy.popleft()[0])
            except Died as error:
                self.busy.popleft()
                attempt = chunk.popleft()
                text = str(attempt.model.fault("file", f"it {error} when it was tried"))
                yield Finding(attempt.model, attempt.target, error=text)
                if chunk:
                    self._start(chunk)
                    self.busy.rotate(1)  # its networks come next

    def _useful(self) -> int:
        return cores() if time.monotonic() - self.first >= START else 1

    def _start(self, chunk: deque[Attempt]) -> None:
        process = self.idle.pop() if self.idle else SupervisedProcess(self.limit)
        self.busy.append((process, chunk, process.submit(_send_tried, tuple(chunk))))

    def __enter__(self) -> "_Processes":
        return self

    def __exit__(self, *error: object) -> None:
        for process in (*self.idle, *(b[0] for b in self.busy)):
            process.close()


def _send_tried(send: Callable[[Any], None], attempts: Iterable[Attempt]) -> None:
    for attempt in attempts:
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
                text = "it answers differently when it is asked the same images again"
                raise model.fault("output", text + way_out(model))
            batch = "" if known is not None or model.format == ModelFormat.HTTP else _alone(attempt, opened, answers)
        finally:
            close(opened)
    except BenchError as error:
        return Finding(model, target, error=str(error))
    if labels is None:
        return Finding(model, target, len(answers), batch=batch)
    labels = labels if known is None else labels[known]
    found = answers if answers.dim() == 1 else weakened(answers, Access.LOGITS, Access.LABELS)
    return Finding(model, target, len(labels), True, int((found == labels).sum()), batch=batch)


def way_out(model: Description) -> str:
    """Return how to export a network well, the end of a message about answers that do not follow from the image."""
    return "; if it was exported in training mode, export it after `eval()`" if model.format in TRACED else ""


def _alone(attempt: Attempt, opened: Askable, answers: Tensor) -> str:
    """Return how the answers to single images differ from those in a batch; an empty text if they do not."""
    model, target, images, _ = attempt
    try:
        alone = torch.cat([check_answers(model, opened, one, target.classes) for one in images[:ALONE].split(1)])
    except BenchError as error:
        return f"it answers to no single image ({error})"
    if not moved(answers[:ALONE], alone):
        return ""
    far = "differently" if alone.dim() == 1 else f"up to {difference(answers[:ALONE], alone):.2g} away"
    return f"answers depend on the batch (an image alone is answered {far})" + way_out(model)
