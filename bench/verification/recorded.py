"""The recorded answers of a suspect as one that answers nothing else: what its checks and methods find again."""

import tempfile
from pathlib import Path

from msgspec import ValidationError, convert
from torch import Tensor

from bench.api.components import Method
from bench.core.errors import BenchError, first_line
from bench.models.answers import Table
from bench.models.description import Description
from bench.models.kinds import ModelFormat
from bench.models.opening import DescribedAnswers
from bench.registry.registry import Registry
from bench.sandbox.logs import Log
from bench.verification.evidence_files import ANSWERS, EvidenceFolder
from bench.verification.judgement import without_source
from bench.verification.kinds import FindingKind
from bench.verification.regeneration import threads_of
from bench.verification.schema import CommittedMethod, Finding, MethodResult
from bench.verification.scoring import Recorder, scored, unbridged
from bench.verification.session import target_of
from bench.verification.suspect_checks import checked


class Unrecorded(BenchError):
    """Images are asked to which the recorded answers have none: whether the suspect was asked is not known."""


class RecordedSuspect:
    """A suspect whose answers are those of a folder of evidence; BenchError if its description or dataset is unknown.

    `registry` has the installed components.
    """

    def __init__(self, found: EvidenceFolder, registry: Registry) -> None:
        self.found, self.registry = found, registry
        try:
            self.model = convert(found.evidence.suspect.description, Description)
        except ValidationError as error:
            raise BenchError(f"the suspect's description is none: {first_line(error)}") from None
        self.target, self.same_labels = target_of(self.model, found.commitment, registry)

    def result(self, committed: CommittedMethod, method: Method) -> MethodResult:
        """Compute the score of each draw of a method, or the reason why there is none.

        Unrecorded if the method asks what was not asked.
        """
        reason, judgement = unbridged(method, self.model, self.same_labels), self.found.evidence.judgement
        if not any(one.draws for one in judgement.methods if one.method == method.name):  # an earlier version has some
            reason = reason or without_source(self.found.commitment, judgement.alpha, method.name)
        if reason:
            return MethodResult(method=method.name, queries=0, reason=reason)
        fingerprints, suspect = self.found.commitment.fingerprints(committed.name), self.found.evidence.suspect.digest
        with tempfile.TemporaryDirectory(prefix="bench-judge-") as place:
            log, threads = Log(Path(place) / "plugins.log"), threads_of(self.found.evidence.made)
            return scored(method, committed, fingerprints, self._recorder(), suspect, log, threads)

    def findings(self) -> list[Finding]:
        """Return what the checks find; BenchError if they would ask what was not asked."""
        recorder = self._recorder(self.model.format == ModelFormat.ANSWERS)
        return checked(self.found.commitment, recorder, self.target, self.registry, self.same_labels).findings

    def _recorder(self, table: bool = False) -> Recorder:
        path = self.found.folder / ANSWERS
        run = Table(self.model, path.read_bytes()) if table else _refuse
        return Recorder(DescribedAnswers(self.model, run, lambda images: images, self.target), path, None)


def other_findings(recorded: list[Finding], again: list[Finding]) -> str:
    """Return which finding of the checks is recorded, but not found again, or the reverse; empty: none."""
    before, now = ({_mark(f): f.text for f in found if _matters(f)} for found in (recorded, again))
    if added := before.keys() - now.keys():
        return f"the evidence has a finding that does not follow from the recorded answers: {before[min(added)]}"
    if missing := now.keys() - before.keys():
        return f"the evidence lacks a finding that follows from the recorded answers: {now[min(missing)]}"
    return ""


def _matters(finding: Finding) -> bool:
    """Return False for what follows from the digest, and for what answers do not show, if it blocks nothing."""
    if finding.kind in (FindingKind.ENDPOINT, FindingKind.CODE):
        return bool(finding.blocks) or "transport" in finding.figures
    return finding.kind != FindingKind.IDENTITY


def _mark(finding: Finding) -> tuple[str, ...]:
    return (finding.kind, str(finding.figures.get("transport", "")), *sorted(finding.blocks))


def _refuse(images: Tensor) -> Tensor:
    raise Unrecorded(f"{len(images)} images have no recorded answer")
