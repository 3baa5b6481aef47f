"""The checks of a suspect before it is scored: do its answers mean what its description states?"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from bench.core.kinds import Access
from bench.models.answers import Table
from bench.models.description import Description
from bench.models.granularity import granularity
from bench.models.kinds import ModelFormat, Rounding
from bench.models.network import NCHW_ONLY, Described
from bench.models.opening import DescribedAnswers, Target, open_model
from bench.models.outputs import converted
from bench.models.preflight import way_out
from bench.models.preprocessing import Preprocessing
from bench.registry.registry import Registry
from bench.training.answering import weakened
from bench.verification import preprocessing_check, stability
from bench.verification.check_images import Checks
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.judgement import accuracy_finding, damage_finding
from bench.verification.kinds import FindingKind
from bench.verification.null_datasets import datasets
from bench.verification.schema import Finding
from bench.verification.scoring import Recorder, only_answers

Ask = Callable[[Tensor], Tensor]


class Checked(NamedTuple):
    """What was noticed, and how many of the labelled images that were asked have the right answer."""

    findings: list[Finding]
    right: int
    asked: int


def queries_needed(folder: CommitmentFolder, recorder: Recorder) -> int:
    """Return the largest number of queries of the checks, of a suspect that works as described."""
    if isinstance(recorder.opened.run, Table):
        return len(folder.checks().images)
    needed = len(folder.checks().images) + stability.QUERIES
    if recorder.opened.model.format == ModelFormat.HTTP:
        from bench.verification.detectors import MOST_QUERIES

        needed += MOST_QUERIES
    return needed


def checked(
    folder: CommitmentFolder, recorder: Recorder, target: Target, registry: Registry, same_labels: bool
) -> Checked:
    """Ask a suspect the check images, and what else shows how it is asked; fix the number of images of a batch.

    BenchError if it answers at random. A table is not asked again, and nothing is on the way to a file.
    """
    checks, model = folder.checks(), recorder.opened.model
    run, found = recorder.opened.run, []
    if isinstance(run, Table):
        known = torch.tensor([run.has(image[None]) for image in torch.from_numpy(checks.images)]).numpy().astype(bool)
        checks = replace(checks, **{n: v[known] for n, v in vars(checks).items() if len(v) == len(known)})
        from bench.verification.transports import of_answers

        found += of_answers(converted(run.answers, model, recorder.opened.order))
    else:
        found += _stable(model, recorder, torch.from_numpy(checks.images))
    if model.trained_on not in ("", folder.commitment.data.name):
        start = f"its labels are those of {model.trained_on}: its accuracy is not known, and"
        if same_labels:
            start = f"it was trained on {model.trained_on}, which has the same labels:"
        found.append(Finding(kind=FindingKind.LABEL_SPACE, text=f"{start} {_compared(folder, model)}"))
    if not same_labels or not len(checks.labels):
        found += _on_the_way(folder, recorder)
        return Checked(found + _accuracy(folder, checks, 0, same_labels), 0, 0)
    right = int((_labels(recorder.answer(torch.from_numpy(checks.images))) == torch.from_numpy(checks.labels)).sum())
    opener = Opener(recorder, target, registry)
    others = preprocessing_check.findings(model, opener, checks)
    found += [f for f in others if f.kind != FindingKind.ACCURACY]  # that has more images here
    found += _on_the_way(folder, recorder)
    return Checked(found + _accuracy(folder, checks, right, same_labels), right, len(checks.labels))


def _on_the_way(folder: CommitmentFolder, recorder: Recorder) -> list[Finding]:
    """Return what happens to images and answers on the way to an endpoint, and how a file rounds its answers.

    Its labels do not matter. How a table does is known before.
    """
    images, form = folder.checks().images, recorder.opened.model.format
    if form == ModelFormat.ANSWERS or not len(images):
        return []
    if form == ModelFormat.HTTP:
        from bench.verification.transports import detected  # it imports Pillow

        return detected(recorder.answer, folder.checks())
    answers = recorder.answer(torch.from_numpy(images))
    if answers.dim() == 1 or granularity(answers.numpy()).kind == Rounding.NONE:
        return []
    from bench.verification.transports import of_answers

    return of_answers(answers)


def _stable(model: Description, recorder: Recorder, images: Tensor) -> list[Finding]:
    """Return what a suspect's answers depend on besides the image, and keep to the batches that this asks for."""
    found = stability.findings(recorder.repeated, images, model.format == ModelFormat.HTTP)
    for finding in found:
        if finding.figures.get("each_time"):
            text = "it answers differently when it is asked the same images again"
            raise model.fault("output", f"{text}: {finding.text}{way_out(model)}")
        if "batch" in finding.figures:
            recorder.batch = int(finding.figures["batch"])
            recorder.whole = recorder.batch > 1  # images alone mean nothing
    return found


def _accuracy(folder: CommitmentFolder, checks: Checks, right: int, same_labels: bool) -> list[Finding]:
    accuracies = [row.accuracy for row in folder.nulls if row.accuracy is not None]
    asked = len(checks.labels)
    finding = accuracy_finding(right, asked, Counter(checks.labels.tolist()), accuracies)
    finding = finding or damage_finding(right, asked, accuracies)
    return [finding] if finding and same_labels else []


def _compared(folder: CommitmentFolder, model: Description) -> str:
    """Return with which innocents a suspect of another dataset is compared."""
    committed = folder.commitment
    if model.trained_on in datasets(folder.nulls, committed.spec, committed.data.name).values():
        return f"it is compared with the innocents of {model.trained_on}"
    return f"innocents of {committed.data.name} say something about it only if independent networks of both score alike"


def _labels(answers: Tensor) -> Tensor:
    return answers if answers.dim() == 1 else weakened(answers, Access.LOGITS, Access.LABELS)


class Opener:
    """Returns how a suspect is asked if it were as another description states; its answers are recorded, too."""

    def __init__(self, recorder: Recorder, target: Target, registry: Registry) -> None:
        self.recorder, self.target, self.registry = recorder, target, registry

    def __call__(self, model: Description) -> Ask:
        """Return the function that asks; BenchError if the suspect cannot be so."""
        declared = self.recorder.opened
        if model == declared.model:
            return self.recorder.answer
        if model.format == ModelFormat.SAFETENSORS and model.layout == "NHWC":  # also where answers are recorded ones
            raise model.fault("layout", NCHW_ONLY)
        if isinstance(declared.run, Described):  # this network takes the steps itself
            other = only_answers(model, open_model(model, self.target, self.registry), self.target)
        else:
            steps = Preprocessing.of(model, self.target.shape)
            other = DescribedAnswers(model, declared.run, steps, self.target)
        return lambda images: self.recorder.repeated(images, other)
