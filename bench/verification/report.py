"""Write the report of an evidence folder: one page for lay readers, which loads nothing from elsewhere."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.core.errors import capped
from bench.core.kinds import ComponentKind
from bench.reporting.html.rendering import part, templates
from bench.reporting.html.svg import Chart
from bench.verification.kinds import DIRECT, FindingKind, VerdictKind
from bench.verification.report_figures import Marks, Power, histogram, limit, power
from bench.verification.report_pictures import pictures
from bench.verification.report_words import (
    MARKS,
    TITLES,
    WORDS,
    cases,
    condition,
    explained,
    floor,
    missed,
    of_hundred,
    reached,
    reasons,
    sentence,
    share,
    shown,
)
from bench.verification.schema import Commitment, Evidence, MethodResult

if TYPE_CHECKING:
    from bench.verification.commitment_files import CommitmentFolder
    from bench.verification.evidence_files import EvidenceFolder

MOST_ROWS = 60
"""Rows of a table or a list."""
MOST_CHARTS = 12
DIGESTS = ("files", "sources", "source_scores", "summaries")
"""Records of what made evidence and commitment that are not listed: digests, and what the report shows elsewhere."""


def page(folder: "EvidenceFolder", signed_by: str = "") -> str:
    """Return the report as HTML; the same evidence makes the same bytes.

    signed_by: the minisign public key of the key that is going to sign the folder; empty: the page says that the folder
    was not signed.
    """
    evidence, committed = folder.evidence, folder.commitment
    judgement = evidence.judgement
    used = [m for m in judgement.methods if not m.reason and m.score is not None]
    images, digests = folder.queries()
    limits = _limits(committed, judgement.alpha, [m.method for m in used or judgement.methods])
    compared = max((len(committed.scores_of(m.method)) for m in used), default=None)
    found = power(committed.copies, limits)
    mark, symbol = MARKS[judgement.verdict]
    return (
        templates()
        .get_template("evidence.html")
        .render(
            _verdict(evidence, committed, used),
            style=part("colours.css") + part("evidence.css"),
            mark=mark,
            symbol=symbol,
            suspect=shown(evidence.suspect.name, 80),
            source=shown(committed.commitment.source.name, 80),
            when=_time(evidence.made.get("time", "")),
            committed=_time(committed.commitment.made.get("time", "")),
            reasons=reasons(evidence, compared) if judgement.verdict is VerdictKind.CANNOT_TELL else [],
            images=len(images),
            copies=[_copies(p, committed) for p in found[:MOST_ROWS]],
            missed=missed(found) if found else "",
            changed=any(f.kind is FindingKind.TRANSPORT for f in evidence.findings),
            more_copies=max(0, len(found) - MOST_ROWS),
            charts=list(_charts(committed, used, limits)) if judgement.verdict is not VerdictKind.CANNOT_TELL else [],
            methods=[_method(m, committed, limits, judgement.verdict) for m in judgement.methods[:MOST_ROWS]],
            families=_families(committed),
            transports=_transports(evidence, committed),
            findings=[
                {"title": TITLES[f.kind], "text": explained(sentence(f.text)), "blocks": _blocks(f.blocks)}
                for f in evidence.findings[:MOST_ROWS]
            ],
            about_suspect=_about_suspect(evidence, committed.commitment),
            pictures=pictures(images, digests),
            costs=[
                ("answers asked for", f"{evidence.queries:,}; the checks ask some pictures more than once"),
                ("seconds", f"{evidence.seconds:,.1f}, without the commitment, which is made once"),
            ],
            signed_by=shown(signed_by),
            digests=_digests(evidence, committed),
            made=[*_flat(evidence.made), *_flat(committed.commitment.made, "commitment: ")][: 2 * MOST_ROWS],
            words=WORDS.items(),
        )
    )


def _verdict(evidence: Evidence, committed: "CommitmentFolder", used: Sequence[MethodResult]) -> dict[str, Any]:
    """Return what the page states about the verdict and its error rate."""
    judgement, source = evidence.judgement, shown(committed.commitment.source.name, 80)
    tested = [m for m in used if m.adjusted is not None]
    best = min(tested, key=lambda m: m.adjusted or 0.0, default=None)
    p = best.adjusted if best else None
    unseen = min((m.adjusted_unseen for m in used if m.adjusted_unseen is not None), default=None)
    count_words = ""
    if best is not None:
        scores = [row.score for row in committed.nulls if row.method == best.method]
        count = sum(score >= (best.score or 0.0) for score in scores)
        count_words = reached(count, len(scores), source, shown(best.method, 80) if len(used) > 1 else "")
    return {
        "verdict": str(judgement.verdict),
        "unseen": str(judgement.unseen),
        "reached": count_words,
        "cases": cases(p),
        "share": "" if p is None else share(p),
        "unseen_cases": cases(unseen),
        "alpha_cases": cases(judgement.alpha),
        "alpha_cases_of": share(judgement.alpha),
        "innocents": f"{judgement.innocents:,}",
        "families_number": f"{judgement.families:,} families",
        "condition": condition(judgement.verdict, judgement.unseen),
        "floor": floor(judgement.families, judgement.alpha, max(1, len(used))),
        "used": len(used),
    }


def _limits(committed: "CommitmentFolder", alpha: float, methods: Sequence[str]) -> dict[str, float]:
    scores: dict[str, list[float]] = {name: [] for name in methods}
    for row in committed.nulls:
        if row.method in scores:
            scores[row.method].append(row.score)
    return {name: limit(values, alpha, len(methods)) for name, values in scores.items()}


def _summary(committed: "CommitmentFolder", kind: str, name: str) -> str:
    """Return what an attack, a method or a transport is, as the commitment describes it; empty if it does not."""
    kinds = committed.commitment.made.get("summaries")
    names = kinds.get(kind) if isinstance(kinds, Mapping) else None
    return shown(names.get(name) or "") if isinstance(names, Mapping) else ""


def _copies(found: Power, committed: "CommitmentFolder") -> dict[str, Any]:
    scores = [
        (shown(method, 80), [f"{v:.3g}" for v in three]) for method, three in list(found.scores.items())[:MOST_CHARTS]
    ]
    return found._asdict() | {
        "of_hundred": of_hundred(found),
        "attack": shown(found.attack or "copy", 80),
        "summary": _summary(committed, ComponentKind.ATTACK, found.attack),
        "scores": scores,
    }


def _charts(
    committed: "CommitmentFolder", methods: Sequence[MethodResult], limits: Mapping[str, float]
) -> Iterator[Chart]:
    direct = {row.method: row.score for row in committed.transports if row.transport == DIRECT}
    for method in methods[:MOST_CHARTS]:
        innocents = [row.score for row in committed.nulls if row.method == method.method]
        copies = [row.score for row in committed.copies if row.method == method.method]
        marks = Marks(innocents, copies, method.score, direct.get(method.method), limits[method.method])
        chart = histogram(shown(method.method, 80), marks)
        if chart:
            yield chart


def _method(
    method: MethodResult, committed: "CommitmentFolder", limits: Mapping[str, float], verdict: VerdictKind
) -> dict[str, str]:
    """Return a row of the methods; a score from which nothing follows is not shown."""
    scores = [row.score for row in committed.nulls if row.method == method.method]
    cannot = verdict is VerdictKind.CANNOT_TELL
    score = None if cannot or method.reason else method.score
    edge = limits.get(method.method, math.inf)
    return {
        "name": shown(method.method, 80),
        "summary": _summary(committed, ComponentKind.METHOD, method.method),
        "queries": f"{method.queries:,}",
        "score": "not usable" if score is None else f"{score:.4g}",
        "begins": "" if score is None or not math.isfinite(edge) else f"above {edge:.4g}",
        "reached": "" if score is None else f"{sum(s >= score for s in scores):,} of {len(scores):,}",
        "reason": "see the reasons at the top" if cannot else explained(shown(method.reason)),
    }


def _families(committed: "CommitmentFolder") -> str:
    """Return the names of the families with their numbers of innocents."""
    families: dict[str, set[str]] = {}
    for row in committed.nulls:
        families.setdefault(row.family, set()).add(row.model)
    named = [f"{shown(name, 80)} ({len(models):,})" for name, models in [*families.items()][:MOST_ROWS]]
    more = len(families) - len(named)
    return ", ".join(named) + (f", and {more:,} more in commitment/nulls.csv" if more else "")


def _transports(evidence: Evidence, committed: "CommitmentFolder") -> list[dict[str, str]]:
    """Return the source's own scores through the changes that findings name, after those without a change."""
    named = {str(v) for f in evidence.findings if f.kind is FindingKind.TRANSPORT for v in f.figures.values()}
    rows = committed.transports
    chosen = [row for row in rows if row.transport in named]
    chosen = [*(row for row in rows if row.transport == DIRECT), *chosen] if chosen else []
    return [
        {
            "name": "none" if row.transport == DIRECT else shown(row.transport, 80),
            "summary": "" if row.transport == DIRECT else _summary(committed, "transport", row.transport),
            "method": shown(row.method, 80),
            "score": "none: it cannot be used" if row.score is None else f"{row.score:.4g}",
            "cases": cases(row.p_value) or "not known",
        }
        for row in chosen[:MOST_ROWS]
    ]


