"""The source's own score through each transport, and what was noticed on the way to a suspect.

A method that a transport breaks for the source itself says nothing about a suspect behind such a transport.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from bench.api.components import Method
from bench.core.errors import BenchError, NotApplicable
from bench.execution.scores import UnusableScore, checked_score
from bench.models.kinds import Rounding
from bench.training.answering import Askable
from bench.training.oracle import Suspect
from bench.verification.detectors import (
    IGNORED,
    Ask,
    Checks,
    Scale,
    compressed,
    fractions_ignored,
    least_certain,
    smoothed,
    unseen_sides,
)
from bench.verification.distortions import DISTORTIONS, Distortion, Transported
from bench.verification.kinds import FindingKind
from bench.verification.p_values import exchangeable
from bench.verification.schema import Finding, TransportScore

COARSE = 4
"""Decimals of answers up to which they count as rounded."""
UNSEEN = ": what happens to images on the way cannot be seen in them"


def source_scores(
    source: Askable,
    fingerprints: Mapping[str, Sequence[dict[str, Tensor]]],
    methods: Mapping[str, Method],
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
    distortion: Distortion, model: Askable, draws: Sequence[dict[str, Tensor]], method: Method, output: str = ""
) -> float | None:
    """Return the mean score of a network behind a distortion over fingerprints; None if the method cannot be used.

    A method that fails there, or has no finite score, cannot be used either. It gets copies of its tensors.
    """
    suspect = Transported(model, distortion, output)
    scores: list[float] = []
    try:
        for draw in draws:
            copies = {name: tensor.clone() for name, tensor in draw.items()}
            scores.append(checked_score(method, copies, Suspect(suspect, method.name, access=method.access)))
    except (NotApplicable, UnusableScore):
        return None
    except BenchError:
        raise
    except Exception:  # a plugin's code may raise anything
        return None
    return sum(scores) / len(scores) if scores else None


def detected(ask: Ask, checks: Checks) -> list[Finding]:
    """Return what was noticed on the way to a suspect and back, with at most MOST_QUERIES queries.

    `ask` takes float images [N, C, H, W] in [0, 1], and returns logits or probabilities [N, K], or labels int64 [N].
    `figures["transport"]` is the row of `transports.csv` that comes nearest; findings without it harm no method.
    """
    images = least_certain(checks)
    answers = ask(images)
    found = of_answers(answers)
    if answers.dim() == 1 or (scale := Scale(answers)).rounding.kind == Rounding.LABELS:
        return found
    compression = compressed(ask, scale, images, answers)
    detail = smoothed(ask, scale, tuple(images.shape[1:]))
    if detail is None:
        detail = {}
        found.append(_finding("", "plain images get no answer: whether images are resized on the way is not known"))
    ignored = [name for name, most in IGNORED.items() if detail.get(name, 1.0) < most]
    if "resize_half" in ignored:
        found.append(_finding("resize_half", "details of single pixels are lost: images are resized", detail))
    elif compression:
        (noticed,) = compression
        if noticed.name == "jpeg_q100_444" and "jpeg_q100" in ignored:
            noticed = noticed._replace(name="jpeg_q100")
        text = "images are compressed: changes that JPEG rounds away change no answer"
        found.append(_finding(noticed.name, text, {noticed.name: noticed.ratio}))
    elif ignored:
        what = "colours of single pixels" if ignored[0] == "jpeg_q100" else "faint details of single pixels"
        found.append(_finding(ignored[0], f"{what} are lost: images are resized or compressed", detail))
    if sides := unseen_sides(ask, scale, images, answers):
        text = f"the outermost pixels ({', '.join(sides)}) change no answer: images are cropped"
        found.append(_finding("crop_7_8", text, {"sides": sides}))
    if not ignored and not compression and fractions_ignored(ask, scale, images, answers):
        found.append(_finding("uint8", "changes below 1/255 change no answer: images are rounded to 8 bits"))
    return found


def of_answers(answers: Tensor) -> list[Finding]:
    """Return what answers, [N, K] or labels [N], show of themselves: how they are rounded.

    No commitment has the source's score through answers of one decimal at most: no method is used there.
    """
    if answers.dim() == 1:
        return [_finding("labels", f"only labels are answered{UNSEEN}")]
    scale = Scale(answers)
    rounding, shares = scale.rounding, scale.shares
    if rounding.kind == Rounding.LABELS:
        return [_finding("labels", f"answers are zeros and ones, which say no more than labels{UNSEEN}")]
    if rounding.kind == Rounding.DECIMALS and rounding.digits <= COARSE:
        what = "probabilities" if shares else "answers"
        name = (
            f"probabilities_{rounding.digits}" if shares else "" if rounding.digits > 1 else f"logits_{rounding.digits}"
        )
        return [_finding(name, f"{what} are rounded to {rounding.digits} decimals", {"decimals": rounding.digits})]
    if rounding.kind == Rounding.LOGARITHMS and rounding.digits <= COARSE:
        text = f"logarithms of probabilities are rounded to {rounding.digits} decimals"
        return [_finding("log_probabilities_2", text, {"decimals": rounding.digits})]
    if rounding.kind == Rounding.BFLOAT16:
        return [_finding("bf16", "answers are rounded to bfloat16")]
    return []


def _finding(transport: str, text: str, figures: Mapping[str, Any] | None = None) -> Finding:
    name = {"transport": transport} if transport else {}
    return Finding(kind=FindingKind.TRANSPORT, text=text, figures={**(figures or {}), **name})
