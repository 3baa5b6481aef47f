"""From scores and innocents to a verdict. Everything here follows from an evidence folder alone, without torch."""

import math
from collections.abc import Mapping, Sequence

from msgspec import structs

from bench.stats.holm import holm
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.kinds import DIRECT, FindingKind, VerdictKind
from bench.verification.p_values import SLACK, at_least, enough, exchangeable, needed, unseen_family
from bench.verification.schema import Finding, Judgement, MethodResult, TransportScore

ALL = "all"
"""The entry of `Finding.blocks` that stands for every method."""
LEVEL = 0.01
"""Level of the tests of an accuracy."""


def judge(
    folder: CommitmentFolder, alpha: float, asked: Sequence[MethodResult], findings: Sequence[Finding]
) -> Judgement:
    """Return what follows from the draws of each method (or the reason why it has none), innocents and findings.

    A method about which a finding makes a verdict impossible is not used. p-values of those that are used are adjusted
    for their number, and the verdict is `evidence of copying` if one of them is at most `alpha`.
    """
    results = [_result(folder, alpha, one, findings) for one in asked]
    used = [r for r in results if not r.reason]
    for field, p in (("adjusted", "p_value"), ("adjusted_unseen", "p_unseen")):
        values = holm([getattr(r, p) for r in used]).tolist()
        used = [structs.replace(r, **{field: value}) for r, value in zip(used, values, strict=True)]
    done = {r.method: r for r in used}
    innocents = max((len(folder.scores_of(r.method)) for r in results), default=0)
    families = max((len(folder.families(r.method)) for r in results), default=0)
    seen = max((len(folder.scores_of(r.method)) for r in used), default=0)
    known = max((len(folder.families(r.method)) for r in used), default=0)
    verdict = _verdict([r.adjusted for r in used], seen, alpha)
    return Judgement(
        verdict=verdict,
        unseen=_verdict([r.adjusted_unseen for r in used], known, alpha),
        alpha=alpha,
        innocents=innocents,
        families=families,
        methods=[done.get(r.method, r) for r in results],
        reasons=_reasons(results, seen, alpha) if verdict == VerdictKind.CANNOT_TELL else [],
    )


def _verdict(adjusted: Sequence[float | None], compared: int, alpha: float) -> VerdictKind:
    """Return the verdict of adjusted p-values that come from at most `compared` innocents, or families."""
    if any(p is not None and p <= alpha * (1 + SLACK) for p in adjusted):
        return VerdictKind.EVIDENCE
    return VerdictKind.NO_EVIDENCE if enough(compared, alpha, max(1, len(adjusted))) else VerdictKind.CANNOT_TELL


def _result(folder: CommitmentFolder, alpha: float, asked: MethodResult, findings: Sequence[Finding]) -> MethodResult:
    score = math.fsum(asked.draws) / len(asked.draws) if asked.draws else None
    reason = asked.reason or _blocked(folder, alpha, asked.method, findings)
    innocents = folder.scores_of(asked.method)
    if not reason and not innocents:
        reason = "no innocent has a score: commit to some with bench commit --innocents FILE"
    if reason or score is None:
        return structs.replace(asked, score=score, reason=reason)
    p, unseen = exchangeable(score, innocents), unseen_family(score, folder.families(asked.method))
    return structs.replace(asked, score=score, p_value=p, p_unseen=unseen)


def _blocked(folder: CommitmentFolder, alpha: float, method: str, findings: Sequence[Finding]) -> str:
    """Return why a method says nothing about this suspect; empty if it does."""
    for finding in findings:
        if method in finding.blocks or ALL in finding.blocks:
            return finding.text
        transport = finding.figures.get("transport")
        if transport and (broken := _broken(folder, alpha, method, str(transport))):
            return broken
    return ""


def _broken(folder: CommitmentFolder, alpha: float, method: str, transport: str) -> str:
    """Return how a transport breaks a method for the source itself; empty if the source is still found through it."""
    rows = [row for row in folder.transports if (row.transport, row.method) == (transport, method)]
    start = f"not testable here: the suspect is asked through {transport}"
    if not rows:
        return f"{start}, and the commitment has no score of the source through it"
    missed = _missed(folder, alpha, rows[0])
    return f"{start}, through which {missed}" if missed else ""


