"""CAE: conferrability and its bound, the loss against numpy, every stored point, and what lazy networks cost."""

import dataclasses
import functools
import gc
import logging
import math
import weakref
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from bench_plugins.architectures.tiny_networks import TinyDenseNet, TinyMobileNet, TinyResNet, TinyVGG
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.attacks.extract_p import ExtractP
from bench_plugins.attacks.finetune import FinetuneA
from bench_plugins.attacks.prune import Prune
from bench_plugins.methods import cae
from bench_plugins.methods.cae import CAE, answers, conferrability, drop, transfer
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from small_world import ATTACKER, DEFENDER, HELD, PROBE, RECIPE, auc, builder, context, scores, steal, trained
from torch import nn

from bench import BenchError, DefenderData, Helpers, Split
from bench.training.inference import predict
from bench.training.oracle import Oracle, Suspect

KINDS = ("plain", "residual")
SMALL = CAE(samples=30, tries=3, steps=40, lr=0.01, surrogates=4, references=4)


@functools.cache
def surrogate(kind, seed):
    """Train a network on the source's answers to the defender half, as the host does."""
    oracle = Oracle(trained(), "probabilities", "the host")
    answer = (oracle.labels, oracle.probabilities)[seed % 2]
    return context(2000 + seed).fit(builder(kind)(), DEFENDER.images, answer)


@functools.cache
def helpers():
    surrogates = [surrogate(KINDS[n % 2], n) for n in range(4)]
    return Helpers(surrogates, [trained(KINDS[n % 2], 10 + n) for n in range(4)])


@functools.cache
def made(method=SMALL):
    """Extract a fingerprint once; tests do not change it."""
    around = context()
    return method.extract(trained(), HELD, helpers(), around), around.notes


def softmax(logits):
    e = np.exp(logits - logits.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


def distribution(rows, classes, seed):
    logits = torch.randn(rows, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (2 * logits).softmax(1)


# --- conferrability -----------------------------------------------------------------------------------------------


@given(st.integers(2, 12), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_conferrability_lies_between_0_and_1(classes, seed):
    values = conferrability(distribution(20, classes, seed), distribution(20, classes, seed + 1))
    assert float(values.min()) >= 0 and float(values.max()) <= 1


def test_conferrability_is_1_only_where_all_surrogates_are_sure_and_no_reference_agrees():
    sure, other = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.4, 0.6]])
    assert conferrability(sure, other)[0, 0] == 1
    assert conferrability(0.999 * sure + 0.001 * other, other)[0, 0] < 1
    assert conferrability(sure, 0.999 * other + 0.001 * sure)[0, 0] < 1


