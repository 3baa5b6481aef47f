"""What is done in a process of its own: open the suspect, ask it, score it. Only this imports torch."""

import tempfile
import time
from collections.abc import Callable, Container, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind
from bench.execution.machine import machine
from bench.models.answers import Table
from bench.models.content import verified
from bench.models.description import Description
from bench.models.endpoint import HttpNetwork
from bench.models.kinds import ModelFormat
from bench.models.opening import Target, close, open_model
from bench.models.outputs import fault
from bench.registry.discovery import load_registry
from bench.registry.imports import module_of
from bench.registry.registry import Registry
from bench.sandbox.logs import Log
from bench.verification import commitment_files, evidence_files, known_networks
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.endpoint_finding import endpoint_finding
from bench.verification.judgement import without_source
from bench.verification.request import BENCH, Request, Session, version_of
from bench.verification.schema import MethodResult, Suspect
from bench.verification.scoring import Recorder, code_finding, component, only_answers, scored, unbridged
from bench.verification.suspect_checks import checked, queries_needed

RUNTIMES = {
    ModelFormat.ONNX: "onnxruntime",
    ModelFormat.SAFETENSORS: "torch",
    ModelFormat.TORCHSCRIPT: "torch",
    ModelFormat.PT2: "torch",
}
"""The library that runs a format."""
BEAT = 10.0
"""Seconds between two reports while queries are written: to compress large images may take longer than the limit."""


def ask_and_score(send: Callable[[Any], None], described: Description, request: Request, threads: int) -> None:
    """Send the number of answered images as they come, and the `Session` at the end."""
    started = time.perf_counter()
    whole = commitment_files.read(request.commitment)
    folder = whole.for_suspect(described.trained_on)
    registry = _registry(folder, described, request)
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
        unasked = {
            m.name: text
            for m in methods
            if (text := unbridged(m, model, same_labels) or without_source(folder, request.alpha, m.name))
        }
        _check_budget(folder, recorder, unasked)
        findings, right, asked = checked(folder, recorder, target, registry, same_labels)
        findings += known_networks.findings(model.sha256, whole)
        if code := code_finding(registry, folder.commitment.methods):
            findings.append(code)
        results = []
        log = Log(Path(tempfile.gettempdir()) / "plugins.log")
        for method, committed in zip(methods, folder.commitment.methods, strict=True):
            if method.name in unasked:
                results.append(MethodResult(method=method.name, queries=0, reason=unasked[method.name]))
                continue
            fingerprints = folder.fingerprints(method.name)
            results.append(scored(method, committed, fingerprints, recorder, model.sha256, log))
    finally:
        close(opened)
    if isinstance(answers.run, HttpNetwork):
        findings.append(endpoint_finding(answers.run.record))
    _write_queries(recorder, place, folder.commitment.data.shape, send)
    suspect = Suspect(
        name=model.name,
        description=model.without_paths().plain(),
        digest=model.sha256,
        output=model.output,
        accuracy=right / asked if asked else None,
        asked=asked,
    )
    send(Session(suspect, results, findings, recorder.queries, time.perf_counter() - started, _made(model, threads)))


def _write_queries(recorder: Recorder, place: Path, shape: tuple[int, int, int], send: Callable[[int], object]) -> None:
    """Write the images that were asked, and send their number now and then: this process does not hang."""
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(evidence_files.write_queries, place, recorder.images, shape)
        while not wait([writing], BEAT).done:
            send(recorder.queries)
        writing.result()


def _registry(folder: CommitmentFolder, model: Description, request: Request) -> Registry:
    """Return a registry with what is needed: of the plugins whose text has such a name, else of all."""
    needed = {ComponentKind.METHOD: {m.name for m in folder.commitment.methods}}
    needed |= {ComponentKind.ARCHITECTURE: {model.architecture}, ComponentKind.DATASET: {model.trained_on}}
    words = tuple(f'"{name}"'.encode() for names in needed.values() for name in names if name)
    used = [entry for entry in entry_points(group="bench") if _mentions(module_of(entry), words)]
    registry = load_registry(request.plugins, used, request.data)
    known = (not name or name in registry.names(kind) for kind, names in needed.items() for name in names)
    return registry if all(known) else load_registry(request.plugins, data=request.data)


def _mentions(module: str, words: Sequence[bytes]) -> bool:
    """Return True if the file of a module may have one of some words."""
    try:
        found = find_spec(module)
        text = Path(found.origin).read_bytes() if found and found.origin else b""
    except (ImportError, OSError, ValueError):
        return True
    return any(word in text for word in words)


def target_of(model: Description, folder: CommitmentFolder, registry: Registry) -> tuple[Target, bool]:
    """Return what a suspect answers about, and True if its labels are those of the commitment's dataset.

    One of another dataset gets images of the size there, as the innocents of that dataset did.
    """
    data = folder.commitment.data
    if not model.trained_on or model.trained_on == data.name:
        return Target(data.classes, data.shape, tuple(data.label_names)), True
    try:
        dataset = registry.get(ComponentKind.DATASET, model.trained_on)
    except BenchError as error:
        raise model.fault("trained_on", str(error)) from None
    _, height, width = dataset.shape
    target = Target(dataset.num_classes, (data.shape[0], height, width), tuple(dataset.label_names))
    return target, (dataset.label_space or dataset.name) == data.label_space


def _check_budget(folder: CommitmentFolder, recorder: Recorder, unasked: Container[str]) -> None:
    """Raise BenchError if a suspect may be asked fewer images than checks and methods need."""
    checks = queries_needed(folder, recorder)
    needed = checks + sum(m.queries for m in folder.commitment.methods if m.name not in unasked)
    if recorder.limit is not None and recorder.limit < needed:
        text = f"--max-queries {recorder.limit} is too small: this commitment needs up to {needed} queries"
        raise BenchError(f"{text}, of which {checks} are for checks")


def _made(model: Description, threads: int) -> dict[str, Any]:
    """Return the versions and the machine of a session, and what runs the suspect.

    Methods run with one thread, and so does a suspect in torch while it answers them.
    """
    library = RUNTIMES.get(model.format, "")
    own = "" if model.format == ModelFormat.SAFETENSORS else f", {threads} threads"
    return {
        "runtime": f"{library} {version_of(library)}{own}" if library else str(model.format),
        "threads": 1,
        "machine": machine("cpu"),
        "versions": {name: version_of(name) for name in (BENCH, "torch", "numpy")},
    }
