"""The training loop: augmentation, batches, schedule, freezing, determinism, errors; and answers in batches."""

import copy
import dataclasses
import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from bench import Architecture, BenchError
from bench.core.errors import NonFiniteLoss
from bench.core.spec import Recipe
from bench.training import augmentation
from bench.training.augmentation import augment
from bench.training.inference import accuracy, predict
from bench.training.loop import fit
from bench.training.memory_format import needs_contiguous, needs_guard
from bench.training.networks import Normalised, rebuild, with_memory_format
from bench.training.optimizer import learning_rate
from bench.training.oracle import Oracle

RECIPE = Recipe(epochs=2, batch=8, precision="fp32")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def network(classes=3, dropout=0.0):
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(16, classes),
    )


def some_images(count=20, side=5, channels=1):
    return torch.randint(256, (count, channels, side, side), dtype=torch.uint8, generator=seeded(count))


def some_labels(count=20, classes=3):
    return torch.arange(count) % classes


def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


# --- augmentation -------------------------------------------------------------------------------------------------


def shifts(image, crop):
    """List all shifts of an image [C, H, W] by up to `crop` pixels, filled with black."""
    _, h, w = image.shape
    padded = functional.pad(image, (crop, crop, crop, crop))
    return [padded[:, y : y + h, x : x + w] for y in range(2 * crop + 1) for x in range(2 * crop + 1)]


