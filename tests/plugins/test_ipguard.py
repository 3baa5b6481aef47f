"""IPGuard: its loss against numpy, its points on a model made by hand, and what it distinguishes on real ones."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from bench_plugins.architectures.tiny_networks import TinyDenseNet, TinyMobileNet, TinyResNet, TinyVGG
from bench_plugins.attacks.extract_l import ExtractL
from bench_plugins.attacks.extract_p import ExtractP
from bench_plugins.attacks.finetune import FinetuneA
from bench_plugins.attacks.prune import Prune
from bench_plugins.methods.ipguard import IPGuard, balanced, bench_methods, boundary_loss, move, moved_back
from safetensors.torch import load, save
from small_world import ATTACKER, DEFENDER, HELD, PROBE, RECIPE, auc, builder, context, scores, steal, trained
from torch import nn

from bench import BenchError, DefenderData, Helpers, Split
from bench.training.inference import predict
from bench.training.oracle import Suspect


def extract(method, source=None, data=HELD, seed=0):
    around = context(seed)
    return method.extract(source or trained(), data, Helpers(), around), around.notes


@functools.cache
def made(method, seed=0):
    """Extract a fingerprint of the one source once; tests do not change it."""
    return extract(method, seed=seed)


SMALL = IPGuard(samples=40, steps=300)


class Answering(nn.Module):
    """A network whose answers are a function of the number of images."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.weight = answer, nn.Parameter(torch.zeros(1))

    def forward(self, x):
        return self.answer(len(x)) + self.weight


def linear(matrix):
    """Make a linear model of images with as many pixels as the matrix has columns."""
    layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False)
    layer.weight.data = matrix
    return nn.Sequential(nn.Flatten(), layer)


def by_hand(logits, i, j, k):
    """Compute the loss for one point at a time, with Python's own numbers."""
    values = []
    for z, own, wanted in zip(logits.tolist(), i.tolist(), j.tolist(), strict=True):
        rest = [v for t, v in enumerate(z) if t not in (own, wanted)]
        values.append(max(0.0, z[own] - z[wanted] + k) + (max(0.0, max(rest) - z[own]) if rest else 0.0))
    return np.array(values)


# --- the loss -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("shift", [-50.0, 0.0, 50.0])
def test_the_loss_is_the_paper_s(classes, shift):
    random = torch.Generator().manual_seed(classes)
    logits = torch.randn(200, classes, generator=random, dtype=torch.float64) + shift
    i = torch.randint(classes, (200,), generator=random)
    j = (i + torch.randint(1, classes, (200,), generator=random)) % classes
    for k in (0.0, 0.1, 2.0):
        assert np.allclose(boundary_loss(logits, i, j, k).numpy(), by_hand(logits, i, j, k))


def test_the_loss_is_zero_where_j_wins_by_k_and_i_comes_second_and_nowhere_else():
    random = torch.Generator().manual_seed(0)
    logits = torch.randint(-4, 5, (3000, 4), generator=random).double()
    i, j, k = torch.zeros(3000, dtype=torch.int64), torch.ones(3000, dtype=torch.int64), 1.0
    zero = boundary_loss(logits, i, j, k) == 0
    second = (logits[:, 0] >= logits[:, 2]) & (logits[:, 0] >= logits[:, 3])
    assert 0 < int(zero.sum()) < 3000
    assert torch.equal(zero, second & (logits[:, 1] >= logits[:, 0] + k))


def test_classes_i_and_j_are_left_out_of_the_rest_also_when_all_logits_are_negative():
    logits = torch.tensor([[-5.0, -1.0, -9.0]])
    assert boundary_loss(logits, torch.tensor([0]), torch.tensor([1]), 1.0).item() == 0


# --- the search ---------------------------------------------------------------------------------------------------


def test_points_of_a_linear_model_satisfy_both_inequalities():
    model = linear(torch.tensor([[2.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 2.0]]))
    seeds = torch.tensor([[0.9, 0.2, 0.4], [0.1, 0.3, 0.8], [0.4, 0.6, 0.1]]).reshape(3, 1, 1, 3)
    i = model(seeds).argmax(1)
    j = model(seeds).argmin(1)
    points = move(model, seeds, i, j, 0.5, 0.01, 1000)
    z = model(points).detach()
    own, wanted = z.gather(1, i[:, None]), z.gather(1, j[:, None])
    others = z.scatter(1, torch.stack([i, j], 1), -torch.inf).amax(1, keepdim=True)
    assert bool((wanted >= own + 0.5 - 1e-6).all()) and bool((own >= others - 1e-6).all())
    assert bool((points >= 0).all()) and bool((points <= 1).all())
    assert torch.equal(z.argmax(1), j)


