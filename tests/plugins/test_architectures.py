"""The shipped architectures: the stock networks are torchvision's, the small ones what their papers draw, in little."""

import copy
import dataclasses
import importlib
import itertools

import pytest
import torch
from torch import nn

from bench import BenchError, prepare_torchvision

TINY = ("tiny_vgg", "tiny_resnet", "tiny_densenet", "tiny_mobilenet")
STOCK = ("vgg13", "vgg16_bn", "vgg19_bn", "resnet18", "resnet34", "densenet121", "mobilenet_v2")
LIGHT = ("resnet18", "densenet121", "mobilenet_v2")
HEAVY = tuple(pytest.param(name, marks=pytest.mark.slow) for name in STOCK if name not in LIGHT)
SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64))


def architecture(name, **fields):
    module = "torchvision_networks" if name in STOCK else "tiny_networks"
    offered = importlib.import_module(f"bench_plugins.architectures.{module}").bench_architectures()
    return dataclasses.replace(next(found for found in offered if found.name == name), **fields)


def build(name, classes=10, shape=(3, 32, 32), seed=0, **fields):
    torch.manual_seed(seed)
    return architecture(name, **fields).build(classes, shape)


def described(name, classes=10, shape=(3, 32, 32)):
    """Build a network without its weights."""
    with torch.device("meta"):
        return architecture(name).build(classes, shape)


def inventory(name, classes=10):
    prepare_torchvision()
    from torchvision import models

    return getattr(models, name)(weights=None, num_classes=classes)


def size(model):
    return sum(p.numel() for p in model.parameters())


def stage_outputs(name, model, x):
    """Return the logits of x and the output of each stage."""
    outputs = []
    hooks = [s.register_forward_hook(lambda _, __, out: outputs.append(out)) for s in architecture(name).stages(model)]
    answer = model(x)
    for hook in hooks:
        hook.remove()
    return answer, outputs


def multiplications(name, shape):
    """Count the multiplications of all convolutions for one image."""
    model, count = described(name, shape=shape).eval(), []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda m, _, out: count.append(out[0, 0].numel() * m.weight.numel()))
    model(torch.zeros(1, *shape, device="meta"))
    return sum(count)


# --- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY + STOCK)
def test_name_version_and_precision_are_declared(name):
    found = architecture(name)
    assert (found.name, found.version) == (name, 1)
    assert found.precision == ("fp32" if "mobilenet" in name else "")


@pytest.mark.parametrize("name", TINY + STOCK)
@pytest.mark.parametrize(("classes", "shape"), [*((10, s) for s in SHAPES), (200, (3, 64, 64)), (200, (1, 8, 8))])
def test_every_shape_gets_one_logit_per_class(name, classes, shape):
    model = described(name, classes, shape).eval()
    assert model(torch.zeros(2, *shape, device="meta")).shape == (2, classes)
    head = architecture(name).head(model)
    assert isinstance(head, nn.Linear) and head.out_features == classes


@pytest.mark.parametrize("name", TINY + STOCK)
def test_stages_are_disjoint_parts_whose_outputs_can_be_hooked_in_order(name):
    model = described(name).eval()
    stages, head = architecture(name).stages(model), architecture(name).head(model)
    inside = [{id(m) for m in s.modules()} for s in stages]
    assert all(any(s is m for m in model.modules()) for s in stages)
    assert not any(a & b for a, b in itertools.combinations(inside, 2))
    assert not any(id(head) in modules for modules in inside)
    _, outputs = stage_outputs(name, model, torch.zeros(2, 3, 32, 32, device="meta"))
    assert len(outputs) == len(stages) >= 3
    sides = [out.shape[-1] for out in outputs]
    assert all(out.dim() == 4 for out in outputs)
    assert sides == sorted(sides, reverse=True) and sides[0] > sides[-1]


