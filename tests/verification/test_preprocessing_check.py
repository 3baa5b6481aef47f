"""Suspects that get their images otherwise than they want them, in real formats."""

import functools
import types

import numpy as np
import pytest
import torch
from bench_plugins.datasets.small_images import NoisyDigits
from msgspec import structs
from scipy.stats import binom
from small_world import PROBE, TEST
from torch import nn
from torch.nn.functional import cross_entropy
from zoo_files import network, save_onnx, zoo
from zoo_files import trained as small

from bench.core.errors import BenchError, Interrupted, NotApplicable
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, open_model
from bench.registry.registry import Registry
from bench.training.answering import ask
from bench.verification.kinds import FindingKind
from bench.verification.preprocessing_check import ASKED, MOST_DECLARATIONS, findings, mcnemar

TARGET = Target(10, (1, 8, 8))


def checks(model=None, split=TEST, count=100):
    images = split.images[:count]
    p = ask(model or small(), "probabilities", images).numpy()
    return types.SimpleNamespace(
        images=images.numpy(), labels=split.labels[:count].numpy(), source_labels=p.argmax(1), source_probabilities=p
    )


def described(tmp_path, **fields):
    (model,) = read(zoo(tmp_path, {"name": "a", "role": "suspect", "format": "onnx", "file": "a", **fields}))
    return verified(model)


def found_for(model, wanted=None, target=TARGET):
    asked = []

    def open_as(other):
        opened = open_model(other, target, Registry())

        def answer(images):
            asked.append(len(images))
            return opened.answer(images)

        return answer

    found = findings(model, open_as, wanted or checks())
    assert sum(asked) <= ASKED * MOST_DECLARATIONS
    return found, sum(asked)


def test_a_suspect_that_is_right_is_asked_once(tmp_path):
    save_onnx(small(1), tmp_path / "a")
    assert found_for(described(tmp_path)) == ([], ASKED)


@functools.cache
def learned(change):
    """Train a network on changed images."""
    split = NoisyDigits().load("", True)
    x = CHANGES[change](split.x)
    model = network(5)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for part in torch.cat([torch.randperm(len(x)) for _ in range(4)]).split(32):
        optimizer.zero_grad()
        cross_entropy(model(x[part]), split.labels[part]).backward()
        optimizer.step()
    return model.eval()


MEAN, STD = PROBE.x.mean(), PROBE.x.std()
CHANGES = {
    "range": lambda x: (x - MEAN) / STD,
    "inverted": lambda x: 1 - x,
    "transposed": lambda x: x.transpose(2, 3),
    "ends": lambda x: (x - 0.5) / 0.5,
}


@pytest.mark.parametrize(
    ("change", "fields", "text"),
    [
        ("range", {"mean": [2.0], "std": [0.1]}, 'with range = "0-1" and '),
        ("range", {"mean": [120.0], "std": [0.1]}, 'with range = "0-1" and '),
        ("inverted", {}, "with dark and bright exchanged"),
        ("transposed", {}, "with rows and columns exchanged"),
        ("ends", {"range": "0-255", "mean": [127.5], "std": [1e4]}, 'with range = "0-1" and'),
    ],
)
def test_the_declaration_that_fits_better_is_named(tmp_path, change, fields, text):
    save_onnx(learned(change), tmp_path / "a")
    (found,), _ = found_for(described(tmp_path, **fields))
    assert found.kind == FindingKind.PREPROCESSING and found.blocks == ["all"]
    assert text in found.text, found.text
    assert found.figures["fits"] > found.figures["declared"] + 10


def test_a_network_that_wants_pixels_up_to_255(tmp_path):
    model = small()
    with torch.no_grad():
        scaled = torch.nn.Sequential(*[type(m)(*()) if isinstance(m, (nn.ReLU, nn.Flatten)) else m for m in model])
        first = nn.Conv2d(1, 4, 3, padding=1)
        first.weight.copy_(model[0].weight / 255)
        first.bias.copy_(model[0].bias)
        scaled[0] = first
    save_onnx(scaled.eval(), tmp_path / "a")
    assert found_for(described(tmp_path, range="0-255"))[0] == []
    (found,), _ = found_for(described(tmp_path))
    assert 'with range = "0-255" and no normalisation' in found.text


def test_a_network_whose_layout_is_open_gets_the_right_one(tmp_path):
    """An input without fixed sizes takes either layout, and answers."""
    save_onnx(small(), tmp_path / "a", layout="NHWC", shape=(1, 8, 8))
    assert found_for(described(tmp_path, layout="NHWC"))[0] == []
    with pytest.raises(BenchError, match="size: it wants images"):
        found_for(described(tmp_path))