def _missed(folder: CommitmentFolder, alpha: float, row: TransportScore) -> str:
    """Return that a method does not find the source itself in a row of `transports.csv`; empty if it does."""
    if row.score is None or row.p_value is None:
        return "the source itself has no score"
    innocents = len(folder.for_suspect("").scores_of(row.method))  # those of its own dataset, as for its p-value
    if row.p_value > max(alpha, 1 / (innocents + 1)) * (1 + SLACK):
        return f"the source itself scores {row.score:.4g} (p = {row.p_value:.2g})"
    return ""


def without_source(folder: CommitmentFolder, alpha: float, method: str) -> str:
    """Return that a method does not find the source itself, asked directly; empty if it does, or if that is not known.

    It finds no copy then, so a low score is not "no evidence". Evidence of earlier versions has such scores, and is
    replayed with them: `judge` does not ask this.
    """
    rows = (row for row in folder.transports if (row.transport, row.method) == (DIRECT, method))
    missed = next((_missed(folder, alpha, row) for row in rows if row.score is not None), "")
    return f"not testable: asked directly, {missed}" if missed else ""


def _reasons(results: Sequence[MethodResult], innocents: int, alpha: float) -> list[str]:
    """Return why a verdict is not possible, one sentence each."""
    used = sum(not r.reason for r in results)
    if used:
        methods = f", with {used} methods" if used > 1 else ""
        return [f"{innocents} innocents are too few for alpha = {alpha:g}{methods}: {needed(alpha, used)} are needed"]
    by_reason: dict[str, list[str]] = {}
    for result in results:
        by_reason.setdefault(result.reason, []).append(result.method)
    return [f"{', '.join(methods)}: {reason}" for reason, methods in by_reason.items()]


def accuracy_finding(right: int, asked: int, labels: Mapping[int, int], innocents: Sequence[float]) -> Finding | None:
    """Return the finding that a suspect is no classifier like the innocents, so that no p-value holds; else None.

    It answers `right` of `asked` check images rightly, of which `labels` has the number for each label. It is near
    chance if the exact binomial test, at LEVEL, does not reject that its accuracy is that of naming the most frequent
    label; and far below the innocents if that test rejects that it reaches half way from chance to the accuracy of
    the worst of them.
    """
    if not asked:
        text = "its accuracy is not known: it has no answers to the check images"
        return Finding(kind=FindingKind.ACCURACY, text=text)
    chance = max(labels.values()) / sum(labels.values())
    figures = {"right": right, "asked": asked, "chance": chance}
    start = f"it answers {right} of {asked} check images rightly"
    if at_least(right, asked, chance) > LEVEL:
        text = f"{start}, which is no more than chance ({chance:.1%})"
        return Finding(kind=FindingKind.ACCURACY, text=text, blocks=[ALL], figures=figures)
    lowest = min(innocents, default=chance)
    if 1 - at_least(right + 1, asked, (chance + lowest) / 2) < LEVEL:
        text = f"{start}, far less than the worst of the innocents ({lowest:.1%})"
        return Finding(kind=FindingKind.ACCURACY, text=text, blocks=[ALL], figures={**figures, "lowest": lowest})
    return None


def damage_finding(right: int, asked: int, innocents: Sequence[float]) -> Finding | None:
    """Return the finding that a suspect is worse than every innocent, as the exact binomial test at LEVEL says.

    It blocks nothing. Some methods react to damage, whatever its cause: `metav` and `deepjudge_rob` score independent
    networks that were trained briefly like copies, and most others score them lower (docs/findings.md).
    """
    lowest = min(innocents, default=0.0)
    if not asked or 1 - at_least(right + 1, asked, lowest) >= LEVEL:
        return None
    text = (
        f"it answers {right} of {asked} check images rightly, less than every innocent (from {lowest:.1%}): some "
        "methods score any worse network higher, others lower, copied or not"
    )
    return Finding(kind=FindingKind.DAMAGE, text=text, figures={"right": right, "asked": asked, "lowest": lowest})