@pytest.mark.parametrize("crop", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_crop_is_a_shift_filled_with_black_and_every_shift_occurs(crop, channels):
    images = some_images(400, channels=channels).clamp(min=1)
    seen = set()
    for image, view in zip(images, augment(images, False, crop, seeded()), strict=True):
        fitting = [i for i, shifted in enumerate(shifts(image, crop)) if torch.equal(shifted, view)]
        assert len(fitting) == 1
        seen.update(fitting)
    assert len(seen) == (2 * crop + 1) ** 2


def test_a_flip_mirrors_left_and_right_in_half_of_the_images():
    images = some_images(400)
    views = augment(images, True, 0, seeded())
    mirrored = [torch.equal(view, image.flip(2)) for image, view in zip(images, views, strict=True)]
    kept = [torch.equal(view, image) for image, view in zip(images, views, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 160 < sum(mirrored) < 240


def test_flip_and_crop_together_give_shifts_of_the_image_or_of_its_mirror():
    images = some_images(50).clamp(min=1)
    for image, view in zip(images, augment(images, True, 1, seeded()), strict=True):
        assert any(torch.equal(view, s) for s in shifts(image, 1) + shifts(image.flip(2), 1))


def test_augmentation_is_decided_by_the_generator_and_leaves_its_input_alone():
    images = some_images(50)
    before = images.clone()
    first = augment(images, True, 1, seeded(1))
    assert torch.equal(first, augment(images, True, 1, seeded(1)))
    assert not torch.equal(first, augment(images, True, 1, seeded(2)))
    assert torch.equal(images, before)
    assert first.dtype == torch.uint8
    assert torch.equal(augment(images.float(), True, 1, seeded(1)), first.float())


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("crop", [0, 2])
def test_a_cpu_copies_the_views_that_a_gpu_gathers(flip, crop, monkeypatch):
    images = some_images(200, channels=3)
    copied = augment(images, flip, crop, seeded(4))
    monkeypatch.setattr(augmentation, "_windows_by_numpy", augmentation._windows_by_gather)
    assert torch.equal(copied, augment(images, flip, crop, seeded(4)))
    assert torch.equal(copied.bfloat16(), augment(images.bfloat16().requires_grad_(), flip, crop, seeded(4)))


def test_without_augmentation_images_pass_as_they_are():
    images = some_images()
    assert augment(images, False, 0, seeded()) is images


def test_images_need_not_be_square():
    images = torch.randint(1, 256, (60, 1, 4, 7), dtype=torch.uint8, generator=seeded())
    for image, view in zip(images, augment(images, True, 1, seeded()), strict=True):
        assert any(torch.equal(view, s) for s in shifts(image, 1) + shifts(image.flip(2), 1))


def test_the_last_epochs_are_plain_as_far_as_the_recipe_says():
    """Each image of an epoch is itself, or not, and which epochs are plain follows from the share."""
    images, seen = torch.randint(1, 256, (16, 1, 4, 4), dtype=torch.uint8, generator=seeded()), []

    def loss(model, x, targets):
        known = {(i.float() / 255).numpy().tobytes() for i in images}
        seen.append(all(v.contiguous().numpy().tobytes() in known for v in x))
        return functional.cross_entropy(model(x), targets)

    for plain, expected in ((0.0, [False] * 4), (0.5, [False, False, True, True]), (0.3, [False] * 3 + [True])):
        seen.clear()
        recipe = Recipe(epochs=4, batch=16, plain=plain, precision="fp32")
        fit(network(), images, some_labels(16), recipe=recipe, generator=seeded(), crop=2, flip=True, loss=loss)
        assert seen == expected, plain


# --- the schedule -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_rises_over_the_warm_up_then_falls_almost_to_nothing(schedule):
    recipe = Recipe(lr=0.4, warmup=0.25, schedule=schedule)
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    assert rates[:25] == sorted(rates[:25]) and 0 < rates[0] < 0.05
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert max(rates) == rates[25] == pytest.approx(0.4)
    assert 0 < rates[-1] < 0.01
    middle = rates[25 + 75 // 3]
    expected = 2 / 3 if schedule == "linear" else 0.5 * (1 + math.cos(math.pi / 3))
    assert middle == pytest.approx(0.4 * expected)


def test_a_constant_rate_stays_and_no_warm_up_starts_at_the_top():
    assert {learning_rate(step, 50, Recipe(lr=0.3, warmup=0, schedule="constant")) for step in range(50)} == {0.3}
    assert learning_rate(0, 50, Recipe(lr=0.3, warmup=0)) == 0.3


def test_a_training_of_one_step_has_a_rate():
    assert 0 < learning_rate(0, 1, Recipe(lr=0.3)) <= 0.3


# --- batches and steps --------------------------------------------------------------------------------------------


def recording(seen):
    def loss(model, x, targets):
        seen.append((x.clone(), targets.clone()))
        return functional.cross_entropy(model(x), targets)

    return loss


def test_each_epoch_shows_every_image_once_in_another_order_with_its_own_target():
    images = (torch.arange(21, dtype=torch.uint8) * 10).reshape(21, 1, 1, 1).expand(21, 1, 5, 5)
    seen = []
    fit(network(), images, some_labels(21), recipe=RECIPE, generator=seeded(), loss=recording(seen))
    assert [len(x) for x, _ in seen] == 6 * [7]  # three batches of at most 8 share 21 images evenly
    epochs = [seen[:3], seen[3:]]
    orders = [torch.cat([x[:, 0, 0, 0] for x, _ in epoch]).mul(255 / 10).round().long() for epoch in epochs]
    for order, epoch in zip(orders, epochs, strict=True):
        assert order.sort().values.tolist() == list(range(21))
        assert torch.equal(torch.cat([t for _, t in epoch]), some_labels(21)[order])
    assert not torch.equal(*orders)


@pytest.mark.parametrize(("length", "steps"), [(1.0, 6), (0.5, 3), (0.2, 1), (0.001, 1)])
def test_length_is_a_share_of_the_epochs_and_at_least_one_step_is_made(length, steps):
    seen = []
    fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded(), length=length, loss=recording(seen))
    assert len(seen) == steps


def test_a_training_of_no_length_changes_nothing():
    model = network().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    trained = fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(), length=0)
    assert not trained.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())


def test_progress_is_called_after_each_epoch():
    calls = []
    fit(
        network(),
        some_images(),
        some_labels(),
        recipe=RECIPE,
        generator=seeded(),
        length=1.25,
        progress=lambda *values: calls.append(values),
    )
    assert [done for done, _, _ in calls] == pytest.approx([1, 2, 8 / 3])
    assert {total for _, total, _ in calls} == {8 / 3}
    assert all(0 < loss < 10 for _, _, loss in calls)


def test_a_large_set_is_augmented_in_pieces_that_still_show_every_image_once(monkeypatch):
    monkeypatch.setattr("bench.training.loop.CHUNK", 500)
    seen = []
    fit(
        network(),
        some_images(100),
        torch.arange(100),
        recipe=RECIPE,
        generator=seeded(),
        epochs=1,
        crop=1,
        loss=lambda model, x, t: seen.extend(t.tolist()) or model(x).square().mean(),
    )
    assert sorted(seen) == list(range(100))


# --- targets ------------------------------------------------------------------------------------------------------


def test_callable_targets_are_asked_about_the_very_views_the_network_sees():
    images = some_images().clamp(min=1)
    asked, seen = [], []

    def targets(x):
        assert not torch.is_grad_enabled()
        asked.append(x.clone())
        return x.mean((1, 2, 3)).mul(2.99).long()

    fit(network(), images, targets, recipe=RECIPE, generator=seeded(), crop=1, loss=recording(seen))
    assert len(asked) == len(seen) == 6
    for question, (x, answer) in zip(asked, seen, strict=True):
        assert torch.equal(question, x)
        assert torch.equal(answer, x.mean((1, 2, 3)).mul(2.99).long())
    views = torch.cat(asked)
    assert views.dtype == torch.float32 and float(views.min()) >= 0 and float(views.max()) <= 1
    allowed = [s for image in images for s in shifts(image, 1)]
    assert all(any(torch.equal(view.mul(255).round().byte(), s) for s in allowed) for view in views)
    assert sum(any(torch.equal(view.mul(255).round().byte(), image) for image in images) for view in views) < 20


class Counted(nn.Module):
    """A source that counts the images it computes answers to."""

    def __init__(self):
        super().__init__()
        self.network, self.computed = network().eval(), 0

    def forward(self, x):
        self.computed += len(x)
        return self.network(x)


@pytest.mark.parametrize("answers", ["labels", "probabilities"])
@pytest.mark.parametrize(("crop", "plain", "computed"), [(1, 0.0, 80), (1, 0.75, 40), (0, 0.0, 20)])
def test_a_source_computes_its_answer_to_an_image_that_is_shown_as_it_is_once(answers, crop, plain, computed):
    recipe, images = dataclasses.replace(RECIPE, epochs=4, plain=plain), some_images()
    source, plain_source = (Oracle(Counted(), "probabilities", "a thief") for _ in range(2))
    given = {"recipe": recipe, "crop": crop}
    model = fit(network(dropout=0.3), images, getattr(source, answers), generator=seeded(), **given)
    ask = getattr(plain_source, answers)
    other = fit(network(dropout=0.3), images, lambda x: ask(x), generator=seeded(), **given)
    assert same(state(model), state(other))
    assert (source._model.computed, plain_source._model.computed) == (computed, 80)
    assert source.queries == plain_source.queries == 80 and source.strongest == answers


def test_a_source_is_not_asked_beyond_its_limit_by_images_that_it_knows():
    source = Oracle(network(), "labels", "a thief", limit=50)
    with pytest.raises(BenchError, match="a thief asked 54 queries, but its budget is 50"):
        fit(network(), some_images(), source.labels, recipe=dataclasses.replace(RECIPE, epochs=4), generator=seeded())


def test_a_network_is_trained_where_the_caller_computes_no_gradients():
    usual = fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded())
    with torch.no_grad():
        model = fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded())
        assert not torch.is_grad_enabled()
    assert same(state(model), state(usual))


