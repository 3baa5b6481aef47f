"""Compute a verdict again from a folder of evidence alone, and name what was changed. Nothing here imports torch."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import ValidationError, convert, structs, to_builtins

from bench.core.errors import BenchError, first_line, printable
from bench.models.description import Description, label_order
from bench.models.image_digest import DIGITS, array_digests
from bench.models.kinds import ModelOutput
from bench.verification import evidence_files, known_networks, manifest
from bench.verification.evidence_files import ANSWERS, EVIDENCE, QUERIES, EvidenceFolder, texts
from bench.verification.judgement import accuracy_finding, damage_finding, judge
from bench.verification.kinds import FindingKind
from bench.verification.request import BENCH, version_of

CLOSE = 1e-9
"""Largest relative difference of a number that is computed again."""


def replay(folder: str | Path) -> EvidenceFolder:
    """Read a folder of evidence and compute everything again that follows from its files; return it.

    BenchError, one line, names the file that was changed, and the answer, the query, the score of an innocent or the
    figure, where that can be known: also after the manifest was written again. Another version of bench may compute a
    figure otherwise: then the line names both. What cannot be known here, whether the scores of the suspect follow from
    its answers and the fingerprints from the source, `bench judge` computes.
    """
    found = evidence_files.read(folder)
    if found.commitment.digest != found.evidence.commitment:
        raise _changed(found, EVIDENCE, "it is about another commitment than the one in the folder")
    _check_queries(found)
    _check_answers(found)
    _check_files(found)
    try:
        _check_suspect(found)
        _check_judgement(found)
    except BenchError as error:
        raise BenchError(f"{error}{_other_version(found)}") from None
    manifest.check(found.folder, manifest.read(found.folder), manifest.MANIFEST)
    return found


def made_by(found: EvidenceFolder) -> object:
    """Return the version of bench that made the evidence; None if it does not say."""
    versions = found.evidence.made.get("versions")
    return versions.get(BENCH) if isinstance(versions, Mapping) else None


def _other_version(found: EvidenceFolder) -> str:
    """Return that another version of bench made the evidence, the end of a message; empty if it was this one."""
    made, here = made_by(found), version_of(BENCH)
    if made in (None, here):
        return ""
    text = f", unless bench {made}, which made it, computes that otherwise than {here} here: replay it with {made}"
    return printable(text)


def _changed(found: EvidenceFolder, name: str, text: str) -> BenchError:
    return BenchError(printable(f"{found.folder / name} was changed: {text}"))


def _check_queries(found: EvidenceFolder) -> None:
    images, digests = found.queries()
    for number, (digest, computed) in enumerate(zip(digests, array_digests(images), strict=True)):
        if digest != computed:
            raise _changed(found, QUERIES, f"image {number}, which was {digest}, is another one")
    if len({*digests}) < len(digests):
        raise _changed(found, QUERIES, "an image is there twice")


def _check_answers(found: EvidenceFolder) -> None:
    path, recorded = found.folder / ANSWERS, texts(found.arrays["answers"])
    rows = list(evidence_files.answer_digests(path).items())
    for number, ((key, digest), before) in enumerate(zip(rows, recorded, strict=False), 2):
        if digest != before:
            raise _changed(found, ANSWERS, f"line {number}, the answer to the image {key}")
    journal = found.answers
    if not len(rows) == len(journal.keys) == len(recorded) == found.evidence.queries:
        text = f"it has {len(journal.keys)} answers, but {found.evidence.queries} questions were asked"
        raise _changed(found, ANSWERS, text)
    asked, answered = {*found.queries()[1]}, {key[:DIGITS] for key in journal.keys}
    if asked != answered:
        text = f"it has no answer to the image {min(asked - answered)}" if asked - answered else ""
        raise _changed(found, ANSWERS, text or f"{QUERIES} has no image {min(answered - asked)}")
    if journal.output and journal.output != found.evidence.suspect.output:
        raise _changed(found, EVIDENCE, f"the suspect's output is not {journal.output}, the kind of its answers")


def _check_files(found: EvidenceFolder) -> None:
    recorded = found.evidence.made.get("files")
    for name in (ANSWERS, QUERIES):
        if not isinstance(recorded, Mapping) or recorded.get(name) != manifest.digest(found.folder / name):
            raise _changed(found, name, f"its digest is not that of {EVIDENCE}")


def _check_suspect(found: EvidenceFolder) -> None:
    """Raise BenchError if a suspect's accuracy, or a finding about it, does not follow from its answers and digest."""
    _check_identity(found)
    suspect, checks = found.evidence.suspect, found.commitment.checks()
    trained_on = suspect.description.get("trained_on") or found.commitment.commitment.data.name
    kinds = {f.kind for f in found.evidence.findings}
    other = trained_on != found.commitment.commitment.data.name
    if not suspect.asked and other and FindingKind.ACCURACY not in kinds:  # the same labels may be of another dataset
        if FindingKind.LABEL_SPACE not in kinds:
            raise _changed(found, EVIDENCE, f"the finding that its labels are those of {trained_on} is missing")
        return
    rows = found.answers.rows
    known = {i: rows[digest] for i, digest in enumerate(array_digests(checks.images)) if digest in rows}
    labels = checks.labels[list(known)]
    right = int((_labels(found, list(known.values())) == labels).sum()) if known else 0
    accuracy = right / len(known) if known else None
    if len(known) != suspect.asked or not _close(suspect.accuracy, accuracy):
        text = f"the suspect's accuracy is {right} of {len(known)} check images by its answers"
        raise _changed(found, EVIDENCE, text)
    _check_accuracy(found, right, Counter(labels.tolist()))