def test_a_server_that_turns_every_pixel_into_0_is_named(tmp_path):
    save_onnx(small(), tmp_path / "a")
    model = described(tmp_path)
    opened = open_model(model, TARGET, Registry())
    (found,) = findings(model, lambda _: lambda images: opened.answer(0 * images), checks())
    assert found.text.startswith("answers do not depend on the image: each is that of an all-black one")


def test_colours_in_another_order():
    random = torch.Generator().manual_seed(0)
    images = (torch.rand(80, 3, 4, 4, generator=random) * 255).to(torch.uint8)
    labels = images.float().mean((2, 3)).argmax(1).numpy()
    p = np.eye(3)[labels]
    wanted = types.SimpleNamespace(images=images.numpy(), labels=labels, source_labels=labels, source_probabilities=p)
    open_as = lambda model: lambda x: x.flip(1).mean((2, 3)).argmax(1)  # noqa: E731
    model = structs.replace(read_one(), name="a")
    (found,) = findings(model, open_as, wanted)
    assert "with colours in the order blue, green, red" in found.text


@pytest.mark.parametrize("wanted_size", [(8, 8), (224, 224)])
def test_a_forgotten_size_is_named(wanted_size):
    """A server may take images of any size, and be right at the one that its network was trained with."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (80,), generator=random)
    images = torch.randint(256, (80, 3, 4, 4), generator=random).to(torch.uint8)
    p = np.eye(3)[labels]
    wanted = types.SimpleNamespace(
        images=images.numpy(), labels=labels.numpy(), source_labels=labels.numpy(), source_probabilities=p
    )

    def open_as(model):
        half = torch.where(torch.arange(80) % 2 == 0, labels, (labels + 1) % 3)
        return lambda x: (labels if model.size == wanted_size else half)[: len(x)]

    (found,) = findings(read_one(), open_as, wanted)
    assert f"with size = {list(wanted_size)}: correct the description" in found.text and found.blocks == ["all"]


def read_one():
    from bench.models.description import Description

    return Description(name="a", role="suspect", format="onnx", file="/a")


def test_what_interrupts_the_search_ends_it():
    """A server that is down, or a limit, must not look like a declaration that does not fit."""
    model = read_one()

    def open_as(other):
        def answer(images):
            if other != model:
                raise Interrupted("it did not answer within 30 s")
            return torch.arange(len(images)) % 2

        return answer

    with pytest.raises(Interrupted, match="it did not answer"):
        findings(model, open_as, checks())


@pytest.mark.parametrize(
    ("format", "error"),
    [
        ("answers", NotApplicable("1 of 9 images that are asked are not in the answers")),
        ("onnx", BenchError("it answers with NaN")),  # a network that standardises each image divides by 0
    ],
)
def test_a_suspect_that_gives_no_answer_to_black_images_has_its_other_findings(format, error):
    def open_as(_):
        def answer(images):
            if not bool(images.flatten(1).any(1).all()):
                raise error
            return torch.zeros(len(images), dtype=torch.int64)

        return answer

    (found,) = findings(structs.replace(read_one(), format=format), open_as, checks())
    assert found.kind == FindingKind.ACCURACY


def test_renumbered_classes_are_named(tmp_path):
    model = small()
    open_as = lambda _: lambda x: (ask(model, "labels", x) + 3) % 10  # noqa: E731
    (found,) = findings(read_one(), open_as, checks())
    assert found.kind == FindingKind.LABEL_SPACE and "labels = ..." in found.text


def test_an_untrained_network_is_not_above_chance_and_no_declaration_fits(tmp_path):
    save_onnx(network(3), tmp_path / "a")
    (found,), _ = found_for(described(tmp_path))
    assert found.kind == FindingKind.ACCURACY and found.blocks == ["all"]


def test_a_table_of_answers_is_not_asked_otherwise():
    asked = []

    def open_as(model):
        asked.append(model)
        return lambda x: torch.zeros(len(x), dtype=torch.int64) + torch.arange(len(x)) % 2

    model = structs.replace(read_one(), format="answers")
    found = findings(model, open_as, checks())
    assert len(asked) == 1 and [f.kind for f in found] == [FindingKind.ACCURACY]


def test_a_weak_but_honest_network_has_no_finding():
    model, rng = small(), np.random.default_rng(0)
    wrong = torch.from_numpy(rng.random(64) < 0.5)
    open_as = lambda _: lambda x: torch.where(wrong, torch.arange(64) % 10, ask(model, "labels", x))  # noqa: E731
    assert findings(read_one(), open_as, checks()) == []


def test_mcnemar_is_the_binomial_tail():
    better, worse = np.array([True] * 9 + [False] * 2 + [True] * 5), np.array([False] * 9 + [True] * 7)
    assert mcnemar(better, worse) == pytest.approx(binom.sf(8, 11, 0.5))
    assert mcnemar(worse, worse) == 1
