"""Report on described networks, a line for each: what `bench models check` prints."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bench.api.components import Dataset
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind
from bench.datasets.files import absent
from bench.datasets.partition import read as read_part
from bench.models.content import verified
from bench.models.description import Description
from bench.models.kinds import ModelFormat
from bench.models.opening import Target
from bench.models.preflight import Attempt, Finding, findings
from bench.registry.registry import Registry

ASKED = 10
"""Images that each network is asked."""
DIGITS = 16


def report(
    models: Sequence[Description], dataset: str, registry: Registry, root: Path, allow_code: bool
) -> Iterator[tuple[str, bool]]:
    """Yield a line for each network, and whether it is usable; ten test images are asked, or noise without data.

    Of a table, all test images that it has are asked. `dataset` is that of the networks whose description names none.
    """
    for finding in findings(_attempts(models, dataset, registry, root), registry, allow_code):
        yield finding.error or line(finding), not finding.error


def _attempts(
    models: Sequence[Description], dataset: str, registry: Registry, root: Path
) -> Iterator[Attempt | Finding]:
    """Yield how each network is to be tried; what is wrong before that, as a finding."""
    images: dict[str, tuple[Target, Tensor | None, Tensor | None]] = {}
    for model in models:
        name = model.trained_on or dataset
        try:
            if name not in images:
                images[name] = _test_images(_dataset(model, name, registry), root)
            found = verified(model)
        except BenchError as error:
            yield Finding(model, Target(0, (0, 0, 0)), error=str(error))
            continue
        target, asked, labels = images[name]
        if asked is None or labels is None:
            yield Attempt.noise(found, target)
            continue
        if model.format != ModelFormat.ANSWERS:
            chosen = torch.linspace(0, len(labels) - 1, ASKED).long()
            asked, labels = asked[chosen], labels[chosen]
        yield Attempt(found, target, asked, labels)


def line(finding: Finding) -> str:
    """Return what came of trying a network in one line."""
    model, target = finding.model, finding.target
    size = model.size or target.shape[1:]
    shape = (*size, target.shape[0]) if model.layout == "NHWC" else (target.shape[0], *size)
    accuracy = f"{finding.right} of {finding.asked} right" if finding.asked else "no test image among its answers"
    if not finding.labelled:
        accuracy = "accuracy unknown (no data)"
    table = model.format == ModelFormat.ANSWERS
    wants = "a table" if table else f"{'x'.join(map(str, shape))} {model.layout} {model.range}"
    content = model.url or f"sha256 {model.sha256[:DIGITS]}"
    found = (
        f"{model.name}: {model.role}, {model.format}, {wants} -> {target.classes} {model.output}, {accuracy}, {content}"
    )
    return f"{found}: {finding.batch}" if finding.batch else found


def _dataset(model: Description, name: str, registry: Registry) -> Dataset:
    if not name:
        raise model.fault("trained_on", "it names no dataset: name one here, or with --datasets")
    try:
        found: Dataset = registry.get(ComponentKind.DATASET, name)
    except BenchError as error:
        raise model.fault("trained_on", str(error)) from None
    return found


def _test_images(dataset: Dataset, root: Path) -> tuple[Target, Tensor | None, Tensor | None]:
    target = Target(dataset.num_classes, tuple(dataset.shape), tuple(dataset.label_names))
    if absent(dataset, root):
        return target, None, None
    split = read_part(dataset, root, False)
    return target, split.images, split.labels