@given(st.integers(2, 12), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_a_model_that_is_surrogate_and_reference_confers_at_most_a_quarter(classes, seed):
    p = distribution(50, classes, seed)
    assert float(conferrability(p, p).max()) <= 0.25 + 1e-12


def test_transfer_is_the_mean_of_probabilities_not_of_logits():
    models, x = helpers().references, DEFENDER.x[:40]
    expected = np.mean([softmax(predict(m, x).double().numpy()) for m in models], 0)
    with torch.no_grad():
        assert np.allclose(transfer(answers(models), x).numpy(), expected, atol=1e-5)


# --- the loss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("conferred", ["best", "current"])
def test_the_loss_is_the_paper_s(conferred):
    m, s, r = (distribution(60, 5, seed).numpy() for seed in range(3))
    initial = np.arange(60) % 5
    method = CAE(alpha=0.7, beta=0.3, gamma=1.9, conferred=conferred)
    expected = []
    for n in range(60):
        ensemble = s[n] * (1 - r[n])
        p = ensemble.max() if conferred == "best" else ensemble[m[n].argmax()]
        stayed = -math.log(m[n, initial[n]])
        disagreed = -sum(m[n, t] * math.log(s[n, t]) for t in range(5))
        expected.append(0.7 * -math.log(p) - 0.3 * stayed + 1.9 * disagreed)
    got = method.loss(*(torch.from_numpy(p) for p in (m, s, r)), torch.from_numpy(initial))
    assert np.allclose(got.numpy(), expected)


def test_the_loss_falls_when_the_source_leaves_its_label_and_stays_finite_when_it_has_left_for_good():
    initial = torch.tensor([0])
    s = r = torch.tensor([[0.5, 0.5]])
    method = CAE(gamma=0)
    stays, leaves, left = (method.loss(torch.tensor([p]), s, r, initial) for p in ([0.9, 0.1], [0.1, 0.9], [0, 1.0]))
    assert left < leaves < stays
    nothing_conferred = CAE().loss(torch.tensor([[0.0, 1.0]]), s, torch.ones(1, 2), initial)
    assert bool(torch.isfinite(left)) and bool(torch.isfinite(nothing_conferred))


def test_moving_points_lowers_the_loss():
    method = dataclasses.replace(SMALL, dropout=0.0)
    source, surrogates, references = answers([trained()]), answers(helpers().surrogates), answers(helpers().references)
    seeds = DEFENDER.x[:40]
    points = method.move(source[0], surrogates, references, seeds, torch.Generator().manual_seed(0))
    with torch.no_grad():
        initial = source[0](seeds).argmax(1)
        before, after = (
            method.loss(source[0](x), transfer(surrogates, x), transfer(references, x), initial).mean()
            for x in (seeds, points)
        )
    assert after < before


def test_without_dropout_chance_plays_no_part_and_with_it_it_does():
    groups = [*answers([trained()]), answers(helpers().surrogates), answers(helpers().references)]
    for rate, same in ((0.0, True), (0.5, False)):
        method = dataclasses.replace(SMALL, dropout=rate, steps=5)
        one, other = (method.move(*groups, DEFENDER.x[:20], torch.Generator().manual_seed(s)) for s in (0, 1))
        assert torch.equal(one, other) is same


def test_dropout_keeps_its_share_of_the_models_and_never_none():
    random, group = torch.Generator().manual_seed(0), [*range(10)]
    kept = [drop(group, 0.3, random) for _ in range(400)]
    assert abs(np.mean([len(k) for k in kept]) - 7) < 0.3
    assert all(drop([7, 8], 0.999, random) in ([7], [8]) for _ in range(50))
    assert {drop([7, 8], 0.999, random)[0] for _ in range(50)} == {7, 8}
    assert drop(group, 0.0, random) == group


# --- the fingerprint ----------------------------------------------------------------------------------------------


def test_every_point_is_near_its_seed_misclassified_and_conferrable():
    fingerprint, notes = made()
    x, y, seeds = fingerprint["points"], fingerprint["labels"], fingerprint["seeds"]
    assert x.dtype == torch.float32 and x.shape == (30, 1, 8, 8) and len(set(seeds.tolist())) == 30
    assert float((x - DEFENDER.x[seeds]).abs().max()) <= SMALL.eps + 1e-6
    assert float(x.min()) >= 0 and float(x.max()) <= 1
    assert torch.equal(predict(trained(), x).argmax(1), y)
    assert bool((y != DEFENDER.labels[seeds]).all())
    assert bool((predict(trained(), DEFENDER.x[seeds]).argmax(1) == DEFENDER.labels[seeds]).all())
    s, r = (np.mean([softmax(predict(m, x).double().numpy()) for m in g], 0)
            for g in (helpers().surrogates, helpers().references))  # fmt: skip
    conf = (s * (1 - r))[range(30), y]
    assert np.allclose(conf, fingerprint["conf"].numpy(), atol=1e-4)
    assert conf.min() >= notes["tau"] - 1e-4 and SMALL.lowest_tau <= notes["tau"] <= SMALL.tau
    assert 0 < notes["passed"] <= 1
    assert notes.get("warning") == ("tau 0.95 is not reached" if notes["tau"] < SMALL.tau else None)


class Answering(nn.Module):
    """A network with given probabilities of a dark and of a bright image."""

    def __init__(self, dark, bright):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([dark, bright]).log())

    def forward(self, x):
        return self.logits[(x.mean((1, 2, 3)) > 0.5).long()]


