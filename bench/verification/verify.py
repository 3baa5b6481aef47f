"""Judge one suspect: its session in a process of its own, then the judgement, then the folder of evidence."""

import os
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime

from bench.core.hardware import cores
from bench.models.description import Description, read
from bench.sandbox.supervised_process import Died, SupervisedProcess
from bench.verification import commitment_files, evidence_files
from bench.verification.evidence_files import EvidenceFolder
from bench.verification.judgement import judge
from bench.verification.request import Request, check, chosen
from bench.verification.schema import FORMAT, Evidence
from bench.verification.signing import Signer

LIMIT = 120.0
"""Seconds that a suspect may take to be opened, or to answer one batch."""


def verify(request: Request, report: Callable[[int], object] = lambda _: None) -> EvidenceFolder:
    """Ask a suspect, judge it, and write the evidence; `report` gets the number of answers as they come.

    What an interrupted run has asked is not asked again. BenchError, in one line, for a suspect that cannot be judged
    as described: then nothing is left behind.
    """
    model = chosen(read(request.models), request.suspect)
    check(request)
    signer = Signer(request.sign) if request.sign else None
    with evidence_files.working(request.out, keep=False):
        process = SupervisedProcess(LIMIT)
        try:
            return _verified(process, model, request, report, signer)
        except Died as error:
            raise model.fault("file", f"it {error} when it was asked") from None
        finally:
            process.close()


def _verified(
    process: SupervisedProcess,
    model: Description,
    request: Request,
    report: Callable[[int], object],
    signer: Signer | None,
) -> EvidenceFolder:
    received = process.submit(_ask, model, request, cores())
    commitment = commitment_files.read(request.commitment)
    for sent in received:
        if isinstance(sent, int):
            report(sent)
            continue
        suspect, asked, findings, queries, seconds, made = sent
    process.connection.close()  # it ends while the rest is written
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


def _ask(send: Callable[[object], None], model: Description, request: Request, threads: int) -> None:
    """Ask and score a suspect; the module that does it imports torch, which the process that judges does not need."""
    os.environ["TMPDIR"] = tempfile.gettempdir()  # the parent removes it: onnxruntime leaves a file `.ses` there
    from bench.verification.session import ask_and_score

    ask_and_score(send, model, request, threads)