def test_a_point_stops_once_its_loss_is_zero_independently_of_the_others():
    source, seeds = trained(), DEFENDER.x[:24]
    logits = predict(source, seeds)
    i, j = logits.argmax(1), logits.argmin(1)
    together = move(source, seeds, i, j, 0.2, 0.01, 300)
    alone = torch.cat([move(source, *(t[n : n + 1] for t in (seeds, i, j)), 0.2, 0.01, 300) for n in range(6)])
    assert torch.allclose(together[:6], alone, atol=1e-3)
    there = boundary_loss(predict(source, together), i, j, 0.2) == 0
    again = move(source, together, i, j, 0.2, 0.01, 300)
    assert int(there.sum()) > 12
    assert torch.equal(again[there], together[there])


def test_points_end_at_the_margin_that_was_asked_for_also_a_small_one():
    source, seeds = trained(), DEFENDER.x[:60]
    logits = predict(source, seeds)
    i = logits.argmax(1)
    j = (i + 1) % 10
    for k in (0.01, 0.2, 3.0):
        z = predict(source, move(source, seeds, i, j, k, 0.01, 300))
        own, wanted = z.gather(1, torch.stack([i, j], 1)).unbind(1)
        there = boundary_loss(z, i, j, k) <= 1e-5
        assert int(there.sum()) > 30
        margins = (wanted - own)[there]
        assert k - 1e-5 <= float(margins.median()) <= 1.02 * k + 1e-3
        assert float((margins <= 1.05 * k + 0.01).double().mean()) > 0.8


