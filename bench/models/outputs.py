"""What a described network answers: checked against its description, and brought into the host's form."""

import math

import torch
from torch import Tensor

from bench.models.description import Description
from bench.models.granularity import FEWEST, Granularity, eight_bit_step, granularity
from bench.models.kinds import ModelOutput

CLOSE = 1e-3
"""Largest distance of a sum of probabilities from 1, apart from what their rounding explains."""
BEST_ONLY = "if they are of its best labels only, see docs/endpoints.md"
"""What to write about answers that are fewer than the classes."""
PERCENTAGES = "its answers are percentages, and no description divides them by 100: see docs/endpoints.md"
"""What is wrong with answers whose rows add up to 100."""


def fault(answers: Tensor, output: ModelOutput, classes: int) -> str:
    """Return how raw answers to N images contradict their description; empty if they do not.

    They are [N, classes] of any real type, or for labels whole numbers [N] or [N, 1].
    """
    if output == ModelOutput.LABELS:
        return _label_fault(answers, classes)
    if answers.dim() != 2 or answers.shape[1] != classes:
        start = f"it answers with {list(answers.shape[1:])} numbers an image, not with [{classes}]"
        return f"{start}: {_way_out(answers, classes)}"
    if not answers.is_floating_point():
        return f"it answers with {answers.dtype}: whole numbers are labels"
    if not answers.numel():
        return ""
    low, high = (float(value) for value in answers.aminmax())
    lowest = output == ModelOutput.LOG_PROBABILITIES and high < CLOSE  # the logarithm of 0 may be
    if not lowest and not (math.isfinite(low) and math.isfinite(high)):
        return "it answers with NaN or infinity"
    # A row or two may be too few to conclude that answers are rounded: here it is enough that they can be.
    fewest = FEWEST if output == ModelOutput.LOGITS else 1
    shares = low >= 0 and _are_shares(answers, fewest)
    percent = low >= 0 and not shares and _are_shares(answers / 100, fewest)
    logarithms = high <= CLOSE and _is_one(answers.double().exp().sum(1), _rounded(answers, fewest).error)
    if percent and (len(answers) > 1 or output != ModelOutput.LOGITS):
        return PERCENTAGES
    if output == ModelOutput.PROBABILITIES and not shares:
        return "its answers are no probabilities: rows do not add up to 1, or have negative values"
    if output == ModelOutput.LOG_PROBABILITIES and not logarithms:
        return "its answers are no logarithms of probabilities: their exponentials do not add up to 1"
    if output == ModelOutput.LOGITS and len(answers) > 1 and (shares or logarithms):
        found = ModelOutput.PROBABILITIES if shares else ModelOutput.LOG_PROBABILITIES
        return f"its answers are no logits, but {found}: write output = {found.value!r}"
    return ""


def _way_out(answers: Tensor, classes: int) -> str:
    """Return what to write for answers that are none of the dataset's classes."""
    if answers.dim() == 1 or answers.shape[1:] == (1,):
        return 'if they are labels, write output = "labels"'
    if answers.dim() > 2:
        return "end the network with one number for each class, by a pooling or a flattening before its export"
    other = "if it was trained on a dataset of other classes, name that as trained_on"
    return f"{other}; {BEST_ONLY}" if answers.shape[1] < classes else other


def _rounded(answers: Tensor, fewest: int) -> Granularity:
    return granularity(answers.detach().float().cpu().numpy(), fewest)


def _are_shares(answers: Tensor, fewest: int) -> bool:
    """Return True if rows add up to 1, as far as rounding lets them, or as far as a network in 8-bit integers does.

    The greatest number of such a network may be one step below 1.
    """
    classes, sums = answers.shape[1], answers.double().sum(1)
    if _is_one(sums, _rounded(answers, fewest).sum_error(classes)):
        return True
    step = eight_bit_step(answers.detach().float().cpu().numpy())
    return _is_one(sums, step * (classes / 2 + 1))


def _is_one(sums: Tensor, rounding: float) -> bool:
    return bool(((sums - 1).abs() <= CLOSE + rounding).all())


def _label_fault(answers: Tensor, classes: int) -> str:
    labels = answers.squeeze(1) if answers.dim() == 2 and answers.shape[1] == 1 else answers
    if labels.dim() != 1:
        whole = not labels.is_floating_point() or bool((labels == labels.round()).all())
        way = BEST_ONLY if labels.dim() == 2 and labels.shape[1] < classes and whole else "name their kind"
        return f"it answers with {list(answers.shape[1:])} numbers an image, not with one label: {way}"
    if labels.is_floating_point() and not bool(torch.isfinite(labels).all()):
        return "it answers with NaN or infinity"
    if labels.is_floating_point() and not bool((labels == labels.round()).all()):
        return "it answers with numbers that are not whole: they are no labels"
    if len(labels) and not (int(labels.min()) >= 0 and int(labels.max()) < classes):
        return f"it answers with labels from {int(labels.min())} to {int(labels.max())}, not within 0..{classes - 1}"
    return ""


def converted(answers: Tensor, model: Description, order: tuple[int, ...]) -> Tensor:
    """Return checked raw answers as the host wants them: float32 [N, K], or labels int64 [N], in the dataset's order.

    Logarithms become probabilities. `order` has the dataset's label for each of the model's; empty: the same.
    """
    if model.output == ModelOutput.LABELS:
        labels = answers.reshape(-1).long()
        return torch.tensor(order)[labels] if order else labels
    answers = answers.float()
    if model.output == ModelOutput.LOG_PROBABILITIES:
        answers = answers.exp()
    if not order:
        return answers
    return answers[:, torch.tensor(order).argsort().to(answers.device)]
