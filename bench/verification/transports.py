"""The source's own score through each transport: what a verdict about a suspect behind such a transport is worth."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from bench.api.components import Fingerprint
from bench.core.errors import NotApplicable
from bench.training.answering import Askable
from bench.training.oracle import Suspect
from bench.verification.distortions import DISTORTIONS, Distortion, Transported
from bench.verification.p_values import exchangeable
from bench.verification.schema import TransportScore


def source_scores(
    source: Askable,
    fingerprints: Mapping[str, Sequence[dict[str, Tensor]]],
    methods: Mapping[str, Fingerprint],
    nulls: Mapping[str, Sequence[float]],
    output: str,
) -> list[TransportScore]:
    """Score the source itself through each transport, first without one, by each method: the mean over its draws.

    `output` is the strongest kind of answer (`Access`) that is used. `nulls` has the scores of the innocents, who were
    asked directly. The score is None where a method cannot be used with such answers.
    """
    found = []
    for distortion in DISTORTIONS.values():
        for name, method in methods.items():
            score = through(distortion, source, fingerprints[name], method, output)
            p_value = None if score is None else exchangeable(score, nulls[name])
            found.append(TransportScore(transport=distortion.name, method=name, score=score, p_value=p_value))
    return found


def through(
    distortion: Distortion, model: Askable, draws: Sequence[dict[str, Tensor]], method: Fingerprint, output: str = ""
) -> float | None:
    """Return the mean score of a network behind a distortion over fingerprints; None if the method cannot be used."""
    suspect = Transported(model, distortion, output)
    try:
        scores = [method.score(draw, Suspect(suspect, method.name, access=method.access)) for draw in draws]
    except NotApplicable:
        return None
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if len(known) == len(scores) and scores else None
