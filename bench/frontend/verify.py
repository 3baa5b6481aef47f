"""Judge one suspect from Python; the command does the same with the same functions."""

import html
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from bench.core.arguments import path, paths
from bench.core.errors import BenchError
from bench.models.description import read
from bench.verification import evidence_files
from bench.verification.child import Child
from bench.verification.evidence_files import COMMITMENT, REPORT, EvidenceFolder
from bench.verification.kinds import ALPHA, VerdictKind
from bench.verification.manifest import MANIFEST
from bench.verification.replay import replay as replayed
from bench.verification.report_figures import limit, power
from bench.verification.report_words import share
from bench.verification.request import Request, check, chosen
from bench.verification.schema import Judgement, MethodResult
from bench.verification.signing import check as check_signature
from bench.verification.verify import verify as verified

CODES = {VerdictKind.EVIDENCE: 1, VerdictKind.NO_EVIDENCE: 0, VerdictKind.CANNOT_TELL: 3}
"""The exit code of each verdict."""
MEANS = {
    VerdictKind.EVIDENCE: "{suspect} resembles {source} more than independent networks like our innocents usually do.",
    VerdictKind.NO_EVIDENCE: "Too many independent networks may resemble {source} as much as {suspect} does.",
    VerdictKind.CANNOT_TELL: "Whether {suspect} was made from {source} cannot be decided by this test.",
}
NOT_MEANS = {
    VerdictKind.EVIDENCE: "p is not the probability that {suspect} is innocent, and there may be other explanations.",
    VerdictKind.NO_EVIDENCE: "It does not mean that {suspect} is innocent: some copies are not found.",
    VerdictKind.CANNOT_TELL: "It says nothing for or against {suspect}.",
}


@dataclass(frozen=True, repr=False)
class Verdict:
    """What came of a test: the verdict, and the folder of evidence from which others compute it again.

    `p_value` is the smallest of the p-values, adjusted for the number of methods, if the suspect was made like one of
    the innocents; `p_unseen` if it is of a family that is not among them. None if no method could be used.
    """

    folder: Path
    evidence: EvidenceFolder

    @property
    def judgement(self) -> Judgement:
        """What follows from scores and innocents."""
        return self.evidence.evidence.judgement

    @property
    def verdict(self) -> VerdictKind:
        """`evidence of copying`, `no evidence` or `cannot tell`, if the suspect was made like one of the innocents."""
        return self.judgement.verdict

    @property
    def alpha(self) -> float:
        """The level: how often, at most, an innocent is accused."""
        return self.judgement.alpha

    @property
    def p_value(self) -> float | None:
        """The smallest adjusted p-value."""
        return min((m.adjusted for m in self.methods if m.adjusted is not None), default=None)

    @property
    def p_unseen(self) -> float | None:
        """The smallest adjusted p-value for a family that is not among the innocents."""
        return min((m.adjusted_unseen for m in self.methods if m.adjusted_unseen is not None), default=None)

    @property
    def reasons(self) -> Sequence[str]:
        """Why no verdict is possible; empty if one is."""
        return self.judgement.reasons

    @property
    def methods(self) -> Sequence[MethodResult]:
        """What each method found."""
        return self.judgement.methods

    @property
    def code(self) -> int:
        """The exit code of the command: 1 evidence of copying, 0 no evidence, 3 cannot tell."""
        return CODES[self.verdict]

    def __repr__(self) -> str:
        return f"<Verdict: {self.verdict}, in {self.folder}>"

    def __str__(self) -> str:
        return "\n".join(_lines(self))

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def verify(
    models: str | PathLike[str],
    *,
    out: str | PathLike[str],
    commitment: str | PathLike[str] | None = None,
    suspect: str = "",
    alpha: float = ALPHA,
    max_queries: int | None = None,
    allow_code: bool = False,
    plugins: Sequence[str | PathLike[str]] = (),
    sign: str | PathLike[str] | None = None,
    progress: Callable[[int], object] | None = None,
    **made: Any,
) -> Verdict:
    """Ask the suspect that a file of descriptions has, judge it by a commitment, and write the evidence to a folder.

    `suspect` names it if there are several. `alpha` is how often, at most, an innocent is accused. `sign` is a minisign
    key that signs the folder. `progress` is called with the number of answers. Without `commitment`, one is made first,
    from the source that `models` describes, too: `made` are options of `bench.commit`, such as `datasets`, `methods`
    and `innocents`. Of these, `data` is read with a commitment, too: the suspect may be of another dataset. A call that
    was interrupted goes on with the answers that it has. BenchError for what the caller can correct.
    """
    if made:
        from bench.frontend.commit import check_known

        check_known(made, "verify", verify.__annotations__.keys() - {"made", "return"})
    place = commitment or path("out", out) / COMMITMENT
    request = requested(models, place, out, suspect, alpha, max_queries, allow_code, plugins, sign, made.get("data"))
    if commitment is None:
        make_commitment(request, made)
    elif foreign := [name for name in made if name != "data"]:
        raise BenchError(f"{foreign[0]} is an option of a new commitment, and commitment names one: leave one out")
    with Child() as child:
        return judged(request, child, progress)


