"""Check evidence against its source: make the fingerprints again, and the scores from the recorded answers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from bench.core.errors import BenchError, printable
from bench.core.kinds import ComponentKind
from bench.execution.benchmark import BenchmarkReporter
from bench.registry.registry import Registry
from bench.store.tensors import tensor_digest
from bench.verification.commitment_files import CommitmentFolder
from bench.verification.evidence_files import ANSWERS, EvidenceFolder
from bench.verification.kinds import Origin, Ruling, VerdictKind
from bench.verification.likeness import Likeness, compared
from bench.verification.own_scores import equal, other_scores, source_of
from bench.verification.p_values import SLACK
from bench.verification.recorded import RecordedSuspect, Unrecorded, other_findings
from bench.verification.regeneration import Place, Regenerated, regenerated
from bench.verification.replay import made_by, replay
from bench.verification.request import BENCH, version_of
from bench.verification.schema import CommittedMethod, FingerprintFile, MethodResult
from bench.verification.scoring import component
from bench.verification.spread import elsewhere

ORDER = tuple(Origin)
CHECKS = "checks of the suspect"
"""What a ruling about findings has in place of a method."""


class MethodRuling(NamedTuple):
    """What was found about a method: the origin of its fingerprints, and why, in one line.

    `rounding`: another processor may explain it.
    """

    method: str
    origin: Origin
    text: str = ""
    rounding: bool = False

    def __str__(self) -> str:
        return f"{self.method}: {self.origin}{f' ({self.text})' if self.text else ''}"


@dataclass(frozen=True)
class EvidenceRuling:
    """What was found about evidence, and about each of its methods; last about the checks, if something is wrong."""

    ruling: Ruling
    methods: Sequence[MethodRuling] = field(default_factory=list)

    @property
    def code(self) -> int:
        """The exit code of the command: 0 holds, 1 refuted, 3 cannot tell."""
        return {Ruling.HOLDS: 0, Ruling.REFUTED: 1, Ruling.CANNOT_TELL: 3}[self.ruling]

    def __str__(self) -> str:
        return "\n".join([*map(str, self.methods), f"The evidence: {self.ruling}"])


def judge(
    folder: str | Path, source: str | Path, place: Place, reporter: BenchmarkReporter | None = None
) -> EvidenceRuling:
    """Return what follows about evidence from the committed source, which the file `source` describes.

    The folder is replayed, each fingerprint is made again and compared, and each score is computed again from the
    recorded answers, as is each finding that can block a method. Where a fingerprint differs by more than rounding
    explains, it is made once more with older instructions of the processor: it is refuted only if these two are alike.
    BenchError if a file of the folder was changed, if the source is another one, or if a dataset is missing.
    """
    found = replay(folder)
    registry, methods = place.registry(), found.commitment.commitment.methods
    made = regenerated(found.commitment, source, place, reporter or BenchmarkReporter())
    rulings = origins(found.commitment, made, lambda: elsewhere(found.commitment, source, place))
    described = cache(lambda: source_of(found.commitment, source))
    own = partial(other_scores, found.commitment, described=described, registry=registry, allow_code=place.allow_code)
    rulings = [_with_scores(found, m, r, registry, own) for m, r in zip(methods, rulings, strict=True)]
    checks = _of_checks(found, registry)
    return EvidenceRuling(_overall(found, rulings, checks), [*rulings, *([checks] if checks.text else [])])


def origins(found: CommitmentFolder, made: Regenerated, other: Callable[[], Regenerated | str]) -> list[MethodRuling]:
    """Return the origin of each committed method's fingerprints, by those that were made here.

    `other` returns them as older instructions of the processor make them, or why that cannot be tried; it is called
    once, and only if a fingerprint would be refuted.
    """
    rulings = [_origin(found, method, made) for method in found.commitment.methods]
    if any(r.rounding and r.origin == Origin.REFUTED for r in rulings):
        older = other()
        rulings = [
            _reproducible(found, r, made, older) if r.origin == Origin.REFUTED and r.rounding else r for r in rulings
        ]
    return rulings


def _overall(found: EvidenceFolder, rulings: Sequence[MethodRuling], checks: MethodRuling) -> Ruling:
    """Return the ruling about all methods; what is unknown does not matter if another method decides by itself.

    It does if its p-value holds whatever the scores of the unknown ones are, also of those that the evidence leaves
    out: then it is multiplied by the number of all of them (Bonferroni).
    """
    if any(r.origin == Origin.REFUTED for r in (*rulings, checks)):
        return Ruling.REFUTED
    unknown = {r.method for r in rulings if r.origin == Origin.CANNOT_TELL}
    judgement = found.evidence.judgement
    known = [m for m in judgement.methods if m.method not in unknown and m.p_value is not None]
    level = judgement.alpha * (1 + SLACK) / max(1, len(known) + len(unknown))
    decided = judgement.verdict == VerdictKind.EVIDENCE and any((m.p_value or 0.0) <= level for m in known)
    open_ = checks.origin == Origin.CANNOT_TELL or (unknown and not decided)
    return Ruling.CANNOT_TELL if open_ else Ruling.HOLDS


def _of_checks(found: EvidenceFolder, registry: Registry) -> MethodRuling:
    """Return the ruling about the findings that can block methods: they are made again from the recorded answers."""
    try:
        again = RecordedSuspect(found, registry).findings()
    except BenchError as error:
        return MethodRuling(CHECKS, Origin.CANNOT_TELL, f"they cannot be made again here: {error}")
    if not (difference := other_findings(found.evidence.findings, again)):
        return MethodRuling(CHECKS, Origin.EXACT)
    same = made_by(found) == version_of(BENCH)  # others may check otherwise
    return MethodRuling(CHECKS, Origin.REFUTED if same else Origin.CANNOT_TELL, difference)


def _origin(found: CommitmentFolder, method: CommittedMethod, made: Regenerated) -> MethodRuling:
    """Compare the fingerprints of a method with those that were made here; the worst one counts."""
    name = method.name
    if name in made.reasons:
        return MethodRuling(name, Origin.CANNOT_TELL, printable(made.reasons[name]))
    committed, protocol = {f.draw for f in method.fingerprints}, {draw for other, draw in made.draws if other == name}
    if protocol - committed or len(committed) < len(method.fingerprints):  # the best of several, or one several times
        text = f"it has {len(committed)} different fingerprints, and the protocol has {len(protocol)}"
        worst = MethodRuling(name, Origin.REFUTED, text)
    else:
        pairs = zip(method.fingerprints, found.fingerprints(name), strict=True)
        rulings = [MethodRuling(name, *_of_draw(found, name, made, file, tensors)) for file, tensors in pairs]
        worst = max(rulings, key=lambda r: (ORDER.index(r.origin), not r.rounding))
    difference = "" if worst.origin == Origin.EXACT else _other_input(found, method, made)
    if worst.origin == Origin.REFUTED:
        difference = difference or _other_version(found.commitment.made)
    if difference:
        return MethodRuling(name, Origin.CANNOT_TELL, f"{worst.text}; {difference}" if worst.text else difference)
    helpers = made.helpers.get(name)
    if helpers and worst.origin != Origin.REFUTED:  # trained on the suspect's answers, they tune what is made with them
        text = f"it is made with {', '.join(helpers)}, and nobody sees here what these were trained on"
        return MethodRuling(
            name, Origin.CANNOT_TELL, printable(f"{text}: describe no helpers, so that bench trains them")
        )
    return worst


def _of_draw(
    found: CommitmentFolder, name: str, made: Regenerated, file: FingerprintFile, committed: Mapping[str, Tensor]
) -> tuple[Origin, str, bool]:
    draw = made.draws.get((name, file.draw))
    if draw is None:
        return Origin.REFUTED, f"fingerprint {file.draw} is none of this method", False
    if draw.seed != file.seed:
        text = f"fingerprint {file.draw} has the seed {file.seed}, and the protocol's is {draw.seed}"
        return Origin.REFUTED, text, False
    if tensor_digest(dict(draw.tensors)) == file.digest:
        return Origin.EXACT, "", False
    likeness = compared(committed, draw.tensors, found.commitment.data.shape)
    text = f"fingerprint {file.draw}: {_text(likeness)}"
    return (Origin.ELSEWHERE if _alike(likeness) else Origin.REFUTED), text, True


def _alike(likeness: Sequence[Likeness]) -> bool:
    return all(one.alike for one in likeness)


def _text(likeness: Sequence[Likeness]) -> str:
    return printable("; ".join(map(str, likeness)))[:500]


def _other_input(found: CommitmentFolder, method: CommittedMethod, made: Regenerated) -> str:
    """Return which input of a fingerprint is another one here than was committed; empty if none is."""
    commitment = found.commitment
    if made.data != commitment.data.digest:
        return f"the files of {commitment.data.name} are others here than were committed"
    recorded = commitment.made.get("sources")
    recorded = {**recorded} if isinstance(recorded, Mapping) else {}
    recorded[f"method:{method.name}"] = method.source_digest
    others = [name for name, digest in made.sources.items() if recorded.get(name, digest) != digest]
    return f"the code of {others[0].replace(':', ' ')} is other code here than was committed" if others else ""


def _other_version(made: Mapping[str, object]) -> str:
    """Return which other version of bench or torch a commitment was made with; empty: none, or it does not say."""
    versions = made.get("libraries")
    if not isinstance(versions, Mapping):
        return ""
    for library in (BENCH, "torch"):
        before, here = (str(v or "").partition("+")[0] for v in (versions.get(library), version_of(library)))
        if before not in ("", here):
            return printable(f"the commitment was made with {library} {before}, and {here} is installed here")
    return ""


def _reproducible(
    found: CommitmentFolder, ruling: MethodRuling, made: Regenerated, other: Regenerated | str
) -> MethodRuling:
    """Return the ruling about a method whose fingerprints differ: refuted if processors make no such difference."""
    if isinstance(other, str):
        text = f"whether it depends on the processor cannot be tried: {other}"
        return MethodRuling(ruling.method, Origin.CANNOT_TELL, f"{ruling.text}; {text}")
    shape = found.commitment.data.shape
    for key, draw in made.draws.items():
        if key[0] != ruling.method:
            continue
        likeness = compared(draw.tensors, other.draws[key].tensors, shape) if key in other.draws else []
        if not likeness or not _alike(likeness):
            text = f"but with older instructions of this processor it is another one, too: {_text(likeness)}"
            return MethodRuling(ruling.method, Origin.CANNOT_TELL, f"{ruling.text}; {text}")
    return ruling


def _with_scores(
    found: EvidenceFolder,
    method: CommittedMethod,
    ruling: MethodRuling,
    registry: Registry,
    own: Callable[[CommittedMethod], str],
) -> MethodRuling:
    """Return the ruling about a method, whose scores are computed again from the recorded answers.

    A method that has none must have none again, for the same reason: a low score that is left out lets fewer methods
    count. If its code is other code than was committed, innocents were not scored by it: `own` returns how it scores
    the source otherwise than was committed.
    """
    recorded = next(m for m in found.evidence.judgement.methods if m.method == method.name)
    if ruling.origin in (Origin.REFUTED, Origin.CANNOT_TELL):
        return ruling
    try:
        suspect, installed = RecordedSuspect(found, registry), component(registry, method)
    except BenchError as error:
        return MethodRuling(method.name, Origin.CANNOT_TELL, f"its scores cannot be computed here: {error}")
    same = registry.source_digest(ComponentKind.METHOD, method.name) == method.source_digest
    try:
        again = suspect.result(method, installed)
    except Unrecorded as error:  # also if the evidence gives this very reason: the answers may have been removed
        origin = Origin.REFUTED if same and recorded.draws else Origin.CANNOT_TELL
        return MethodRuling(method.name, origin, f"its scores cannot be computed from {ANSWERS}: {error}")
    except BenchError as error:
        origin = Origin.REFUTED if same else Origin.CANNOT_TELL
        return MethodRuling(method.name, origin, f"its scores do not follow from {ANSWERS}: {error}")
    text = _difference(recorded, again)
    if not text:
        if same or not recorded.draws or not (text := own(method)):  # without a score, no innocent's is used
            return ruling
        text = f"its code is other code here than was committed, and may score innocents otherwise: {text}"
        return MethodRuling(method.name, Origin.CANNOT_TELL, printable(text))
    missing = not recorded.draws and again.reason  # another reason may be another version's
    return MethodRuling(method.name, Origin.REFUTED if same and not missing else Origin.CANNOT_TELL, text)


def _difference(recorded: MethodResult, again: MethodResult) -> str:
    """Return how the scores of a method differ from those by the recorded answers; empty if they do not."""
    if not recorded.draws:
        if again.draws:
            return (
                f"the evidence has no score ({recorded.reason}), and by the recorded answers it is {again.draws[0]:.6g}"
            )
        return "" if again.reason == recorded.reason else f"why it has no score cannot be seen here: {again.reason}"
    if again.reason:
        return f"its scores do not follow from {ANSWERS}: {again.reason}"
    for before, now in zip(recorded.draws, again.draws, strict=True):
        if not equal(before, now):
            return f"its score is {before:.6g} in the evidence, and {now:.6g} by the recorded answers"
    return ""