def _check_accuracy(found: EvidenceFolder, right: int, labels: Mapping[int, int]) -> None:
    evidence, asked = found.evidence, sum(labels.values())
    recorded = [f for f in evidence.findings if f.kind == FindingKind.ACCURACY]
    accuracies = [row.accuracy for row in found.commitment.nulls if row.accuracy is not None]
    expected = accuracy_finding(right, asked, labels, accuracies)
    if not _close(to_builtins(recorded), to_builtins([expected] if expected else [])):
        raise _changed(found, EVIDENCE, "the finding about the suspect's accuracy does not follow from its answers")
    damage = [f for f in evidence.findings if f.kind == FindingKind.DAMAGE]  # older evidence has none
    if damage and not _close(to_builtins(damage), to_builtins([damage_finding(right, asked, accuracies)])):
        raise _changed(found, EVIDENCE, "the finding about damage does not follow from the suspect's answers")


def _check_identity(found: EvidenceFolder) -> None:
    """Raise BenchError if it is not said that a suspect is an innocent, or if it is said of another one."""
    recorded = [f for f in found.evidence.findings if f.kind == FindingKind.IDENTITY]
    whole = replace(found.commitment, dataset="")  # an innocent of any dataset is none to be judged
    expected = known_networks.findings(found.evidence.suspect.digest, whole)
    needed = recorded or any(f.blocks for f in expected)  # older evidence says nothing of sources and copies
    if needed and not _close(to_builtins(recorded), to_builtins(expected)):
        raise _changed(found, EVIDENCE, "which network the suspect is does not follow from its digest")


def _labels(found: EvidenceFolder, rows: list[int]) -> "np.ndarray[Any, Any]":
    """Return the labels of some answers, in the dataset's order."""
    data, answers = found.commitment.commitment.data, found.answers.answers[rows].astype(np.float32)
    try:
        model = convert(found.evidence.suspect.description, Description)
    except ValidationError as error:
        raise _changed(found, EVIDENCE, f"the suspect's description is none: {first_line(error)}") from None
    order = np.array(label_order(model, data.classes, data.label_names), dtype=int)
    if model.output == ModelOutput.LABELS:
        if not np.isin(answers[:, 0], np.arange(data.classes)).all():
            raise _changed(found, ANSWERS, f"an answer is none of the labels 0 to {data.classes - 1}")
        labels = answers[:, 0].astype(int)
        return order[labels] if len(order) else labels
    if answers.shape[1] != data.classes:
        raise _changed(
            found, ANSWERS, f"its answers have {answers.shape[1]} numbers, and there are {data.classes} labels"
        )
    if model.output == ModelOutput.LOG_PROBABILITIES:
        answers = np.exp(answers)
    return np.asarray((answers[:, order.argsort()] if len(order) else answers).argmax(1))


def _check_judgement(found: EvidenceFolder) -> None:
    evidence = found.evidence
    committed = [m.name for m in found.commitment.commitment.methods]
    if [m.method for m in evidence.judgement.methods] != committed:
        raise _changed(found, EVIDENCE, f"its methods are not those of the commitment, {', '.join(committed)}")
    asked = [
        structs.replace(
            m, score=None, p_value=None, p_unseen=None, adjusted=None, adjusted_unseen=None,
            reason="" if m.draws else m.reason,
        )
        for m in evidence.judgement.methods
    ]  # fmt: skip
    for method, fixed in zip(asked, found.commitment.commitment.methods, strict=True):
        if len(method.draws) != len(fixed.fingerprints) and (method.draws or not method.reason):
            raise _changed(found, EVIDENCE, f"{method.method} has {len(method.draws)} draws")
    computed = judge(found.commitment, evidence.judgement.alpha, asked, evidence.findings)
    if where := _difference(to_builtins(evidence.judgement), to_builtins(computed), "judgement"):
        raise _changed(found, EVIDENCE, where)


def _difference(recorded: Any, computed: Any, path: str) -> str:
    """Return the first place where recorded and computed values differ; empty if there is none."""
    if isinstance(recorded, dict) and isinstance(computed, dict) and recorded.keys() == computed.keys():
        name = f" of {recorded['method']}" if "method" in recorded else ""
        return next((d for k in recorded if (d := _difference(recorded[k], computed[k], f"{k}{name}"))), "")
    if isinstance(recorded, list) and isinstance(computed, list) and len(recorded) == len(computed):
        pairs = zip(recorded, computed, strict=True)
        return next((d for a, b in pairs if (d := _difference(a, b, path))), "")
    return "" if _close(recorded, computed) else f"{path} is {recorded!r:.60}, but {computed!r:.60} follows"


def _close(recorded: Any, computed: Any) -> bool:
    if isinstance(recorded, float) and isinstance(computed, float):
        return math.isclose(recorded, computed, rel_tol=CLOSE, abs_tol=CLOSE)
    if isinstance(recorded, dict) and isinstance(computed, dict) and recorded.keys() == computed.keys():
        return all(_close(recorded[k], computed[k]) for k in recorded)
    if isinstance(recorded, list) and isinstance(computed, list) and len(recorded) == len(computed):
        return all(map(_close, recorded, computed))
    return bool(recorded == computed)
