"""Judge one suspect: its session in a process of its own, then the judgement, then the folder of evidence."""

from collections.abc import Callable
from datetime import UTC, datetime

from bench.core.hardware import cores
from bench.models.description import Description, read
from bench.models.kinds import ModelFormat
from bench.sandbox.supervised_process import Died
from bench.verification import commitment_files, evidence_files
from bench.verification.child import Child
from bench.verification.evidence_files import EvidenceFolder
from bench.verification.judgement import judge
from bench.verification.request import Request, check, chosen
from bench.verification.schema import FORMAT, Evidence
from bench.verification.signing import Signer


def verify(request: Request, child: Child, report: Callable[[int], object] = lambda _: None) -> EvidenceFolder:
    """Ask a suspect, judge it, and write the evidence; `report` gets the number of answers as they come.

    The suspect is opened in the `child`. What an interrupted run has asked is not asked again. BenchError, in one line,
    for a suspect that cannot be judged as described: then nothing is left behind.
    """
    model = chosen(read(request.models), request.suspect)
    check(request)
    signer = Signer(request.sign) if request.sign else None
    remote = model.format == ModelFormat.HTTP  # its answers were paid for
    with evidence_files.working(request.out, keep=remote):
        try:
            return _verified(child, model, request, report, signer)
        except Died as error:
            child.end()
            raise model.fault("url" if remote else "file", f"it {error} when it was asked") from None


def _verified(
    child: Child,
    model: Description,
    request: Request,
    report: Callable[[int], object],
    signer: Signer | None,
) -> EvidenceFolder:
    received = child.ask(model, request, cores())
    commitment = commitment_files.read(request.commitment).for_suspect(model.trained_on)
    for sent in received:
        if isinstance(sent, int):
            report(sent)
            continue
        suspect, asked, findings, queries, seconds, made = sent
    child.end()
    evidence = Evidence(
        format=FORMAT,
        commitment=commitment.digest,
        suspect=suspect,
        judgement=judge(commitment, request.alpha, asked, findings),
        findings=findings,
        queries=queries,
        seconds=seconds,
        made={"time": datetime.now(UTC).isoformat(timespec="seconds"), **made},
    )
    return evidence_files.finish(request.out, evidence, commitment, signer)