class Brightening(CAE):
    """Moves every seed to white."""

    def move(self, source, surrogates, references, seeds, gen):
        return torch.ones_like(seeds)


def test_a_point_is_chosen_by_the_conferrability_of_the_label_that_is_asked_not_of_the_best_class():
    dark = [0.8, 0.1, 0.1]
    source, surrogate, reference = (Answering(dark, p) for p in ([0.1, 0.8, 0.1], [0.1, 0.3, 0.6], [0.7, 0.1, 0.2]))
    data = DefenderData(Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)), PROBE)
    around = context()
    found = Brightening(samples=2).extract(source, data, Helpers([surrogate], [reference]), around)
    assert found["labels"].tolist() == [1, 1]
    assert np.allclose(found["conf"], 0.3 * (1 - 0.1))  # class 2 has 0.6 * (1 - 0.2)
    assert around.notes == {"tau": 0.25, "passed": 1.0, "warning": "tau 0.95 is not reached"}


def test_an_image_that_keeps_its_label_is_no_point_at_any_threshold():
    steadfast, other = Answering([0.8, 0.1, 0.1], [0.8, 0.1, 0.1]), Answering([0.8, 0.1, 0.1], [0.1, 0.8, 0.1])
    data = DefenderData(Split(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)), PROBE)
    method = Brightening(samples=2, tau=0.0, lowest_tau=0.0)
    with pytest.raises(BenchError, match="needs 2 points, but only 0 of 4 seeds became adversarial"):
        method.extract(steadfast, data, Helpers([other], [other]), context())
    assert method.extract(other, data, Helpers([other], [other]), context())["labels"].tolist() == [1, 1]


def test_the_source_agrees_wholly_after_a_round_trip_and_surrogates_more_than_references():
    fingerprint, _ = made()
    assert scores(SMALL, load(save(fingerprint)), [trained()]) == [1.0]
    surrogates = scores(SMALL, fingerprint, helpers().surrogates)
    references = scores(SMALL, fingerprint, helpers().references)
    assert np.mean(surrogates) > np.mean(references) + 0.1


def test_surrogates_that_did_not_build_the_fingerprint_agree_more_than_references_that_did_not():
    fingerprint, _ = made()
    surrogates = scores(SMALL, fingerprint, [surrogate(KINDS[n % 2], n) for n in range(4, 10)])
    references = scores(SMALL, fingerprint, [trained(KINDS[n % 2], 10 + n) for n in range(4, 10)])
    print(f"surrogates {np.mean(surrogates):.2f}, references {np.mean(references):.2f}, {auc(surrogates, references)}")
    assert np.mean(surrogates) > np.mean(references) and auc(surrogates, references) > 0.5


def test_the_threshold_falls_in_steps_that_are_logged(caplog):
    conf = torch.tensor([0.9, 0.72, 0.71, 0.4])
    with caplog.at_level(logging.INFO, logger="bench"):
        assert CAE(samples=3, tau=0.8)._threshold(conf) == 0.7
    assert [r.getMessage() for r in caplog.records] == [
        "cae: 1 of 4 points reach tau = 0.8",
        "cae: 1 of 4 points reach tau = 0.75",
    ]
    assert CAE(samples=1, tau=0.9)._threshold(conf) == 0.9


def test_too_few_conferrable_points_are_one_line():
    with pytest.raises(BenchError, match=r"needs 4 points, but only 3 of 4 seeds became adversarial and .* at 0\.5: "):
        CAE(samples=4, tau=0.8, lowest_tau=0.5)._threshold(torch.tensor([0.9, 0.72, 0.71, 0.4]))


