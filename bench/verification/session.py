"""What is done in a process of its own: open the suspect, ask it, score it. Only this imports torch."""

import tempfile
import time
from collections import Counter
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind
from bench.execution.machine import machine
from bench.models.answers import Table
from bench.models.content import verified
from bench.models.description import Description
from bench.models.kinds import ModelFormat
from bench.models.opening import Target, close, open_model
from bench.models.outputs import fault
from bench.models.preflight import SAME
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.sandbox.logs import Log
from bench.training.answering import weakened
from bench.verification import commitment_files, evidence_files
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.judgement import accuracy_finding
from bench.verification.request import Request
from bench.verification.schema import Finding, MethodResult, Suspect
from bench.verification.scoring import Recorder, component, only_answers, scored

REPEATED = 16
"""Check images that are asked again."""
RUNTIMES = {
    ModelFormat.ONNX: "onnxruntime",
    ModelFormat.SAFETENSORS: "torch",
    ModelFormat.TORCHSCRIPT: "torch",
    ModelFormat.PT2: "torch",
}
"""The library that runs a format."""


class Session(NamedTuple):
    """What came of a session."""

    suspect: Suspect
    asked: list[MethodResult]
    findings: list[Finding]
    queries: int
    seconds: float
    made: dict[str, Any]


def ask_and_score(send: Callable[[Any], None], described: Description, request: Request, threads: int) -> None:
    """Send the number of answered images as they come, and the `Session` at the end."""
    started = time.perf_counter()
    folder = commitment_files.read(request.commitment)
    registry = load_registry(request.plugins)
    methods = [component(registry, committed) for committed in folder.commitment.methods]
    model = verified(described)
    target, same_labels = target_of(model, folder, registry)
    opened = open_model(model, target, registry, threads=threads, allow_code=request.allow_code)
    try:
        answers = only_answers(model, opened, target)
        if isinstance(answers.run, Table) and (wrong := fault(answers.run.answers, model.output, target.classes)):
            raise model.fault("output", wrong)
        place = request.out
        evidence_files.begin(place, model, folder.digest, request.alpha)
        recorder = Recorder(answers, place / evidence_files.ANSWERS, request.max_queries, send)
        _check_budget(folder, recorder, answers.run)
        findings, right, asked = _checked(model, folder, recorder, same_labels)
        results = []
        log = Log(Path(tempfile.gettempdir()) / "plugins.log")
        for method, committed in zip(methods, folder.commitment.methods, strict=True):
            if not same_labels and not method.any_label_space:
                text = f"the suspect's labels are those of {model.trained_on}, and {method.name} cannot bridge them"
                results.append(MethodResult(method=method.name, queries=0, reason=text))
                continue
            fingerprints = folder.fingerprints(method.name)
            results.append(scored(method, committed, fingerprints, recorder, model.sha256, log, threads))
    finally:
        close(opened)
    evidence_files.write_queries(place, recorder.images, folder.commitment.data.shape)
    suspect = Suspect(
        name=model.name,
        description=model.without_paths().plain(),
        digest=model.sha256,
        output=model.output,
        accuracy=right / asked if asked else None,
        asked=asked,
    )
    send(Session(suspect, results, findings, recorder.queries, time.perf_counter() - started, _made(model, threads)))


def target_of(model: Description, folder: CommitmentFolder, registry: Registry) -> tuple[Target, bool]:
    """Return what a suspect answers about, and True if its labels are those of the commitment's dataset."""
    data = folder.commitment.data
    if not model.trained_on or model.trained_on == data.name:
        return Target(data.classes, data.shape, tuple(data.label_names)), True
    try:
        dataset = registry.get(ComponentKind.DATASET, model.trained_on)
    except BenchError as error:
        raise model.fault("trained_on", str(error)) from None
    target = Target(dataset.num_classes, data.shape, tuple(dataset.label_names))
    return target, (dataset.label_space or dataset.name) == data.label_space


def _check_budget(folder: CommitmentFolder, recorder: Recorder, run: object) -> None:
    """Raise BenchError if a suspect may be asked fewer images than checks and methods need."""
    checks = len(folder.checks().images)
    needed = sum(m.queries for m in folder.commitment.methods)
    needed += 0 if isinstance(run, Table) else checks + min(REPEATED, checks)
    if recorder.limit is not None and recorder.limit < needed:
        text = f"--max-queries {recorder.limit} is too small: this commitment needs up to {needed} queries"
        raise BenchError(f"{text}, of which {checks} are for its check images")


def _checked(
    model: Description, folder: CommitmentFolder, recorder: Recorder, same_labels: bool
) -> tuple[list[Finding], int, int]:
    """Ask the check images; return what was noticed, how many were answered rightly, and how many were asked."""
    checks = folder.checks()
    images, labels = torch.from_numpy(checks.images), torch.from_numpy(checks.labels)
    table = recorder.opened.run if isinstance(recorder.opened.run, Table) else None
    if table:
        known = torch.tensor([table.has(image[None]) for image in images], dtype=torch.bool)
        images, labels = images[known], labels[known]
    else:
        _check_repeated(model, recorder, images[:REPEATED])
    if not same_labels:
        return [], 0, 0
    answers = recorder.answer(images)
    found = answers if answers.dim() == 1 else weakened(answers, Access.LOGITS, Access.LABELS)
    right = int((found == labels).sum())
    accuracies = [row.accuracy for row in folder.nulls if row.accuracy is not None]
    finding = accuracy_finding(right, len(labels), Counter(labels.tolist()), accuracies)
    return [finding] if finding else [], right, len(labels)


def _check_repeated(model: Description, recorder: Recorder, images: Tensor) -> None:
    """Raise BenchError if a suspect answers differently when it is asked the same images again."""
    first, again = recorder.repeated(images), recorder.repeated(images)
    if not torch.allclose(first.double(), again.double(), rtol=SAME, atol=SAME):
        raise model.fault("output", "it answers differently when it is asked the same images again")


def _made(model: Description, threads: int) -> dict[str, Any]:
    """Return the versions and the machine of a session, and what runs the suspect."""
    library = RUNTIMES.get(model.format, "")
    return {
        "runtime": f"{library} {_version(library)}" if library else str(model.format),
        "threads": threads,
        "machine": machine("cpu"),
        "versions": {name: _version(name) for name in ("fingerprint-bench", "torch", "numpy")},
    }


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"
