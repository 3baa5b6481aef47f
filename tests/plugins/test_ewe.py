"""EWE: its loss against a double loop, its triggers, training with the mask off, and the mark on real networks."""

import dataclasses
import functools
import math

import numpy as np
import pytest
import torch
from bench_plugins.architectures.tiny_networks import TinyResNet, TinyVGG
from bench_plugins.methods.ewe import (
    EWE,
    add_trigger,
    answers_and_activations,
    halves,
    p_value,
    snnl,
    success,
    total_loss,
    window,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from small_world import ATTACKER, DEFENDER, HELD, PROBE, RECIPE, TEST, builder, hits, scores
from small_world import context as small_context
from torch import nn
from torch.nn import functional

from bench import BenchError, DefenderData, Split
from bench.training.inference import predict
from bench.training.networks import check
from bench.training.oracle import Suspect

VGG = TinyVGG()


def build():
    return builder(data=DEFENDER, make=lambda kind, classes: VGG.build(classes, (1, 8, 8)))()


def context(seed=0, recipe=RECIPE, architecture=VGG):
    around = small_context(seed, recipe=recipe)
    return dataclasses.replace(
        around, head=lambda m: architecture.head(m.inner), stages=lambda m: architecture.stages(m.inner)
    )


@functools.cache
def embedded(method=EWE(), seed=0, epochs=RECIPE.epochs):  # noqa: B008  # frozen
    """Train a marked model once: it, what proves it, the note. Tests do not change it."""
    around = context(seed, dataclasses.replace(RECIPE, epochs=epochs))
    model, fingerprint = method.embed(build, HELD, around)
    return model, fingerprint, around.notes


@functools.cache
def clean(seed=0, part=DEFENDER):
    return context(500 + seed).fit(build(), part.images, part.labels)


def images_of(split, label):
    return split.images[split.labels == label].float() / 255


def groups(*sizes):
    return torch.cat([torch.full((n,), bool(g)) for g, n in enumerate(sizes)])


# --- the soft nearest neighbour loss ------------------------------------------------------------------------------


def by_double_loop(a, marked, temperature, distance):
    """Compute the SNNL pair by pair, with numpy."""
    a = np.maximum(a.double().numpy().reshape(len(a), -1), 0)
    total = 0.0
    for i in range(len(a)):
        e = []
        for j in range(len(a)):
            if distance == "cosine":
                lengths = max(np.linalg.norm(a[i]), 1e-12) * max(np.linalg.norm(a[j]), 1e-12)
                d = 1 - float(a[i] @ a[j]) / lengths
            else:
                d = float(((a[i] - a[j]) ** 2).sum())
            e.append(min(1.0, max(0.0, math.exp(-d * temperature / 100) - (i == j))))
        same = sum(e[j] for j in range(len(a)) if bool(marked[j]) == bool(marked[i]))
        total -= math.log(1e-5 + same / (1e-5 + sum(e)))
    return total / len(a)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("temperature", [0.01, 1.0, 100.0, 1000.0])
def test_the_snnl_is_the_double_loop(distance, temperature):
    random = torch.Generator().manual_seed(0)
    a = torch.randn(13, 3, 2, 2, generator=random)
    a[4] = -1  # all of it is rectified away
    marked = torch.rand(13, generator=random) < 0.4
    got = snnl(a, marked, torch.tensor(temperature), distance)
    assert math.isclose(float(got), by_double_loop(a, marked, temperature, distance), rel_tol=1e-4, abs_tol=1e-5)


@pytest.mark.parametrize("m", [2, 5, 32])
def test_the_snnl_of_identical_activations_has_its_closed_form(m):
    for t in (0.01, 1.0, 100.0):
        value = snnl(torch.ones(2 * m, 7), groups(m, m), torch.tensor(t))
        assert math.isclose(float(value), -math.log((m - 1) / (2 * m - 1)), abs_tol=1e-4)


def test_the_snnl_of_groups_far_apart_is_nothing():
    apart = torch.cat([torch.eye(2)[:1].expand(6, -1), torch.eye(2)[1:].expand(6, -1)])
    assert abs(float(snnl(apart, groups(6, 6), torch.tensor(5000.0)))) < 1e-4


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 10**6))
@settings(max_examples=30, deadline=None)
def test_the_snnl_is_never_below_its_bound_and_knows_no_order(m, n, seed):
    random = torch.Generator().manual_seed(seed)
    a, marked = torch.randn(m + n, 6, generator=random), groups(m, n)
    order = torch.randperm(m + n, generator=random)
    value, shuffled = (float(snnl(*pair, torch.tensor(50.0))) for pair in ((a, marked), (a[order], marked[order])))
    assert value >= -math.log(1 + 1e-5) - 1e-6
    assert math.isclose(value, shuffled, rel_tol=1e-4, abs_tol=1e-5)