def _blocks(blocks: Sequence[str]) -> str:
    return "any method" if "all" in blocks else ", ".join(shown(name, 80) for name in capped(blocks))


def _about_suspect(evidence: Evidence, commitment: Commitment) -> list[tuple[str, str]]:
    suspect, source = evidence.suspect, commitment.source
    rows = [
        ("format", shown(suspect.description.get("format", "not known"))),
        ("its answers are", shown(suspect.output)),
    ]
    if suspect.accuracy is not None:
        other = f" (the source: {source.accuracy:.1%} of its test)" if source.accuracy is not None else ""
        right = f"{suspect.accuracy:.1%} of {suspect.asked:,} test pictures{other}"
        rows.append(("right answers in its task", f"{right}; this says nothing about copying"))
    return rows


def _digests(evidence: Evidence, committed: "CommitmentFolder") -> list[tuple[str, str]]:
    commitment = committed.commitment
    fingerprints = [
        (f"pictures of {shown(m.name, 80)}, draw {f.draw}", f.digest)
        for m in commitment.methods
        for f in m.fingerprints
    ]
    return [
        ("commitment", evidence.commitment),
        ("source", commitment.source.digest),
        ("suspect", shown(evidence.suspect.digest) or "none: it cannot be read"),
        (f"dataset {shown(commitment.data.name, 80)}", commitment.data.digest),
        *fingerprints[:MOST_ROWS],
    ]


def _time(value: object) -> str:
    """Return a time in UTC (`2026-11-28T14:00:12+00:00`) as people write it; other text as it is."""
    text = shown(value, 40)
    return re.sub(r"^(\d{4}-\d\d-\d\d)T([\d:]+)(\+00:00|Z)$", r"\1 \2 UTC", text)


def _flat(made: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    """Return names and values of nested plain data, each a line."""
    for name, value in made.items():
        if name in DIGESTS:
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{shown(name, 80)} ")
        elif value not in (None, "", []):
            text = ", ".join(map(str, value)) if isinstance(value, list) else value
            yield f"{before}{shown(name, 80)}", _time(text) if name == "time" else shown(text)
