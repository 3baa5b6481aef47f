"""The baselines: agreement on mistakes, on plain images, and on noise."""

import math

import numpy as np
import pytest
import torch
from bench_plugins.attacks.finetune import FinetuneA
from bench_plugins.methods.baselines import AKH, Agreement, Noise
from small_world import DEFENDER, HELD, PROBE, auc, context, scores, steal, trained
from torch import nn

from bench import DefenderData, Helpers, Split
from bench.training.oracle import Oracle, Suspect

FLOORS = (AKH(), Agreement(), Noise())


def extract(method, source=None, data=HELD, seed=0):
    around = context(seed)
    return method.extract(source or trained(), data, Helpers(), around), around


def labels(model, images):
    return Oracle(model, "labels", "test").labels(images.float() / 255)


class Constant(nn.Module):
    """A network that says one class, whatever it is asked."""

    def __init__(self, label=0):
        super().__init__()
        self.logits = nn.Parameter(nn.functional.one_hot(torch.tensor(label), 10).float())

    def forward(self, x):
        return self.logits.expand(len(x), -1)


@pytest.mark.parametrize("method", FLOORS, ids=lambda m: m.name)
def test_a_baseline_agrees_wholly_with_its_own_source(method):
    fingerprint, _ = extract(method)
    probes = fingerprint["probes"]
    assert method.baseline and probes.dtype == torch.uint8 and probes.is_contiguous()
    assert torch.equal(labels(trained(), probes), fingerprint["labels"])
    assert scores(method, fingerprint, [trained()]) == [1.0]


@pytest.mark.parametrize("method", FLOORS, ids=lambda m: m.name)
def test_the_score_is_the_share_of_equal_labels_asked_as_labels(method):
    fingerprint, _ = extract(method)
    model = trained("residual", 1, "attacker")
    suspect = Suspect(model, method.name, method.samples)
    score = method.score(fingerprint, suspect)
    equal = sum(a == b for a, b in zip(labels(model, fingerprint["probes"]), fingerprint["labels"], strict=True))
    assert math.isclose(score, int(equal) / len(fingerprint["labels"]))
    assert suspect.strongest == "labels" and suspect.queries == len(fingerprint["labels"])
    constant = method.score(fingerprint, Suspect(Constant(3), method.name))
    assert math.isclose(constant, float((fingerprint["labels"] == 3).double().mean()))


@pytest.mark.parametrize("method", FLOORS, ids=lambda m: m.name)
def test_the_probes_are_chosen_by_the_seed_alone(method):
    one, again, other = (extract(method, seed=s)[0]["probes"] for s in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("method", FLOORS, ids=lambda m: m.name)
def test_fine_tuned_copies_agree_more_than_irrelevant_networks(method):
    fingerprint, _ = extract(method)
    tuned = [steal(FinetuneA(), trained(), seed=s)[0] for s in range(3)]
    irrelevant = [trained(kind, s, "attacker") for kind in ("plain", "residual") for s in range(2)]
    ours, theirs = (scores(method, fingerprint, models) for models in (tuned, irrelevant))
    assert np.mean(ours) > np.mean(theirs) and auc(ours, theirs) > 0.7


def test_akh_asks_what_the_source_gets_wrong_at_most_a_hundred_of_them():
    wrong = labels(trained(), PROBE.images) != PROBE.labels
    fingerprint, around = extract(AKH())
    assert around.notes == {"misclassified": int(wrong.sum())}
    mistakes = {p.numpy().tobytes() for p in PROBE.images[wrong]}
    assert {p.numpy().tobytes() for p in fingerprint["probes"]} == mistakes and len(mistakes) < 100
    few, _ = extract(AKH(samples=5))
    assert len(few["labels"]) == 5 and {p.numpy().tobytes() for p in few["probes"]} < mistakes


def test_where_the_source_errs_on_nothing_akh_asks_what_it_wavers_on():
    right = Split(PROBE.images, labels(trained(), PROBE.images))
    fingerprint, around = extract(AKH(samples=10), data=DefenderData(DEFENDER, right))
    assert around.notes == {"misclassified": 0} and len(fingerprint["labels"]) == 10
    with torch.no_grad():
        asked, held = (trained()(i.float() / 255).topk(2, dim=1).values for i in (fingerprint["probes"], PROBE.images))
    assert torch.allclose((asked[:, 0] - asked[:, 1]).sort().values, (held[:, 0] - held[:, 1]).sort().values[:10])


def test_agreement_asks_plain_probes_each_once():
    fingerprint, around = extract(Agreement())
    asked = [p.numpy().tobytes() for p in fingerprint["probes"]]
    assert len(set(asked)) == 100 and set(asked) <= {p.numpy().tobytes() for p in PROBE.images}
    assert not around.notes
    few = DefenderData(DEFENDER, Split(PROBE.images[:30], PROBE.labels[:30]))
    fingerprint, around = extract(Agreement(), data=few)
    assert len(fingerprint["labels"]) == 30 and around.notes == {"probes": 30}


def test_noise_is_uniform_and_of_the_images_shape():
    probes = extract(Noise(samples=500))[0]["probes"]
    assert probes.shape == (500, 1, 8, 8)
    x = probes.double() / 255
    assert abs(float(x.mean()) - 0.5) < 0.01 and abs(float(x.var()) - 1 / 12) < 0.003