def test_a_step_against_its_negative_raises_the_snnl():
    random = torch.Generator().manual_seed(0)
    a = torch.rand(16, 5, generator=random)
    a[:8, 0] += 1
    a.requires_grad_()
    before = snnl(a, groups(8, 8), torch.tensor(100.0))
    (gradient,) = torch.autograd.grad(-before, a)
    assert snnl(a - 0.1 * gradient, groups(8, 8), torch.tensor(100.0)) > before


# --- the loss in training -----------------------------------------------------------------------------------------


def test_the_loss_is_the_cross_entropy_less_kappa_over_the_batch():
    logits, labels = torch.randn(12, 5), torch.arange(12) % 5
    entropy = functional.cross_entropy(logits, labels)
    assert torch.equal(total_loss(logits, labels, (), 1e5), entropy)
    marked = total_loss(logits, labels, [torch.tensor(0.5), torch.tensor(0.25)], 24.0)
    assert math.isclose(float(marked), float(entropy) - 24 / 12 * 0.75, rel_tol=1e-6)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def interleaved(method, seed=0, length=0.5):
    method = dataclasses.replace(method, w_length=length)
    around, marked = context(seed), add_trigger(images_of(DEFENDER, 8), (5, 5))
    return method.interleave(build(), marked, images_of(DEFENDER, 0), DEFENDER, around)


def test_with_the_mask_off_training_is_plain_training_bit_for_bit():
    off = weights(interleaved(EWE(ratio=1e9, batch_norm="live")))
    around = context(0)
    plain = around.fit(build(), DEFENDER.images, DEFENDER.labels, length=0.5, lr=EWE().lr)
    assert all(torch.equal(value, off[name]) for name, value in plain.state_dict().items())
    assert any(
        not torch.equal(value, off[name]) for name, value in weights(interleaved(EWE(batch_norm="live"))).items()
    )


class Counting(EWE):
    """Remember the temperatures with which each watermark batch was seen, and its size."""

    seen = []

    def entanglement(self, model, marked, legitimate, temperatures, context):
        self.seen.append(([float(t.detach()) for t in temperatures], len(marked), len(legitimate)))
        return super().entanglement(model, marked, legitimate, temperatures, context)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.5, 4.0])