def test_moving_back_keeps_the_loss_zero_and_leaves_points_that_did_not_converge():
    model = linear(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    before = torch.tensor([[0.6, 0.4], [0.6, 0.4], [0.3, 0.9]]).reshape(3, 1, 1, 2)
    points = torch.tensor([[0.1, 0.9], [0.5, 0.5], [0.3, 0.9]]).reshape(3, 1, 1, 2)
    i, j = torch.zeros(3, dtype=torch.int64), torch.ones(3, dtype=torch.int64)
    found = moved_back(model, before, points, i, j, 0.25)
    assert torch.equal(found[1:], points[1:])
    margin = float(found[0, 0, 0, 1] - found[0, 0, 0, 0])
    assert 0.25 <= margin < 0.251


def test_the_box_holds_where_the_boundary_lies_outside_it():
    model = linear(torch.tensor([[1.0, 0.0], [0.0, 0.01]]))
    seeds = torch.tensor([[0.5, 0.5]]).reshape(1, 1, 1, 2)
    points = move(model, seeds, torch.tensor([0]), torch.tensor([1]), 5.0, 0.1, 50)
    assert torch.equal(points.flatten(), torch.tensor([0.0, 1.0]))


def test_a_larger_k_goes_further_into_the_other_class():
    margins = []
    for k in (0.05, 0.5, 2.0):
        fingerprint, _ = made(dataclasses.replace(SMALL, k=k))
        best = predict(trained(), fingerprint["points"]).topk(2, 1).values
        margins.append(float((best[:, 0] - best[:, 1]).mean()))
    assert margins == sorted(margins) and margins[0] < margins[2] / 2


# --- the fingerprint ----------------------------------------------------------------------------------------------


NEAR = {"target": "least_likely", "margin": 0.05}


@pytest.mark.parametrize("options", [{}, NEAR, {"start": "probe"}, {"start": "noise"}], ids=str)
def test_the_source_matches_its_own_fingerprint_wholly_after_a_round_trip(options):
    method = dataclasses.replace(SMALL, **options)
    fingerprint, notes = made(method)
    points, labels = fingerprint["points"], fingerprint["labels"]
    assert points.dtype == torch.float32 and points.shape == (40, 1, 8, 8) and labels.shape == (40,)
    assert float(points.min()) >= 0 and float(points.max()) <= 1
    assert notes["converged"] >= 0.8 and "warning" not in notes
    assert scores(method, load(save(fingerprint)), [trained()]) == [1.0]


def test_points_start_from_images_the_source_gets_right_classes_evenly():
    method = IPGuard(samples=40, steps=0)
    fingerprint, notes = extract(method)
    rows = {image.numpy().tobytes(): int(y) for image, y in zip(DEFENDER.images, DEFENDER.labels, strict=True)}
    pixels = (fingerprint["points"] * 255).round().to(torch.uint8)
    truth = [rows[p.numpy().tobytes()] for p in pixels]
    assert truth == fingerprint["labels"].tolist()
    assert sorted(truth) == sorted([*range(10)] * 4)
    assert notes["converged"] == 0


def test_any_first_indices_hold_the_classes_evenly():
    labels = torch.tensor([0] * 50 + [1] * 3 + [2] * 20)
    order = balanced(labels, torch.Generator().manual_seed(0))
    assert sorted(order.tolist()) == list(range(73))
    assert torch.bincount(labels[order[:9]]).tolist() == [3, 3, 3]
    assert torch.bincount(labels[order[:13]]).tolist() == [5, 3, 5]


def test_k_is_scaled_to_the_source_s_margins_unless_it_is_set():
    method = dataclasses.replace(SMALL, steps=1)
    k = made(method)[1]["k"]
    best = predict(trained(), DEFENDER.images).topk(2, 1).values
    assert math.isclose(k, 0.75 * float((best[:, 0] - best[:, 1]).median()), rel_tol=0.3)
    assert math.isclose(extract(method, source=Doubled(trained()))[1]["k"], 2 * k, rel_tol=1e-2)
    assert math.isclose(made(dataclasses.replace(method, margin=1.5))[1]["k"], 2 * k, rel_tol=1e-2)
    assert made(dataclasses.replace(method, k=0.7))[1]["k"] == 0.7


class Doubled(nn.Module):
    """A network whose logits are twice another's."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return 2 * self.inner(x)


def test_points_that_do_not_converge_are_noted_and_keep_the_label_they_ended_with():
    method = IPGuard(samples=20, k=1000.0, steps=20)
    fingerprint, notes = extract(method)
    best = predict(trained(), fingerprint["points"]).topk(2, 1).values
    assert (notes["converged"], notes["k"]) == (0.0, 1000.0)
    assert math.isclose(notes["reached"], float((best[:, 0] - best[:, 1]).median()), abs_tol=1e-3)
    assert notes["warning"] == "fewer than half of the points reached the margin k"
    assert torch.equal(predict(trained(), fingerprint["points"]).argmax(1), fingerprint["labels"])


def test_the_default_margin_is_reached_on_references_and_the_published_one_seldom():
    default, published = bench_methods()
    assert (default, published.name, published.k) == (IPGuard(), "ipguard_k10", 10.0)
    converged = {m.name: [] for m in (default, published)}
    for reference in (trained("plain", 10), trained("plain", 12)):
        for method in (default, published):
            _, notes = extract(dataclasses.replace(method, samples=40, steps=300), reference)
            converged[method.name].append(notes["converged"])
    assert np.mean(converged["ipguard"]) >= 0.85
    assert np.mean(converged["ipguard_k10"]) < 0.5


def test_the_same_seed_gives_the_same_points_and_another_seed_others():
    method = IPGuard(samples=20, steps=20)
    one, again, other = (extract(method, seed=s)[0]["points"] for s in (0, 0, 1))
    assert torch.equal(one, again) and not torch.equal(one, other)


# --- the score ----------------------------------------------------------------------------------------------------


def test_the_score_is_a_share_of_the_points_asked_as_labels():
    fingerprint, _ = made(SMALL)
    suspect = Suspect(trained("residual", 1, "attacker"), SMALL.name, SMALL.samples)
    score = SMALL.score(fingerprint, suspect)
    assert 0 <= score <= 1 and math.isclose(score * 40, round(score * 40), abs_tol=1e-9)
    assert suspect.strongest == "labels" and suspect.queries == 40
    assert not SMALL.any_label_space


def test_a_model_of_random_labels_matches_one_point_in_ten():
    fingerprint, _ = made(SMALL)
    random = torch.Generator().manual_seed(0)
    guessing = Answering(lambda n: torch.randn(n, 10, generator=random))
    rates = [SMALL.score(fingerprint, Suspect(guessing, SMALL.name)) for _ in range(100)]
    assert abs(float(np.mean(rates)) - 0.1) < 0.02


@pytest.mark.parametrize("answer", [0.0, 1e30, -1e30])
def test_a_constant_suspect_has_a_finite_score(answer):
    fingerprint, _ = made(SMALL)
    constant = Answering(lambda n: torch.full((n, 10), answer))
    assert 0 <= SMALL.score(fingerprint, Suspect(constant, "ipguard")) <= 1


def test_a_fine_tuned_copy_matches_more_points_than_a_network_trained_alone():
    fingerprint, _ = made(SMALL)
    copies = [steal(FinetuneA(), trained(), seed=s)[0] for s in range(2)]
    alone = [trained("plain", s, "attacker") for s in range(2)]
    assert min(scores(SMALL, fingerprint, copies)) > max(scores(SMALL, fingerprint, alone)) + 0.1


# --- bad input ----------------------------------------------------------------------------------------------------


def test_options_that_do_not_exist_are_named_with_those_that_do():
    with pytest.raises(BenchError, match=r"ipguard\.start is 'tests', but must be one of: train, probe, noise"):
        extract(IPGuard(start="tests"))
    with pytest.raises(BenchError, match=r"ipguard\.target is 'near', but must be one of: random, least_likely"):
        extract(IPGuard(target="near"))


def test_too_few_images_that_the_source_gets_right_are_one_line():
    few = DefenderData(Split(DEFENDER.images[:30], DEFENDER.labels[:30]), PROBE)
    with pytest.raises(BenchError, match=r"ipguard needs 100 images of train that the source gets right, but there"):
        extract(IPGuard(), data=few)


# --- the paper ----------------------------------------------------------------------------------------------------


def test_the_reported_figures_average_to_the_reported_averages():
    means = {"fashion_mnist": 0.76, "cifar100": 0.85, "cifar10": 0.80}
    for dataset, mean in means.items():
        rows = [r for r in IPGuard.reported if r.dataset == dataset]
        assert [r.attack for r in rows][:3] == ["finetune_a", "finetune_l", "prune"] and len(rows) == 6
        assert abs(np.mean([r.auc for r in rows]) - mean) < 0.0051
        for r in rows:
            extracted = r.attack.startswith("extract")
            assert (r.stolen, r.irrelevant) == (20 if extracted else 10, 20)
            assert len(r.suspect_architectures) == (4 if extracted else 1)
            assert extracted or r.suspect_architectures == (r.source_architecture,)


FAMILIES = [a.build for a in (TinyVGG(), TinyResNet(), TinyDenseNet(), TinyMobileNet())]
BUILDS = [builder(make=lambda kind, classes, b=b: b(classes, (1, 8, 8))) for b in FAMILIES]
FULL = dataclasses.replace(RECIPE, epochs=20)


@pytest.mark.slow
def test_the_default_margin_is_the_largest_that_95_percent_of_the_points_of_references_reach():
    """Prints the shares. The networks learn the true labels of the defender half: no benchmark scores them.

    The share is 0.96 and 0.93 in docs/ipguard.md, with a standard error of about 0.01.
    """
    margins, found = (0.75, 1.0), []
    for number, build in enumerate(2 * BUILDS):
        reference = context(500 + number, recipe=FULL).fit(build(), DEFENDER.images, DEFENDER.labels)
        notes = [extract(IPGuard(margin=m), reference, seed=number)[1] for m in margins]
        found.append([[n["converged"], n["k"], n["reached"]] for n in notes])
    means = np.mean(found, 0)
    for margin, (converged, k, reached) in zip(margins, means, strict=True):
        print(f"margin {margin}: converged {converged:.3f}, k {k:.2f}, reached {reached:.2f}, n = {len(found)}")
    assert means[0, 0] >= 0.94 and means[1, 0] < means[0, 0]


@pytest.mark.slow
def test_on_noisy_digits_it_tells_copies_and_hardly_extracted_models():
    found = {name: [] for name in ("finetune", "prune", "extract_l", "extract_p", "rate", "deep_rate")}
    for seed in range(3):
        source = context(100 + seed, recipe=FULL).fit(BUILDS[0](), DEFENDER.images, DEFENDER.labels)
        irrelevant = [
            context(200 + 10 * seed + n, recipe=FULL).fit(b(), ATTACKER.images, ATTACKER.labels)
            for n, b in enumerate(2 * BUILDS)
        ]
        method, published = bench_methods()
        fingerprint, _ = extract(method, source, seed=seed)
        rates = scores(method, fingerprint, irrelevant)
        found["rate"].append(np.mean(rates))
        copies = [steal(FinetuneA(), source, seed=s, recipe=FULL)[0] for s in range(4)]
        found["finetune"].append(auc(scores(method, fingerprint, copies), rates))
        pruned = [steal(Prune(), source, seed=s, replicate=s, recipe=FULL)[0] for s in range(3)]
        found["prune"].append(auc(scores(method, fingerprint, pruned), rates))
        for attack in (ExtractL(), ExtractP()):
            students = [steal(attack, source, build=b, seed=n, recipe=FULL)[0] for n, b in enumerate(BUILDS)]
            found[attack.name].append(auc(scores(method, fingerprint, students), rates))
        deep, notes = extract(published, source, seed=seed)
        assert notes["converged"] < 0.5 and notes["warning"]
        found["deep_rate"].append(np.mean(scores(method, deep, irrelevant)))
    means = {name: float(np.mean(values)) for name, values in found.items()}
    print(means)
    assert means["finetune"] >= 0.98 and means["prune"] >= 0.9, means
    assert 0.1 < means["rate"] < means["deep_rate"], means
    assert means["extract_l"] >= 0.4 and means["extract_p"] >= 0.5, means
