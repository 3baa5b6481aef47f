"""What an attack may ask of a source and a method of a suspect, and that it is counted."""

import pytest
import torch
from torch import nn

from bench import BenchError
from bench.core.kinds import Access
from bench.training.oracle import Oracle, Source, Suspect


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5))


X = torch.rand(10, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("declared", Access)
@pytest.mark.parametrize("asked", Access)
def test_an_attack_gets_no_more_than_it_declares(declared, asked):
    source = Source(network(), declared, "greedy")
    ask = source.model if asked == "weights" else lambda: getattr(source, asked)(X)
    if Access.rank(asked) <= Access.rank(declared):
        ask()
        assert source.strongest == asked
    else:
        with pytest.raises(BenchError, match=f"attack 'greedy' asked for {asked}, but its access is '{declared}'"):
            ask()
        assert source.queries == 0


def test_answers_agree_with_each_other_and_with_the_network_in_eval_mode():
    model = network()
    model.train()
    suspect = Suspect(model, "m")
    logits = suspect.logits(X)
    assert not model.training
    assert logits.dtype == torch.float32
    assert not logits.requires_grad
    assert torch.equal(suspect.labels(X), logits.argmax(1))
    assert torch.allclose(suspect.probabilities(X), logits.softmax(1))
    with torch.no_grad():
        assert torch.allclose(logits, model(X), atol=1e-6)


def test_queries_are_images_and_the_strongest_access_is_kept():
    suspect = Suspect(network(), "m")
    assert (suspect.queries, suspect.strongest) == (0, "")
    suspect.labels(X)
    assert (suspect.queries, suspect.strongest) == (10, "labels")
    suspect.logits(X[:3])
    suspect.probabilities(X[:2])
    assert (suspect.queries, suspect.strongest) == (15, "logits")


def test_the_batch_does_not_matter():
    whole, parts = Oracle(network(), "logits", "t"), Oracle(network(), "logits", "t", batch=3)
    assert torch.allclose(whole.logits(X), parts.logits(X), atol=1e-6)
    assert parts.queries == 10


def test_more_queries_than_the_budget_are_refused_before_they_are_answered():
    suspect = Suspect(network(), "asker", budget=10)
    suspect.labels(X)
    with pytest.raises(BenchError, match="method 'asker' asked 11 queries, but its budget is 10"):
        suspect.labels(X[:1])


NAN = torch.full((1, 1, 8, 8), float("nan"))


@pytest.mark.parametrize("x", [X - 0.5, X + 0.5, X * 255, NAN])
def test_a_method_asks_with_pixels_in_the_range(x):
    with pytest.raises(BenchError, match=r"outside \[0, 1\]"):
        Suspect(network(), "m").logits(x)


BYTES = (X * 255).to(torch.uint8)


@pytest.mark.parametrize("x", [X[0], X.double().long(), BYTES, X.flatten(1)])
def test_questions_are_float_images(x):
    with pytest.raises(BenchError, match="must ask with float images"):
        Suspect(network(), "m").logits(x)


def test_a_suspect_that_answers_with_nan_is_not_judged():
    broken = network()
    broken[4].bias.data.fill_(float("nan"))
    for ask in (Suspect(broken, "m").labels, Suspect(broken, "m").logits, Suspect(broken, "m").probabilities):
        with pytest.raises(BenchError, match="NaN"):
            ask(X)


def test_no_images_are_no_queries():
    suspect = Suspect(network(), "m")
    assert suspect.logits(X[:0]).shape == (0, 5)
    assert suspect.queries == 0


def test_a_method_sees_weights_only_if_it_declares_that():
    with pytest.raises(BenchError, match="declare access = 'weights'"):
        Suspect(network(), "m").model()
    model = network()
    suspect = Suspect(model, "m", access="weights")
    copied = suspect.model()
    assert copied is not model
    assert all(torch.equal(a, b) for a, b in zip(copied.parameters(), model.parameters(), strict=True))
    assert (suspect.strongest, suspect.queries) == ("weights", 0)
    suspect.labels(X)
    assert suspect.strongest == "weights"


def test_a_copy_of_the_source_is_a_copy():
    model = network()
    copy = Source(model, "weights", "a").model()
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    assert not any(bool((p == 0).all()) for p in model.parameters() if p.dim() > 1)
    assert not copy.training


def test_answers_are_float32_under_autocast_too():
    suspect = Suspect(network(), "m")
    plain = suspect.logits(X)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(suspect.logits(X), plain)