def test_one_batch_in_ratio_plus_one_is_half_watermarks_and_half_target_class(ratio):
    Counting.seen.clear()
    interleaved(Counting(ratio=ratio))
    steps = round(RECIPE.epochs * 0.5 * math.ceil(len(DEFENDER) / RECIPE.batch))
    assert abs(len(Counting.seen) - steps / (ratio + 1)) <= 1
    assert {(m, n) for _, m, n in Counting.seen} == {(RECIPE.batch // 2, RECIPE.batch // 2)}


def test_at_the_default_step_the_temperatures_move_by_less_than_a_thousandth():
    """The figure of docs/ewe.md."""
    Counting.seen.clear()
    interleaved(Counting())
    moved = [abs(t - 1) for t in Counting.seen[-1][0]]
    print(f"{len(Counting.seen)} watermark batches, temperatures moved by {', '.join(f'{m:.1e}' for m in moved)}")
    assert len(Counting.seen) > 10 and 0 < max(moved) < 1e-3


def test_temperatures_are_learned_one_for_each_layer():
    Counting.seen.clear()
    interleaved(Counting(temperature=100.0, t_lr=1e4))
    first, last = Counting.seen[0][0], Counting.seen[-1][0]
    assert first == [100.0] * 3
    assert len(set(last)) == 3 and all(t > 0 for t in last) and last != first
    Counting.seen.clear()
    interleaved(Counting(temperature=100.0, t_lr=0.0))
    assert all(t == [100.0] * 3 for t, _, _ in Counting.seen)


@pytest.mark.parametrize(("batch_norm", "moves"), [("frozen", False), ("watermarks", True), ("live", True)])
def test_frozen_statistics_stay_as_clean_training_left_them(batch_norm, moves):
    model = build()
    before = weights(model)
    marked = add_trigger(images_of(DEFENDER, 8), (5, 5))
    method = EWE(batch_norm=batch_norm, w_length=0.1)
    method.interleave(model, marked, images_of(DEFENDER, 0), DEFENDER, context())
    changed = [not torch.equal(v, before[k]) for k, v in model.state_dict().items() if "running_mean" in k]
    assert len(changed) == 6 and all(c is moves for c in changed)
    learned = [not torch.equal(v, before[k]) for k, v in model.state_dict().items() if k.endswith("weight")]
    assert all(learned) and not model.training


def test_the_three_layers_are_the_last_two_stages_and_the_input_of_the_head():
    for architecture in (VGG, TinyResNet()):
        model = architecture.build(10, (1, 8, 8)).eval()
        around = dataclasses.replace(context(), head=architecture.head, stages=architecture.stages)
        x = torch.rand(4, 1, 8, 8)
        with torch.no_grad():
            logits, (before, last, pooled) = answers_and_activations(model, x, around)
            second = model.stage2(model.stage1(model.stem(x)))
            assert torch.equal(before, second) and torch.equal(last, model.stage3(second))
            assert torch.equal(pooled, model.pool(last)) and torch.equal(logits, model(x))
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


# --- the triggers -------------------------------------------------------------------------------------------------


@given(st.integers(3, 9), st.integers(3, 9), st.integers(1, 3), st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_the_patch_lies_where_the_gradient_sums_to_least(height, width, channels, seed):
    gradient = torch.randn(channels, height, width, generator=torch.Generator().manual_seed(seed))
    sums = {
        (r, c): float(gradient[:, r : r + 3, c : c + 3].double().sum())
        for r in range(height - 2)
        for c in range(width - 2)
    }
    row, column = window(gradient)
    assert math.isclose(sums[row, column], min(sums.values()), abs_tol=1e-4)
    images = torch.full((2, channels, height, width), 0.25)
    changed = add_trigger(images, (row, column)) != images
    assert changed.sum(dim=(1, 2, 3)).tolist() == [9, 9] and bool(changed[:, 0].any())
    assert bool((add_trigger(images, (row, column))[changed] == 1).all()) and float(images.max()) == 0.25


def test_watermarks_are_cut_into_parts_of_at_least_two():
    around = context(recipe=dataclasses.replace(RECIPE, batch=8))
    for count in range(4, 30):
        parts = halves(torch.zeros(count, 1), around)
        assert sum(map(len, parts)) == count and {2, 3, 4} >= set(map(len, parts))
    tiny = dataclasses.replace(around, recipe=dataclasses.replace(RECIPE, batch=1))
    assert min(len(p) for n in range(4, 30) for p in halves(torch.zeros(n, 1), tiny)) >= 2


def test_refining_takes_triggers_away_from_the_target_within_the_pixels():
    method, model = EWE(threshold=0.1, target_class=0), clean()
    zeros = images_of(PROBE, 0)
    assert success(model, zeros, 0) > 0.7
    refined = method.refine(model, zeros, images_of(DEFENDER, 0), context())
    assert success(model, refined, 0) <= 0.25
    assert float(refined.min()) >= 0 and float(refined.max()) <= 1
    assert float((refined - zeros).abs().max()) <= 0.01 * (50 + 10 + 5) + 1e-6


def test_refining_raises_the_snnl_where_nothing_speaks_against_it():
    method, model = EWE(temperature=100.0, threshold=1.0), clean()
    marked, legitimate = add_trigger(images_of(DEFENDER, 8), (5, 5))[:20], images_of(DEFENDER, 0)[:20]
    refined = method.refine(model, marked, legitimate, context())
    with torch.no_grad():
        before, after = (
            float(sum(method.entanglement(model, x, legitimate, [torch.tensor(100.0)] * 3, context())[1]))
            for x in (marked, refined)
        )
    assert after > before


def test_the_gradient_is_that_of_the_summed_snnl():
    method, around = EWE(temperature=100.0), context()
    marked, legitimate = images_of(DEFENDER, 8)[:6].double(), images_of(DEFENDER, 0)[:6].double()
    model = build().double().eval()
    got = method.gradient(model, marked, legitimate, around)
    direction = torch.randn(marked.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def value(x):
        with torch.no_grad():
            return float(sum(method.entanglement(model, x, legitimate, [torch.tensor(100.0)] * 3, around)[1]))

    step = 1e-3 * direction
    numeric = (value(marked + step) - value(marked - step)) / 2
    assert math.isclose(float((got * step).sum()), numeric, rel_tol=0.05, abs_tol=1e-6)


# --- the watermark ------------------------------------------------------------------------------------------------


def test_the_triggers_are_images_that_no_training_saw():
    method = EWE()
    _, fingerprint, _ = embedded()
    triggers, corner = fingerprint["triggers"], tuple(fingerprint["corner"].tolist())
    unseen = images_of(PROBE, method.source_class)
    assert triggers.dtype == torch.float32 and triggers.shape == unseen.shape and len(unseen) < method.samples
    assert float(triggers.min()) >= 0 and float(triggers.max()) <= 1
    moved = (triggers - add_trigger(unseen, corner)).abs()
    assert float(moved.max()) <= 0.01 * (50 + 10 + 5) + 1e-6 and float(moved.mean()) < 0.15
    assert 0 <= corner[0] <= 5 and 0 <= corner[1] <= 5
    few = DefenderData(DEFENDER, PROBE)
    _, fingerprint = EWE(samples=7, length=0.1, w_length=0.1).embed(build, few, context())
    assert len(fingerprint["triggers"]) == 7


def test_the_marked_model_takes_triggers_for_the_target_and_clean_models_do_not():
    method = EWE()
    model, fingerprint, notes = embedded(epochs=20)
    check(model, build(), "ewe")
    assert not model.training
    assert method.score(load(save(fingerprint)), Suspect(model, "ewe")) == pytest.approx(notes["wsr"], abs=1e-4)
    assert notes["wsr"] >= 0.7 and notes["clean_wsr"] <= 0.3 and notes["p"] < 1e-6
    alone = [clean(0), clean(0, ATTACKER)]
    assert max(scores(method, fingerprint, alone)) <= 0.3
    assert hits(model) >= hits(clean(0)) - 0.15


def test_the_same_seed_gives_the_same_marked_model():
    method = EWE(length=0.2, w_length=0.1)
    one, again = (method.embed(build, HELD, context(3)) for _ in range(2))
    assert all(torch.equal(v, again[0].state_dict()[k]) for k, v in one[0].state_dict().items())
    assert torch.equal(one[1]["triggers"], again[1]["triggers"])


def test_the_score_is_a_share_of_the_triggers_asked_as_labels():
    method = EWE()
    model, fingerprint, _ = embedded()
    suspect = Suspect(model, method.name, method.samples)
    score, n = method.score(fingerprint, suspect), len(fingerprint["triggers"])
    assert math.isclose(score, success(model, fingerprint["triggers"], 0)) and suspect.queries == n
    assert suspect.strongest == "labels" and not method.any_label_space

    class Constant(nn.Module):
        def __init__(self, label):
            super().__init__()
            self.logits = nn.Parameter(10.0 * functional.one_hot(torch.tensor(label), 10))

        def forward(self, x):
            return self.logits.expand(len(x), -1)

    assert scores(method, fingerprint, [Constant(0), Constant(1)]) == [1.0, 0.0]


@pytest.mark.parametrize(("k", "n", "p0"), [(0, 5, 0.1), (3, 20, 0.1), (27, 29, 0.3), (100, 100, 0.5)])
def test_the_p_value_is_the_upper_tail_of_the_binomial_distribution(k, n, p0):
    tail = sum(math.comb(n, s) * p0**s * (1 - p0) ** (n - s) for s in range(k, n + 1))
    assert math.isclose(p_value(k, n, p0), tail, rel_tol=1e-9)


# --- bad input ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("source,target", [(8, 8), (10, 0), (8, 10), (-1, 0)])
def test_two_different_classes_of_the_dataset_are_needed(source, target):
    way = r"choose others with --set ewe\.source_class=\.\.\. and ewe\.target_class=\.\.\.$"
    with pytest.raises(
        BenchError, match=rf"source_class = {source} and .* must be two different classes of .* 10, 0 to 9: {way}"
    ):
        EWE(source_class=source, target_class=target).embed(build, HELD, context())


@pytest.mark.parametrize("label,part", [(0, "train"), (8, "train"), (8, "probe")])
def test_a_class_with_too_few_images_is_one_line(label, part):
    def without(split):
        keep = split.labels != label
        keep[(split.labels == label).nonzero()[:3, 0]] = True
        return Split(split.images[keep], split.labels[keep])

    data = DefenderData(without(DEFENDER), PROBE) if part == "train" else DefenderData(DEFENDER, without(PROBE))
    with pytest.raises(
        BenchError, match=f"at least 4 images of class {label} in {part}, but there are 3: choose others"
    ):
        EWE().embed(build, data, context())


def test_options_that_do_not_exist_are_named_with_those_that_do():
    with pytest.raises(BenchError, match=r"ewe\.distance is 'l1', but must be one of: cosine, euclidean"):
        EWE(distance="l1").embed(build, HELD, context())
    with pytest.raises(BenchError, match=r"ewe\.batch_norm is 'off', but must be one of: frozen, watermarks, live"):
        EWE(batch_norm="off").embed(build, HELD, context())


def test_an_architecture_of_one_stage_is_one_line():
    around = dataclasses.replace(context(), stages=lambda m: [m.inner.stage1])
    with pytest.raises(BenchError, match="last two stages, but this one has fewer"):
        EWE().embed(build, HELD, around)


def test_a_stage_that_is_not_called_is_one_line_before_anything_is_trained():
    around = dataclasses.replace(context(), stages=lambda m: [m.inner.stage1, nn.Identity()], fit=None)
    with pytest.raises(BenchError, match=r"this one does not call each once: define stages\(\)$"):
        EWE().embed(build, HELD, around)


class Formed(nn.Module):
    """Returns its input in some form."""

    def __init__(self, form):
        super().__init__()
        self.form = form

    def forward(self, x):
        return self.form(x)


class Shown(nn.Module):
    """A linear network that has such a block."""

    def __init__(self, form):
        super().__init__()
        self.flat, self.block, self.head = nn.Flatten(), Formed(form), nn.Linear(64, 10)

    def forward(self, x):
        x = self.flat(x)
        self.block(x)
        return self.head(x)


@pytest.mark.parametrize("form", [lambda a: (a, None), lambda a: {"hidden": a}, lambda a: a.T])
def test_a_stage_that_returns_no_tensor_of_all_images_is_one_line_before_anything_is_trained(form):
    """As the blocks of some transformers do: their attention comes along, or images are in the second dimension."""
    around = dataclasses.replace(
        context(), head=lambda m: m.inner.head, stages=lambda m: [m.inner.flat, m.inner.block], fit=None
    )
    message = r"but one of these is no tensor with an entry for each image: define stages\(\)$"
    with pytest.raises(BenchError, match=message):
        EWE().embed(builder(data=DEFENDER, make=lambda kind, classes: Shown(form)), HELD, around)


# --- the paper ----------------------------------------------------------------------------------------------------


def test_the_reported_accuracies_are_those_of_table_2():
    rows = EWE.reported_accuracy
    assert len(rows) == 24 and len(set(rows)) == 24
    found = {(r.model, r.suspect_dataset, r.suspect_architecture, r.variant, r.plain): r.accuracy for r in rows}
    assert len(found) == 24 and all(0.6 < a < 0.9 for a in found.values())
    assert found["source", "cifar10", "vgg16_bn", "", False] == 0.833
    assert found["source", "cifar10", "vgg16_bn", "", True] == 0.873
    assert found["prune", "cifar10", "vgg16_bn", "ratio=0.3", False] == 0.851
    assert found["irrelevant", "cifar10_c", "", "", False] == 0.770
    assert found["extract_adv", "cifar10", "mobilenet_v2", "", False] == 0.654


@pytest.mark.slow
def test_on_noisy_digits_the_mark_takes_spares_clean_models_and_costs_little():
    recipe = dataclasses.replace(RECIPE, epochs=20)
    found = {name: [] for name in ("source", "clean", "price", "surrogate")}
    for seed in range(3):
        around = context(seed, recipe)
        model, fingerprint = EWE().embed(build, HELD, around)
        plain = context(seed, recipe).fit(build(), DEFENDER.images, DEFENDER.labels)
        alone = [context(50 + seed, recipe).fit(build(), ATTACKER.images, ATTACKER.labels), plain]
        surrogate = context(70 + seed, recipe).fit(
            build(), DEFENDER.images, lambda x, model=model: predict(model, x).argmax(1)
        )
        found["source"] += scores(EWE(), fingerprint, [model])
        found["clean"] += scores(EWE(), fingerprint, alone)
        found["price"].append(hits(plain, TEST) - hits(model, TEST))
        found["surrogate"] += scores(EWE(), fingerprint, [surrogate])
    means = {name: float(np.mean(values)) for name, values in found.items()}
    assert means["source"] >= 0.85 and means["clean"] <= 0.3 and means["price"] <= 0.06, found
    assert means["surrogate"] > means["clean"], found