def make_commitment(request: Request, options: Mapping[str, Any], reporter: Any = None) -> None:
    """Make the commitment of a request inside its folder, unless it is there; first try whether the suspect works.

    BenchError if one is there that was made from other networks, or with other options.
    """
    from bench.frontend.commit import commit_request, execute
    from bench.frontend.reporter import reporter_of
    from bench.verification.trial import try_suspect

    model = chosen(read(request.models), request.suspect)
    check(request)
    common = {"models": request.models, "out": request.commitment, "plugins": request.plugins}
    if (request.commitment / MANIFEST).exists():
        from bench.verification.commitment import check_same

        check_same(commit_request({**options, **common, "allow_code": request.allow_code}))
        return
    evidence_files.check_free(request.out)
    making = commit_request({**options, **common, "allow_code": request.allow_code})
    try_suspect(model, making)
    execute(making, reporter or reporter_of(False, False))


def requested(
    models: str | PathLike[str],
    commitment: str | PathLike[str],
    out: str | PathLike[str],
    suspect: str = "",
    alpha: float = ALPHA,
    max_queries: int | None = None,
    allow_code: bool = False,
    plugins: Sequence[str | PathLike[str]] = (),
    sign: str | PathLike[str] | None = None,
    data: str | PathLike[str] | None = None,
) -> Request:
    """Return what options ask for."""
    return Request(
        models=path("models", models),
        commitment=path("commitment", commitment),
        out=path("out", out),
        suspect=suspect,
        alpha=alpha,
        max_queries=max_queries,
        allow_code=allow_code,
        plugins=tuple(map(str, paths("plugins", plugins))),
        sign=path("sign", sign) if sign else None,
        data=path("data", data) if data else None,
    )


def judged(request: Request, child: Child, progress: Callable[[int], object] | None = None) -> Verdict:
    """Judge a suspect, which is asked in a process that was started before."""
    return Verdict(request.out, verified(request, child, progress or (lambda _: None)))


def replay(folder: str | PathLike[str], public_key: str | PathLike[str] | None = None) -> Verdict:
    """Compute a verdict again from a folder of evidence alone; BenchError names what was changed in it.

    With the file of a minisign public key, the folder must be signed with its key.
    """
    if public_key:
        check_signature(Path(folder), Path(public_key))
    return Verdict(Path(folder), replayed(Path(folder)))


def _lines(verdict: Verdict) -> Iterator[str]:
    evidence, commitment = verdict.evidence.evidence, verdict.evidence.commitment.commitment
    names = {"suspect": evidence.suspect.name, "source": commitment.source.name}
    yield f"Verdict: {verdict.verdict}, at level {verdict.alpha:g}"
    yield f"  {MEANS[verdict.verdict].format(**names)}"
    yield from (f"  Reason: {reason}" for reason in verdict.reasons)
    yield f"  {NOT_MEANS[verdict.verdict].format(**names)}"
    if verdict.p_value is not None and verdict.p_unseen is not None:
        folder, used = verdict.evidence.commitment, [m.method for m in verdict.methods if m.adjusted is not None]
        innocents = max(len(folder.scores_of(name)) for name in used)
        yield (
            f"  Made like one of our {innocents} innocents, a network scores so high {often(verdict.p_value)}: "
            f"p = {verdict.p_value:.2g}"
        )
        yield (
            f"  Made in a way that is not among our {max(len(folder.families(name)) for name in used)} families of "
            f"innocents, {often(verdict.p_unseen)}: p = {verdict.p_unseen:.2g} ({verdict.judgement.unseen})"
        )
    for method in verdict.methods:
        if method.reason:
            yield f"  {method.method}: not used: {method.reason}"
        else:
            yield f"  {method.method}: score {method.score:.4g}, p = {method.p_value:.2g}"
    if evidence.suspect.accuracy is not None:
        yield f"  Accuracy: {evidence.suspect.accuracy:.1%} of {evidence.suspect.asked} check images"
    yield from (f"  Finding ({finding.kind}): {finding.text}" for finding in evidence.findings)
    if verdict.verdict is not VerdictKind.CANNOT_TELL:
        yield from _power(verdict)
    yield f"  {evidence.queries} queries. Evidence: {verdict.folder}{_report(verdict.folder)}"


def _power(verdict: Verdict) -> Iterator[str]:
    """Yield what such a test would have found of the known copies, a line for each attack."""
    committed = verdict.evidence.commitment
    used = [m.method for m in verdict.methods if not m.reason] or [m.method for m in verdict.methods]
    limits = {name: limit(committed.scores_of(name), verdict.alpha, len(used)) for name in used}
    for one in power(committed.copies, limits):
        copies = f"{one.found} of {one.of} known copies made by {one.attack}"
        yield f"  Such a test finds {copies} (95 % interval of the share: {one.low:.2f} to {one.high:.2f})"


def _report(folder: Path) -> str:
    return f" (report: {folder / REPORT})" if (folder / REPORT).exists() else ""


def often(p: float) -> str:
    """Return how often something happens at most, in the words of the report."""
    return f"in {share(p)} cases at most" if p < 0.5 else "often"