def test_sure_probabilities_train_as_labels_do():
    trained = []
    for targets in (some_labels(), functional.one_hot(some_labels(), 3).float()):
        trained.append(fit(network(), some_images(), targets, recipe=RECIPE, generator=seeded()))
    x = some_images()
    assert torch.allclose(predict(trained[0], x), predict(trained[1], x), atol=1e-5)


def test_bytes_and_the_same_pixels_as_floats_train_alike():
    images = some_images()
    one = fit(network(), images, some_labels(), recipe=RECIPE, generator=seeded(), crop=1)
    other = fit(network(), images.float() / 255, some_labels(), recipe=RECIPE, generator=seeded(), crop=1)
    assert same(state(one), state(other))


# --- what is trained ----------------------------------------------------------------------------------------------


def test_training_happens_in_place_and_ends_in_eval_mode_with_the_flags_it_found():
    model = network()
    model[0].bias.requires_grad_(False)
    assert fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded()) is model
    assert not any(m.training for m in model.modules())
    assert [n for n, p in model.named_parameters() if not p.requires_grad] == ["0.bias"]


def test_a_trainable_part_leaves_the_rest_bit_identical_statistics_included():
    model = network(dropout=0.5)
    before = state(model)
    modes = []

    def loss(model, x, targets):
        modes.append([m.training for m in model])
        return functional.cross_entropy(model(x), targets)

    fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(), trainable=model[6], loss=loss)
    changed = {name for name, value in state(model).items() if not torch.equal(value, before[name])}
    assert changed == {"6.weight", "6.bias"}
    assert all(mode == 6 * [False] + [True] for mode in modes)
    assert all(p.requires_grad for p in model.parameters())


