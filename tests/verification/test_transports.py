"""The source's own score through each transport."""

from dataclasses import dataclass

import pytest
import torch
from torch import nn

from bench import Fingerprint
from bench.verification.distortions import DISTORTIONS
from bench.verification.transports import of_answers, source_scores


@dataclass(frozen=True)
class Matching(Fingerprint):
    """The share of points that get the source's labels."""

    name: str = "matching"
    version: int = 1
    kind_asked: str = "labels"

    def score(self, fingerprint, suspect):
        answers = getattr(suspect, self.kind_asked)(fingerprint["points"])
        labels = answers if answers.dim() == 1 else answers.argmax(1)
        return float((labels == fingerprint["labels"]).double().mean())


def made(seed=0, classes=10):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    points = [torch.rand(50, 1, 8, 8) for _ in range(2)]
    with torch.no_grad():
        return model, [{"points": x, "labels": model(x).argmax(1)} for x in points]


def test_each_method_has_a_row_for_each_transport_with_its_p_value_among_innocents():
    model, draws = made()
    methods = {"a": Matching(), "b": Matching(kind_asked="logits")}
    nulls = {"a": [0.1] * 19, "b": [0.1] * 9 + [1.0]}
    rows = source_scores(model, dict.fromkeys(methods, draws), methods, nulls, "logits")
    assert [(r.transport, r.method) for r in rows] == [(name, m) for name in DISTORTIONS for m in ("a", "b")]
    found = {(r.transport, r.method): r for r in rows}
    assert found["direct", "a"].score == 1 and found["direct", "a"].p_value == pytest.approx(1 / 20)
    assert found["direct", "b"].p_value == pytest.approx(2 / 11)
    assert found["resize_half", "a"].score < 1
    for name in ("labels", "probabilities_2", "log_probabilities_2"):
        assert found[name, "a"].score is not None
        assert (found[name, "b"].score, found[name, "b"].p_value) == (None, None)


@pytest.mark.parametrize(("digits", "testable"), [(0, False), (1, False), (2, True), (3, True)])
@pytest.mark.parametrize("shares", [True, False])
def test_answers_of_one_decimal_are_not_testable(digits, testable, shares):
    answers = 6 * torch.randn(400, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    answers = (answers / 6).softmax(1) if shares else answers
    (found,) = of_answers(answers.round(decimals=digits))
    if testable:
        assert found.figures.get("transport", "direct") in DISTORTIONS
    else:
        assert found.figures["transport"] not in DISTORTIONS or found.figures["transport"] == "labels"


def test_the_score_is_the_mean_over_draws_and_limited_to_the_output():
    model, draws = made()
    draws[1]["labels"] = (draws[1]["labels"] + 1) % 10
    methods = {"a": Matching(), "b": Matching(kind_asked="logits")}
    rows = source_scores(model, dict.fromkeys(methods, draws), methods, {"a": [], "b": []}, "probabilities")
    found = {(r.transport, r.method): r for r in rows}
    assert found["direct", "a"].score == pytest.approx(0.5) and found["direct", "a"].p_value == 1
    assert found["direct", "b"].score is None


@dataclass(frozen=True)
class Careless(Matching):
    """Changes its fingerprint, and fails on answers that are rounded to bfloat16."""

    def score(self, fingerprint, suspect):
        answers, score = suspect.logits(fingerprint["points"]), super().score(fingerprint, suspect)
        fingerprint["points"].zero_()
        if torch.equal(answers, answers.bfloat16().float()):
            raise ValueError("they are rounded")
        return score


def test_a_method_that_changes_its_tensors_or_fails_through_a_transport():
    model, draws = made()
    before = [draw["points"].clone() for draw in draws]
    rows = source_scores(model, {"a": draws}, {"a": Careless()}, {"a": [0.1] * 19}, "logits")
    assert all(torch.equal(draw["points"], points) for draw, points in zip(draws, before, strict=True))
    found = {r.transport: r for r in rows}
    assert found["direct"].score == 1 and found["uint8"].score > 0.9
    assert (found["bf16"].score, found["bf16"].p_value) == (None, None)