@pytest.mark.parametrize("name", (*TINY, *LIGHT, *HEAVY))
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_a_network_copies_reloads_strictly_and_answers_each_image_alone(name, shape):
    model = build(name, shape=shape).eval()
    x = torch.rand(5, *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        answer = model(x)
        assert torch.isfinite(answer).all()
        assert float(answer.std(0).max()) > 0
        assert torch.equal(copy.deepcopy(model)(x), answer)
        alone = torch.cat([model(image[None]) for image in x])
        assert torch.allclose(alone, answer, atol=1e-4 * float(answer.abs().max()), rtol=1e-4)
        empty = described(name, shape=shape)
        empty.load_state_dict(model.state_dict(), strict=True, assign=True)
        assert torch.equal(empty.eval()(x), answer)


@pytest.mark.parametrize("name", (*TINY, *LIGHT, *HEAVY))
def test_the_seed_decides_the_weights_and_no_two_share_memory(name):
    one, again, other = (build(name, shape=(1, 8, 8), seed=seed).state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)
    places = [value.untyped_storage().data_ptr() for value in one.values()]
    assert len(set(places)) == len(places)


# --- the stock ones -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STOCK)
def test_parameters_are_torchvisions_but_for_the_last_layer(name):
    with torch.device("meta"):
        published = inventory(name, 1000)
    ours = described(name, 7)
    wanted = [tuple(p.shape) for p in published.parameters()]
    assert [tuple(p.shape) for p in ours.parameters()] == [*wanted[:-2], (7, wanted[-2][1]), (7,)]
    kept = [type(m) for m in ours.modules() if not list(m.children())]
    padding, *layers = kept
    assert layers == [type(m) for m in published.modules() if not list(m.children())]
    assert padding.__name__ == "Pad"


@pytest.mark.parametrize("name", (*LIGHT, *HEAVY))
def test_answers_are_torchvisions_and_small_grey_images_lie_in_a_frame_of_zeros(name):
    torch.manual_seed(3)
    published = inventory(name).eval()
    x = torch.rand(2, 3, 32, 32)
    grey = torch.rand(2, 1, 9, 8)
    framed = torch.zeros(2, 3, 32, 32)
    framed[:, :, 11:20, 12:20] = grey
    with torch.no_grad():
        assert torch.allclose(build(name, seed=3).eval()(x), published(x), atol=1e-5)
        assert torch.allclose(build(name, shape=(1, 9, 8), seed=3).eval()(grey), published(framed), atol=1e-5)


@pytest.mark.parametrize("name", STOCK)
def test_two_channels_are_refused_in_one_line(name):
    with pytest.raises(BenchError, match=f"{name} takes images of 1 or 3 channels, not 2"):
        architecture(name).build(10, (2, 32, 32))


def test_vgg_stages_end_with_their_pooling():
    for name, layers in (("vgg13", [2, 2, 2, 2, 2]), ("vgg16_bn", [2, 2, 3, 3, 3]), ("vgg19_bn", [2, 2, 4, 4, 4])):
        stages = architecture(name).stages(described(name))
        assert [sum(isinstance(m, nn.Conv2d) for m in stage) for stage in stages] == layers
        assert all(isinstance(stage[-1], nn.MaxPool2d) for stage in stages)


# --- the small ones -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 16, 16), (3, 9, 13), (1, 48, 20)])
@pytest.mark.parametrize("classes", [10, 200])
def test_small_networks_take_any_channels_and_sides_and_every_parameter_learns(name, shape, classes):
    model = build(name, classes, shape)
    assert size(model) < 50_000
    logits, outputs = stage_outputs(name, model, torch.rand(4, *shape))
    assert logits.shape == (4, classes) and torch.isfinite(logits).all()
    assert min(outputs[-1].shape[2:]) >= 2  # even 8x8 images keep some extent
    assert max(outputs[0].shape[2:]) <= 16  # and large ones do not keep theirs for long
    logits.square().sum().backward()
    for label, parameter in model.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().max()) > 0, label


@pytest.mark.parametrize("name", TINY)
def test_large_images_cost_little_more(name):
    assert multiplications(name, (3, 64, 64)) < 2 * multiplications(name, (3, 32, 32))


@pytest.mark.parametrize("name", TINY)
def test_channels_scale_with_the_width(name):
    wide, narrow = build(name, width=16), build(name, width=8)
    for one, other in zip(narrow.modules(), wide.modules(), strict=True):
        if isinstance(one, nn.Conv2d):
            assert other.out_channels == 2 * one.out_channels
    found = architecture(name)
    assert found.head(wide).in_features == 2 * found.head(narrow).in_features
    assert 3 < size(wide) / size(narrow) < 4


def test_the_plain_network_is_a_chain_of_layers():
    model = build("tiny_vgg")
    leaves = [m for m in model.modules() if not list(m.children())]
    x = torch.rand(2, 3, 32, 32)
    expected = x
    for leaf in leaves:
        expected = leaf(expected)
    assert torch.allclose(model(x), expected, atol=1e-6)


def test_a_residual_block_without_its_convolutions_is_its_shortcut():
    model = build("tiny_resnet").eval()
    block = model.stage1
    x = torch.rand(2, 8, 16, 16)
    assert not torch.equal(block(x), x)
    nn.init.zeros_(block.second[1].weight)
    assert torch.equal(block(x), x)


def test_a_dense_block_appends_to_what_it_was_given():
    model = build("tiny_densenet").eval()
    x = torch.rand(2, 8, 16, 16)
    out = model.dense1(x)
    assert out.shape[1] == 8 + 8 * len(model.dense1.layers)
    assert torch.equal(out[:, :8], x)


def test_spatial_filters_of_the_small_mobilenet_see_one_channel_each():
    stages = architecture("tiny_mobilenet").stages(build("tiny_mobilenet"))
    filters = [m for s in stages for m in s.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert filters and all(m.groups == m.in_channels == m.out_channels for m in filters)
    expansion = architecture("tiny_mobilenet", expansion=2)
    assert size(expansion.build(10, (3, 32, 32))) < size(build("tiny_mobilenet"))


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_small_networks_err_on_one_noisy_digit_in_seven(name):
    from bench.core.spec import Recipe
    from bench.datasets.sampling import halve
    from bench.training.inference import accuracy, predict
    from bench.training.loop import fit
    from bench.training.networks import Normalised

    dataset = importlib.import_module("bench_plugins.datasets.small_images").NoisyDigits()
    train, test = dataset.load(None, True), dataset.load(None, False)
    accuracies = []
    for seed in range(6):
        part = torch.from_numpy(halve(train.labels.numpy(), 0, "train")[seed % 2])
        images, labels = train.images[part], train.labels[part]
        model = Normalised(
            build(name, 10, dataset.shape, seed), images.float().mean() / 255, images.float().std() / 255
        )
        generator = torch.Generator().manual_seed(seed)
        fit(model, images, labels, recipe=Recipe(precision="fp32"), generator=generator, crop=dataset.crop)
        accuracies.append(accuracy(predict(model, test.images), test.labels))
        assert accuracy(predict(model, images), labels) > 0.9
    assert 0.83 < sum(accuracies) / len(accuracies) < 0.91, accuracies
