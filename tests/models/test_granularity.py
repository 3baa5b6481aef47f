"""How finely answers are rounded, read off the numbers, and what follows for sums of probabilities."""

import numpy as np
import pytest
import torch

from bench.models.granularity import FINE, granularity
from bench.models.kinds import ModelOutput, Rounding
from bench.models.outputs import PERCENTAGES, fault


def logits(seed=0, n=16, classes=10, scale=3.0):
    return scale * torch.randn(n, classes, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("classes", [2, 10, 200])
@pytest.mark.parametrize("scale", [0.1, 3.0, 30.0])
def test_answers_of_networks_are_fine(seed, classes, scale):
    z = logits(seed, classes=classes, scale=scale)
    for answers in (z, z.softmax(1), z.log_softmax(1), z.double().softmax(1).float(), z.half().float(), z[:1]):
        assert granularity(answers.numpy()) == FINE


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
@pytest.mark.parametrize("scale", [0.5, 3.0])
def test_decimals_of_probabilities_logits_and_logarithms_are_counted(digits, scale):
    z = logits(scale=scale, classes=10)
    for answers in (z.softmax(1), z, z.log_softmax(1)):
        rounded = answers.double().round(decimals=digits)
        for stored in (rounded, rounded.float()):
            found = granularity(stored.numpy())
            assert (found.kind, found.digits, found.error) == (Rounding.DECIMALS, digits, 0.5 * 10.0**-digits)


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_decimals_of_logarithms_are_seen_in_probabilities(digits):
    rounded = logits().double().log_softmax(1).round(decimals=digits)
    for p in (rounded.exp().float(), rounded.float().exp()):
        found = granularity(p.numpy())
        assert (found.kind, found.digits) == (Rounding.LOGARITHMS, digits)


def test_bfloat16_labels_and_too_few_numbers():
    z = logits()
    for answers in (z, z.softmax(1)):
        assert granularity(answers.bfloat16().float().numpy()).kind == Rounding.BFLOAT16
    one = torch.nn.functional.one_hot(z.argmax(1), 10).float()
    assert granularity(one.numpy()).kind == Rounding.LABELS
    assert granularity(np.zeros((0, 10))) == granularity(z[:1, :7].softmax(1).numpy().round(2)) == FINE
    assert granularity((40 * z).softmax(1).numpy()) == FINE  # nearly all are 0 or 1
    assert granularity(np.full((3, 4), np.nan)) == FINE


@pytest.mark.parametrize("classes", [3, 10, 100])
@pytest.mark.parametrize("digits", [2, 3, 4])
def test_rounded_answers_are_accepted_as_what_they_are(classes, digits):
    z = logits(classes=classes)
    p = z.double().softmax(1).round(decimals=digits)
    assert classes < 10 or digits == 4 or float((p.sum(1) - 1).abs().max()) > 1e-3
    assert fault(p, ModelOutput.PROBABILITIES, classes) == ""
    assert fault(z.double().log_softmax(1).round(decimals=digits), ModelOutput.LOG_PROBABILITIES, classes) == ""
    assert fault(z.bfloat16(), ModelOutput.LOGITS, classes) == ""
    assert fault(z.softmax(1).bfloat16(), ModelOutput.PROBABILITIES, classes) == ""
    assert "probabilities: write output" in fault(p, ModelOutput.LOGITS, classes)


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_an_image_alone_is_accepted_as_a_batch_is(classes, digits):
    """One row has too few numbers to conclude that they are rounded."""
    z = logits(classes=classes)
    p = z.double().softmax(1)
    for one in (*p.round(decimals=digits).split(1), *z.softmax(1).bfloat16().split(1)):
        assert fault(one, ModelOutput.PROBABILITIES, classes) == ""
    for one in z.double().log_softmax(1).round(decimals=digits).split(1):
        assert fault(one, ModelOutput.LOG_PROBABILITIES, classes) == ""
    for one in ((1.2 * p[:1]).round(decimals=3), 1.01 * p[:1], p[:1] - 0.2):
        assert fault(one, ModelOutput.PROBABILITIES, classes) != ""


@pytest.mark.parametrize("step", [1 / 255, 1 / 256, 1 / 127, 2 / 255, 0.0036, 0.98 / 255])
def test_probabilities_of_a_network_in_eight_bits_are_probabilities(step):
    """Their sums miss 1 by more than decimals of that size would: each of ten numbers is off by half a step."""
    z = logits() / 2
    p = ((z.double().softmax(1) / step).round() * step).float()
    assert float(p.max()) < 255 * step and float((p.sum(1) - 1).abs().max()) > 2e-3
    assert fault(p, ModelOutput.PROBABILITIES, 10) == ""
    assert "rows do not add up to 1" in fault(1.1 * p, ModelOutput.PROBABILITIES, 10)
    assert "probabilities: write output" in fault(p, ModelOutput.LOGITS, 10)
    if step in (1 / 255, 1 / 256, 1 / 127, 2 / 255):
        assert all(fault(one, ModelOutput.PROBABILITIES, 10) == "" for one in p.split(1))


@pytest.mark.parametrize("digits", [0, 1, 2, 12])
def test_percentages_are_no_probabilities_and_no_logits(digits):
    p = (100 * logits().double().softmax(1)).round(decimals=digits)
    for answers in (p, p.float()):
        assert fault(answers, ModelOutput.LOGITS, 10) == fault(answers, ModelOutput.PROBABILITIES, 10) == PERCENTAGES
        assert fault(answers[:1], ModelOutput.PROBABILITIES, 10) == PERCENTAGES
        assert fault(answers[:1], ModelOutput.LOGITS, 10) == ""  # a single row may add up to 100 by chance


def test_what_rounding_does_not_explain_is_refused():
    p = logits().softmax(1)
    wrong = "its answers are no probabilities: rows do not add up to 1, or have negative values"
    for answers in (1.01 * p, (1.1 * p).double().round(decimals=2), (p - 0.2).double().round(decimals=2), 0 * p):
        assert fault(answers, ModelOutput.PROBABILITIES, 10) == wrong
    assert fault(2 + p.double().round(decimals=2), ModelOutput.LOG_PROBABILITIES, 10) != ""
    assert fault(logits().double().round(decimals=2), ModelOutput.LOGITS, 10) == ""