def test_without_a_trainable_part_weights_and_statistics_move():
    model = network()
    before = state(model)
    fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded())
    assert all(not torch.equal(value, before[name]) for name, value in state(model).items())


@pytest.mark.parametrize("part", [nn.Linear(2, 2), nn.ReLU()])
def test_a_trainable_part_that_is_none_is_refused(part):
    with pytest.raises(BenchError, match="takes a part of the model"):
        fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded(), trainable=part)


def test_flags_and_mode_are_restored_when_training_fails():
    model = network()

    def loss(model, x, targets):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(), trainable=model[6], loss=loss)
    assert all(p.requires_grad for p in model.parameters()) and not model.training


class MakesItsHead(nn.Module):
    """Knows how many inputs its head has when it sees an image."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 4, 3), None

    def forward(self, x):
        x = self.conv(x).flatten(1)
        if self.head is None:
            self.head = nn.Linear(x.shape[1], 3)
        return self.head(x)


def test_a_layer_that_the_network_makes_in_its_first_step_is_named_since_nothing_trains_it():
    model = MakesItsHead()
    with pytest.raises(BenchError, match=r"did not train 'head.weight', which the network made meanwhile: make all"):
        fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded())
    assert not model.training and all(p.requires_grad for p in model.parameters())


# --- determinism --------------------------------------------------------------------------------------------------


def test_the_generator_alone_decides_dropout_included():
    results = []
    for junk in range(2):
        model = network(dropout=0.5)
        torch.manual_seed(junk)
        fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(3), crop=1, flip=True)
        results.append(state(model))
    assert same(*results)
    other = fit(network(dropout=0.5), some_images(), some_labels(), recipe=RECIPE, generator=seeded(4), crop=1)
    assert not same(results[0], state(other))


def test_the_global_generator_is_left_as_it_was():
    torch.manual_seed(11)
    expected = torch.rand(3)
    model = network(dropout=0.5)
    torch.manual_seed(11)
    fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(), crop=1)
    assert torch.equal(torch.rand(3), expected)


def test_two_trainings_with_one_generator_differ():
    generator = seeded()
    trained = [fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=generator) for _ in range(2)]
    assert not same(state(trained[0]), state(trained[1]))


def test_a_training_on_a_cpu_leaves_the_generators_of_gpus_alone(monkeypatch):
    """`torch.manual_seed` seeds those of all devices."""
    model, seeds = network(dropout=0.5), []
    monkeypatch.setattr(torch, "manual_seed", seeds.append)
    fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded())
    assert not seeds


@pytest.mark.gpu
def test_a_gpu_trains_the_same_views_and_leaves_its_generator_alone():
    models = {device: network() for device in ("cpu", "cuda")}  # seeded by torch.manual_seed, which seeds GPUs, too
    torch.cuda.manual_seed(7)
    before = torch.cuda.get_rng_state()
    logits = []
    for device, model in models.items():
        fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(), device=device, crop=1, flip=True)
        logits.append(predict(model, some_images(), device).cpu())
    assert torch.allclose(*logits, atol=0.05)
    assert torch.equal(torch.cuda.get_rng_state(), before)


# --- the recipe ---------------------------------------------------------------------------------------------------


def test_fields_of_the_recipe_can_be_overridden_for_one_training():
    model = network()
    before = {name: value.clone() for name, value in model.named_parameters()}
    fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(), lr=0.0)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    seen = []
    fit(
        model, some_images(), some_labels(), recipe=RECIPE, generator=seeded(), epochs=1, batch=20, loss=recording(seen)
    )
    assert [len(x) for x, _ in seen] == [20]


def test_an_unknown_override_names_the_fields_there_are():
    with pytest.raises(BenchError, match=r"epochs.*lr.*not learning_rate"):
        fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded(), learning_rate=1.0)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(BenchError, match="linear, cosine, constant, not 'cosin'"):
        fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded(), schedule="cosin")


def test_no_images_are_refused():
    with pytest.raises(BenchError, match="no images"):
        fit(network(), some_images(0), some_labels(0), recipe=RECIPE, generator=seeded())


def test_one_step_is_stochastic_gradient_descent_with_weight_decay():
    model, images, labels = network(), some_images(8), some_labels(8)
    mirror = copy.deepcopy(model).train()
    recipe = Recipe(epochs=1, batch=8, lr=0.2, weight_decay=0.1, warmup=0, clip=0, precision="fp32")
    functional.cross_entropy(mirror(images / 255), labels).backward()
    fit(model, images, labels, recipe=recipe, generator=seeded())
    for trained, start in zip(model.parameters(), mirror.parameters(), strict=True):
        expected = start - 0.2 * (start.grad + 0.1 * start)
        assert torch.allclose(trained, expected, atol=1e-6)


def test_a_second_step_goes_on_with_the_momentum_of_the_first():
    model, images, labels = network(), some_images(8), some_labels(8)
    mirror = copy.deepcopy(model).train()
    recipe = Recipe(epochs=2, batch=8, lr=0.1, momentum=0.9, weight_decay=0.1, warmup=0, clip=0, precision="fp32")
    fit(model, images, labels, recipe=recipe, generator=seeded(), schedule="constant")
    velocity = [torch.zeros_like(p) for p in mirror.parameters()]
    for _ in range(2):
        mirror.zero_grad()
        functional.cross_entropy(mirror(images / 255), labels).backward()
        with torch.no_grad():
            for p, v in zip(mirror.parameters(), velocity, strict=True):
                v.mul_(0.9).add_(p.grad + 0.1 * p)
                p.sub_(0.1 * v)
    for trained, expected in zip(model.parameters(), mirror.parameters(), strict=True):
        assert torch.allclose(trained, expected, atol=1e-5)


def test_a_parameter_that_is_a_slice_of_a_larger_tensor_is_trained_as_any_other():
    """torch's fused step walks through memory, and changed what is beside the slice."""
    trained = []
    for dense in (True, False):
        model = network()
        weight = torch.cat([model[6].weight.detach()] * 2, 1)[:, :16]
        model[6].weight = nn.Parameter(weight.clone() if dense else weight)
        assert model[6].weight.stride() == ((16, 1) if dense else (32, 1))
        trained.append(fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded()))
    for one, other in zip(*(model.parameters() for model in trained), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_gradients_are_there_from_backward_to_the_step_only():
    """They are as large as the network. What a loss leaves behind, such as one that makes images, is not added."""
    seen = []

    def leaves_some(model, x, targets):
        seen.append([p.grad is None for p in model.parameters()])
        value = functional.cross_entropy(model(x), targets)
        value.backward(retain_graph=True)
        return value

    recipe = Recipe(epochs=3, batch=8, lr=0.1, precision="fp32")
    first, second = (
        fit(network(), some_images(16), some_labels(16), recipe=recipe, generator=seeded(), loss=loss)
        for loss in (None, leaves_some)
    )
    assert len(seen) == 6 and all(map(all, seen))
    assert all(p.grad is None for p in (*first.parameters(), *second.parameters()))
    assert all(map(torch.equal, first.parameters(), second.parameters()))


def test_the_gradient_norm_is_clipped():
    model = network()
    before = torch.cat([p.detach().flatten().clone() for p in model.parameters()])
    recipe = Recipe(epochs=1, batch=20, lr=1.0, weight_decay=0, momentum=0, warmup=0, clip=0.01, precision="fp32")
    fit(model, some_images(), some_labels(), recipe=recipe, generator=seeded())
    after = torch.cat([p.detach().flatten() for p in model.parameters()])
    assert float((after - before).norm()) == pytest.approx(0.01, rel=1e-2)


def test_gradients_that_are_short_enough_stay_as_they_are():
    wide, none = (
        state(fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded(), clip=clip))
        for clip in (1e6, 0)
    )
    assert same(wide, none)


