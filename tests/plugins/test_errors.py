"""The baseline that looks at no source: it finds whatever is worse than an irrelevant network."""

import math

import pytest
import torch
from bench_plugins.methods.errors import Errors
from small_world import DEFENDER, HELD, PROBE, auc, context, scores, trained
from torch import nn

from bench import DefenderData, Helpers, Split
from bench.training.oracle import Oracle, Suspect


def extract(samples=500, source=None, data=HELD, seed=0):
    around = context(seed)
    return Errors(samples=samples).extract(source or trained(), data, Helpers(), around), around


def test_the_score_is_the_share_of_wrong_labels_asked_as_labels():
    fingerprint, around = extract(200)
    model = trained("residual", 1, "attacker")
    suspect = Suspect(model, "errors", 500)
    score = Errors().score(fingerprint, suspect)
    answers = Oracle(model, "labels", "test").labels(fingerprint["probes"].float() / 255)
    assert math.isclose(score, float((answers != fingerprint["labels"]).double().mean()))
    assert 0 < score < 1 and suspect.strongest == "labels" and suspect.queries == len(fingerprint["labels"])
    assert not around.notes


def test_the_probes_are_plain_images_with_their_true_labels_each_once():
    fingerprint, around = extract(samples=20)
    true = {p.numpy().tobytes(): int(y) for p, y in zip(PROBE.images, PROBE.labels, strict=True)}
    drawn = [p.numpy().tobytes() for p in fingerprint["probes"]]
    assert len(set(drawn)) == 20 and [true[p] for p in drawn] == fingerprint["labels"].tolist() and not around.notes
    few = DefenderData(DEFENDER, Split(PROBE.images[:30], PROBE.labels[:30]))
    fingerprint, around = extract(data=few)
    assert len(fingerprint["labels"]) == 30 and around.notes == {"probes": 30}


def test_it_looks_at_no_source_and_draws_by_the_seed_alone():
    one, other_source, other_seed = (
        extract(100, source, seed=seed)[0]["probes"]
        for source, seed in ((trained(), 0), (trained("residual", 2), 0), (trained(), 1))
    )
    assert torch.equal(one, other_source) and not torch.equal(one, other_seed)


def test_it_takes_a_poor_network_of_nobody_for_a_copy():
    fingerprint, _ = extract()
    good = [trained(kind, s, "attacker") for kind in ("plain", "residual") for s in range(2)]
    torch.manual_seed(0)
    poor = [nn.Sequential(nn.Flatten(), nn.Linear(64, 10)) for _ in range(3)]
    assert auc(scores(Errors(), fingerprint, poor), scores(Errors(), fingerprint, good)) == pytest.approx(1)