def test_surrogates_that_are_the_references_yield_nothing_beyond_the_bound():
    same = Helpers(helpers().references[:1], helpers().references[:1])
    method = dataclasses.replace(SMALL, samples=1, lowest_tau=0.3, tries=60, steps=15)
    with pytest.raises(BenchError, match="only 0 of"):
        method.extract(trained(), HELD, same, context())


def test_more_seeds_are_tried_only_while_too_few_points_reach_the_lowest_threshold():
    method = dataclasses.replace(SMALL, samples=20, tries=1, steps=10)
    fingerprint, notes = made(method)
    assert len(fingerprint["points"]) == 20
    tried = 20 if notes["passed"] == 1 else round(int((fingerprint["conf"] >= notes["tau"]).sum()) / notes["passed"])
    assert tried > 20
    easy, notes = made(dataclasses.replace(method, samples=5, tau=0.0, lowest_tau=0.0))
    assert notes["tau"] == 0 and 0 < notes["passed"] < 1 and len(easy["points"]) == 5
    assert bool((easy["labels"] != DEFENDER.labels[easy["seeds"]]).all())


def test_it_says_which_helpers_it_lacks_and_which_options_there_are():
    with pytest.raises(BenchError, match=r"at least one surrogate and one reference: raise cae\.surrogates"):
        SMALL.extract(trained(), HELD, Helpers(helpers().surrogates, []), context())
    with pytest.raises(BenchError, match=r"cae\.conferred is 'worst', but must be one of: best, current"):
        CAE(conferred="worst").extract(trained(), HELD, helpers(), context())
    with pytest.raises(BenchError, match=r"cae\.tries must be 1 or more"):
        CAE(tries=0).extract(trained(), HELD, helpers(), context())


# --- lazy networks ------------------------------------------------------------------------------------------------


class Shelf(Sequence):
    """Networks that are built at each access; counts how many of them exist at once."""

    def __init__(self, models):
        self.models, self.loaded, self.most, self.alive = models, 0, 0, []

    def __len__(self):
        return len(self.models)

    def __getitem__(self, index):
        copy = builder(KINDS[index % 2])().eval()
        copy.load_state_dict(self.models[index].state_dict())
        self.loaded += 1
        self.alive = [a for a in self.alive if a() is not None] + [weakref.ref(copy)]
        self.most = max(self.most, len(self.alive))
        return copy


def size(model):
    return sum(p.numel() * p.element_size() for p in model.parameters())


@pytest.mark.parametrize(("fitting", "most", "loads"), [(4, 4, 4), (1, 3, 4 + 2 * 3), (0, 2, 4 + 2 * 4)])
def test_no_more_networks_are_held_than_there_is_room_for(fitting, most, loads):
    gc.collect()
    shelf = Shelf(helpers().surrogates)
    group = answers(shelf, room=sum(map(size, helpers().surrogates[:fitting])))
    with torch.no_grad():
        one, again = (transfer(group, DEFENDER.x[:8]) for _ in range(2))
        expected = transfer(answers(helpers().surrogates), DEFENDER.x[:8])
    assert torch.equal(one, again) and torch.allclose(one, expected, atol=1e-6)
    assert shelf.loaded == loads and shelf.most <= most


def test_running_large_networks_twice_gives_the_same_gradient(monkeypatch):
    x = DEFENDER.x[:8].requires_grad_()
    plain = torch.autograd.grad(transfer(answers(helpers().surrogates), x)[:, 3].sum(), x)[0]
    monkeypatch.setattr(cae, "LARGE", 0)
    shelf = Shelf(helpers().surrogates)
    twice = torch.autograd.grad(transfer(answers(shelf, room=0), x)[:, 3].sum(), x)[0]
    assert torch.allclose(plain, twice, atol=1e-6)
    assert shelf.loaded == 3 * 4 and shelf.most <= 2