def test_on_a_cpu_all_weights_but_those_of_dense_convolutions_are_channels_last():
    inner = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(8, 3))
    model = fit(inner, some_images(channels=3), some_labels(), recipe=RECIPE, generator=seeded())
    dense, depthwise = model[0].weight, model[2].weight
    assert dense.is_contiguous() and not dense.is_contiguous(memory_format=torch.channels_last)
    assert depthwise.stride() == (9, 1, 3, 1)


class OwnKernel(nn.Module):
    """A convolution as tutorials write it, which flattens its kernel by `view`, with a parameter of five dimensions."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(4, 2, 3, 3) / 4)
        self.gain = nn.Parameter(torch.ones(1, 1, 4, 1, 1))

    def forward(self, x):
        columns = functional.unfold(x, 3, padding=1)
        return (self.kernel.view(4, -1) @ columns).unflatten(2, x.shape[2:]) * self.gain[0]


def test_parameters_of_a_module_of_ones_own_stay_in_the_format_in_which_they_were_built():
    torch.manual_seed(5)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), OwnKernel(), nn.Flatten(), nn.Linear(100, 3))
    before = state(model)
    fit(model, some_images(), some_labels(), recipe=RECIPE, generator=seeded())
    assert model[1].kernel.stride() == (18, 9, 3, 1)
    assert all(not torch.equal(value, before[name]) for name, value in state(model).items())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_training_at_once(value):
    steps = []

    def loss(model, x, targets):
        steps.append(1)
        return model(x).mean() * (value if len(steps) == 3 else 1.0)

    with pytest.raises(NonFiniteLoss, match="at step 3 of 6"):
        fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded(), loss=loss)
    assert len(steps) == 3


def test_a_loss_of_one_element_may_have_dimensions():
    """As a mean has that is multiplied by a parameter of shape [1]."""

    def loss(model, x, targets):
        return functional.cross_entropy(model(x), targets)[None]

    usual = fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded())
    model = fit(network(), some_images(), some_labels(), recipe=RECIPE, generator=seeded(), loss=loss)
    assert same(state(model), state(usual))


def test_bf16_stays_close_to_fp32_and_keeps_float_weights():
    images, labels = some_images(64), some_labels(64)
    models = []
    for precision in ("fp32", "bf16"):
        models.append(fit(network(), images, labels, recipe=RECIPE, generator=seeded(), precision=precision))
    assert {p.dtype for p in models[1].parameters()} == {torch.float32}
    exact, coarse = predict(models[0], images), predict(models[1], images)
    assert not torch.equal(exact, coarse)
    assert float((exact - coarse).norm() / exact.norm()) < 0.05


# --- answers ------------------------------------------------------------------------------------------------------


def test_answers_do_not_depend_on_batches_or_mode_and_carry_no_gradients():
    model, images = network(dropout=0.5), some_images(23)
    model.train()
    logits = predict(model, images)
    assert model.training
    assert logits.shape == (23, 3) and logits.dtype == torch.float32 and not logits.requires_grad
    assert torch.allclose(logits, predict(model, images, batch=4), atol=1e-6)
    assert torch.equal(logits, predict(model, images.float() / 255))
    assert torch.allclose(logits, model.eval()(images / 255), atol=1e-6)


def test_accuracy_is_the_share_of_right_answers():
    logits = torch.tensor([[3.0, 1.0], [0.0, 1.0], [2.0, 0.0], [0.0, 5.0]])
    assert accuracy(logits, torch.tensor([0, 1, 1, 1])) == 0.75


def test_the_normalising_wrapper_keeps_its_constants_with_the_weights():
    inner = nn.Flatten()
    model = Normalised(inner, torch.tensor([0.5, 0.25]), torch.tensor([0.5, 0.125]))
    x = torch.rand(3, 2, 2, 2)
    expected = torch.stack([(x[:, 0] - 0.5) / 0.5, (x[:, 1] - 0.25) / 0.125], 1)
    assert torch.allclose(model(x), expected.flatten(1))
    assert set(model.state_dict()) == {"mean", "std"}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_normalising_wrapper_passes_on_channels_last(channels, layout):
    seen = []

    class Inner(nn.Module):
        def forward(self, x):
            seen.append(x)
            return x.sum((1, 2, 3))

    mean, std = torch.linspace(0.2, 0.6, channels), torch.linspace(0.1, 0.3, channels)
    x = torch.rand(4, channels, 6, 5).contiguous(memory_format=layout).requires_grad_()
    Normalised(Inner(), mean, std)(x).sum().backward()
    assert seen[0].stride() == (30 * channels, 1, 5 * channels, channels)
    assert torch.equal(seen[0], (x - mean[:, None, None]) / std[:, None, None])
    assert torch.allclose(x.grad, (1 / std)[:, None, None].expand_as(x))


@dataclass(frozen=True)
class ByView(Architecture):
    """As tutorials write it: what comes out of a convolution is reshaped by `view`."""

    name: str = "by_view"
    version: int = 1
    how: str = "view"

    def build(self, num_classes, shape):
        """Make two convolutions, one of them depthwise, and a linear head."""
        channels, h, w = shape

        class Network(nn.Module):
            def __init__(self, how):
                super().__init__()
                self.how = how
                self.dense = nn.Conv2d(channels, 6, 3, padding=1)
                self.deep = nn.Sequential(
                    nn.Conv2d(6, 6, 3, padding=1, groups=6), nn.BatchNorm2d(6), nn.Conv2d(6, 6, 3, 2, padding=1)
                )
                self.head = nn.Linear(6 * ((h + 1) // 2) * ((w + 1) // 2), num_classes)

            def forward(self, x):
                random.random(), np.random.rand()
                return self.head(getattr(self.deep(self.dense(x).relu()), self.how)(len(x), -1))

        return Network(self.how)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_that_runs_on_contiguous_images_only_gets_them(channels):
    shape, images = (channels, 5, 5), some_images(channels=channels)
    answers = []
    for how in ("view", "reshape"):
        torch.manual_seed(0)
        inner = ByView(how=how).build(3, shape)
        inner.deep[1].eval()
        before = state(inner), torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
        model = with_memory_format(
            Normalised(inner, torch.full((channels,), 0.5), torch.ones(channels)), ByView(how=how), shape
        )
        assert same(state(inner), before[0]) and torch.equal(torch.get_rng_state(), before[1])
        assert (random.getstate(), np.random.get_state()[1].tolist()) == before[2:]
        assert inner.training and not inner.deep[1].training
        assert model.contiguous_only is (how == "view")
        fit(model, images, some_labels(), recipe=RECIPE, generator=seeded())
        again = rebuild(ByView(how=how), 3, shape, {k: v.contiguous() for k, v in model.state_dict().items()}).eval()
        answers.append(predict(model, images))
        assert torch.equal(predict(again, images), answers[-1])
    assert torch.allclose(*answers, atol=1e-4)


@dataclass(frozen=True)
class Strided(Architecture):
    """A network with one convolution that is guarded, between two that are not."""

    name: str = "strided"
    version: int = 1

    def build(self, num_classes, shape):
        """Make three convolutions and a linear head."""
        return nn.Sequential(
            nn.Conv2d(shape[0], 4, 3),
            nn.Conv2d(4, 6, 1, 2),
            nn.Conv2d(6, 4, 1),
            nn.Flatten(),
            nn.LazyLinear(num_classes),
        )


def test_convolutions_at_which_onednn_fails_get_contiguous_images():
    """The guard for https://github.com/uxlfoundation/oneDNN/issues/6035; this test runs in one thread."""
    assert torch.get_num_threads() == 1
    shape = (3, 7, 6)
    torch.manual_seed(0)
    inner = Strided().build(5, shape)
    x = torch.rand(4, *shape)
    with torch.no_grad():
        inner(x)  # gives the head its size
    exact = copy.deepcopy(inner).double()
    model = with_memory_format(Normalised(inner, torch.zeros(3), torch.ones(3)), Strided(), shape)
    assert not model.contiguous_only
    guarded = [bool(part._forward_pre_hooks) and bool(part._forward_hooks) for part in inner]
    assert guarded == [needs_guard(part) if isinstance(part, nn.Conv2d) else False for part in inner]
    assert guarded == [False, True, False, False, False]
    formats = []
    inner[1].register_forward_pre_hook(lambda part, inputs: formats.append(inputs[0].is_contiguous()))
    inner[2].register_forward_pre_hook(lambda part, inputs: formats.append(inputs[0].stride()[1] == 1))
    found, expected = model(x), exact(x.double())
    assert formats == [True, True]
    assert torch.allclose(found.double(), expected, atol=1e-6)
    found.square().sum().backward()
    expected.square().sum().backward()
    for part, reference in zip(inner.parameters(), exact.parameters(), strict=True):
        assert torch.allclose(part.grad.double(), reference.grad, atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_gradients_of_single_images_can_be_computed_by_vmap(channels):
    """As for training with differential privacy."""
    shape = (channels, 7, 6)
    torch.manual_seed(0)
    inner, x = Strided().build(5, shape), torch.rand(4, *shape)
    with torch.no_grad():
        inner(x)  # gives the head its size
    model = with_memory_format(Normalised(inner, torch.zeros(channels), torch.ones(channels)), Strided(), shape).eval()
    assert inner[1]._forward_hooks
    found = torch.func.vmap(torch.func.grad(lambda image: model(image[None])[0, 0]))(x)
    expected = x.clone().requires_grad_()
    model(expected)[:, 0].sum().backward()
    assert torch.allclose(found, expected.grad, atol=1e-5)


def test_a_convolution_is_guarded_whose_stride_was_set_to_a_number():
    part = nn.Conv2d(4, 6, 1)
    part.stride = 2
    assert needs_guard(part)


def test_needing_contiguous_images_is_decided_by_trying_both_formats():
    class Picky(nn.Module):
        def __init__(self, *accepted):
            super().__init__()
            self.accepted = accepted

        def forward(self, x):
            if x.is_contiguous() not in self.accepted:
                raise ValueError("any message")
            return x.mean((1, 2, 3))

    found = [needs_contiguous(Picky(*a), (3, 5, 5), torch.device("cpu")) for a in ([True, False], [True], [False], [])]
    assert found == [False, True, False, False]


def test_it_learns_handwritten_digits():
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy((digits.images * 255 / 16).astype("uint8"))[:, None]
    labels = torch.from_numpy(digits.target)
    model = nn.Sequential(
        nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(768, 10)
    )
    fit(model, images[:1200], labels[:1200], recipe=Recipe(epochs=4, precision="fp32"), generator=seeded(), crop=1)
    assert accuracy(predict(model, images[1200:]), labels[1200:]) > 0.88