# --- the score ----------------------------------------------------------------------------------------------------


class Constant(nn.Module):
    """A network that returns one value for every class of every image."""

    def __init__(self, value):
        super().__init__()
        self.logits = nn.Parameter(torch.full((10,), value))

    def forward(self, x):
        return self.logits.expand(len(x), -1)


def test_the_score_is_a_share_of_the_points_asked_as_labels():
    fingerprint, _ = made()
    suspect = Suspect(trained("residual", 1, "attacker"), SMALL.name, SMALL.samples)
    score = SMALL.score(fingerprint, suspect)
    assert 0 <= score <= 1 and math.isclose(score * 30, round(score * 30), abs_tol=1e-9)
    assert suspect.strongest == "labels" and suspect.queries == 30
    for value in (0.0, 1e30):
        assert 0 <= SMALL.score(fingerprint, Suspect(Constant(value), "cae")) <= 1
    assert not SMALL.any_label_space


# --- the paper ----------------------------------------------------------------------------------------------------


def test_the_reported_figures_average_to_the_reported_averages():
    for dataset, mean in {"fashion_mnist": 0.81, "cifar100": 0.90, "cifar10": 0.89}.items():
        rows = [r for r in CAE.reported if r.dataset == dataset]
        assert len(rows) == 6 and abs(np.mean([r.auc for r in rows]) - mean) < 0.0051
        for r in rows:
            extracted = r.attack.startswith("extract")
            assert (r.stolen, r.irrelevant) == (20 if extracted else 10, 20)
            assert len(r.suspect_architectures) == (4 if extracted else 1)
            assert extracted or r.suspect_architectures == (r.source_architecture,)


@pytest.mark.slow
def test_on_noisy_digits_it_tells_copies_and_extracted_models_from_irrelevant_ones():
    full = dataclasses.replace(RECIPE, epochs=20)
    families = [a.build for a in (TinyVGG(), TinyResNet(), TinyDenseNet(), TinyMobileNet())]
    builds = [builder(make=lambda kind, classes, b=b: b(classes, (1, 8, 8))) for b in families]
    found = {name: [] for name in ("finetune_a", "prune", "extract_l", "extract_p")}
    for seed in range(3):
        source = context(100 + seed, recipe=full).fit(builds[0](), DEFENDER.images, DEFENDER.labels)
        irrelevant = [
            context(200 + 10 * seed + n, recipe=full).fit(b(), ATTACKER.images, ATTACKER.labels)
            for n, b in enumerate(2 * builds)
        ]
        oracle = Oracle(source, "probabilities", "the host")
        asked = (oracle.labels, oracle.probabilities)
        taught = [(asked[n % 2], 300 + n, b) for n, b in enumerate(2 * builds)]
        alone = [(DEFENDER.labels, 400 + n, b) for n, b in enumerate(2 * builds)]
        group = Helpers(
            *([context(s, recipe=full).fit(b(), DEFENDER.images, t) for t, s, b in role] for role in (taught, alone))
        )
        method = CAE(surrogates=8, references=8)
        fingerprint = method.extract(source, HELD, group, context(seed))
        negatives = scores(method, fingerprint, irrelevant)
        for attack in (FinetuneA(), Prune()):
            copies = [steal(attack, source, seed=s, replicate=s, recipe=full)[0] for s in range(3)]
            found[attack.name].append(auc(scores(method, fingerprint, copies), negatives))
        for attack in (ExtractL(), ExtractP()):
            students = [steal(attack, source, build=b, seed=n, recipe=full)[0] for n, b in enumerate(builds)]
            found[attack.name].append(auc(scores(method, fingerprint, students), negatives))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    assert means["finetune_a"] >= 0.98 and means["prune"] >= 0.9, means
    assert means["extract_l"] >= 0.8 and means["extract_p"] >= 0.9, means
