"""What the transport check notices about networks that were asked directly, and through each distortion."""

import types
from functools import cache, partial

import numpy as np
import pytest
import torch
from small_world import PROBE, trained
from torch import nn

from bench.core.errors import BenchError
from bench.training.answering import ask
from bench.verification.detectors import MOST_QUERIES, least_certain
from bench.verification.distortions import DIRECT, DISTORTIONS, QUERIES, Distortion, Transported, encoded, resized
from bench.verification.kinds import FindingKind
from bench.verification.transports import detected

SUSPECTS = (
    ("plain", 0, "defender"),
    ("plain", 1, "attacker"),
    ("residual", 2, "attacker"),
    ("depthwise", 3, "attacker"),
)


@cache
def checks():
    images = PROBE.images[:100]
    source = ask(trained(), "probabilities", images)
    return types.SimpleNamespace(images=images.numpy(), source_probabilities=source.numpy())


def noticed(model, distortion=DIRECT, kind="probabilities", wanted=None):
    suspect, asked = Transported(model, distortion, kind), []

    def answer(images):
        assert images.dtype == torch.float32 and float(images.min()) >= 0 and float(images.max()) <= 1
        asked.append(len(images))
        return suspect.answer(images)

    found = detected(answer, wanted or checks())
    assert sum(asked) <= MOST_QUERIES
    assert all(f.kind == FindingKind.TRANSPORT and f.text and not f.blocks for f in found)
    assert all(f.figures.get("transport", "direct") in DISTORTIONS for f in found)
    return [f.figures.get("transport") for f in found]


@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("suspect", SUSPECTS, ids=str)
def test_nothing_is_noticed_about_networks_that_are_asked_directly(suspect, kind):
    assert noticed(trained(*suspect), kind=kind) == []


def test_only_plain_images_without_an_answer_are_a_finding():
    """On another machine a pattern may have other pixels, which were not asked: bench judge cannot tell then."""
    suspect, before = Transported(trained(*SUSPECTS[0]), DIRECT, "probabilities"), [False]

    def answer(images, plain):
        before.append(float(images.flatten(1).std(1).max()) < 1e-6)
        if before[-1 if plain else -2]:
            raise BenchError("no recorded answer")
        return suspect.answer(images)

    (found,) = detected(partial(answer, plain=True), checks())
    assert found.text.startswith("plain images get no answer") and not found.figures
    with pytest.raises(BenchError, match="no recorded answer"):
        detected(partial(answer, plain=False), checks())


EXPECTED = {
    **{d.name: [d.name] for d in DISTORTIONS.values()},
    "direct": [],
    "png": ["uint8"],
    "jpeg_q100_444": ["jpeg_q100"],  # the same for grey images
    "crop_7_8": ["crop_7_8", "uint8"],
}


@pytest.mark.parametrize("suspect", SUSPECTS[::2], ids=str)
@pytest.mark.parametrize("name", DISTORTIONS)
def test_each_distortion_is_noticed(name, suspect):
    assert noticed(trained(*suspect), DISTORTIONS[name]) == EXPECTED[name]


def jpeg(quality):
    return Distortion("", "", partial(encoded, format="jpeg", quality=quality))


def webp(images):
    pictures = images.expand(-1, 3, -1, -1)
    return encoded(pictures, format="webp", quality=80)[:, :1]


OTHERS = {
    "JPEG 50": (Distortion("", "", lambda x: jpeg(50).queries(x)), {"jpeg_q75"}),
    "JPEG 85": (jpeg(85), {"jpeg_q75", "jpeg_q95", "jpeg_q100", "resize_224"}),
    "256 pixels": (
        Distortion("", "", lambda x: resized(resized(x, (256, 256)), tuple(x.shape[2:]))),
        {"resize_224"},
    ),
    "WebP": (Distortion("", "", webp), {"jpeg_q75", "jpeg_q95", "jpeg_q100", "resize_224", "resize_half"}),
    "a blur": (
        Distortion(
            "", "", lambda x: (nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False) * 255).round() / 255
        ),
        {"resize_224", "resize_half"},
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_distortions_are_noticed_as_the_nearest(name):
    distortion, nearest = OTHERS[name]
    found = noticed(trained(), distortion)
    assert found and set(found) <= nearest, found


def test_crop_and_rounded_answers_are_both_noticed():
    both = Distortion("", "", DISTORTIONS["crop_7_8"].queries, DISTORTIONS["probabilities_4"].answers, "probabilities")
    assert {"crop_7_8", "probabilities_4"} <= set(noticed(trained(), both))


def test_labels_and_zeros_and_ones_say_that_nothing_else_can_be_seen():
    for answers in ("labels", None):
        change = DISTORTIONS["labels"] if answers else Distortion(
            "", "", answers=lambda p: nn.functional.one_hot(p.argmax(1), 10).float(), kind="probabilities"
        )  # fmt: skip
        found = detected(Transported(trained(), change).answer, checks())
        assert [f.figures["transport"] for f in found] == ["labels"]
        assert "what happens to images on the way cannot be seen in them" in found[0].text


def test_rounded_logits_are_a_note_that_names_no_transport():
    rounded = Distortion("", "", answers=lambda z: z.double().round(decimals=2).float())
    found = detected(Transported(trained(), rounded, "logits").answer, checks())
    assert found[0].text == "answers are rounded to 2 decimals" and "transport" not in found[0].figures


def test_colour_images_lose_their_colours_first():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, 2), nn.ReLU(), nn.Flatten())
    model = nn.Sequential(model, nn.Linear(16 * 15 * 15, 10)).eval()
    random = np.random.default_rng(0)
    smooth = resized(torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0)), (32, 32))
    wanted = types.SimpleNamespace(
        images=(smooth * 255).round().to(torch.uint8).numpy(), source_probabilities=random.random((40, 10))
    )
    found = {d.name: noticed(model, d, "logits", wanted) for d in (DIRECT, *QUERIES)}
    assert found.pop("jpeg_q95") in (["jpeg_q95"], ["jpeg_q100"])
    assert found == {n: EXPECTED[n] for n in found} | {"jpeg_q100_444": ["jpeg_q100_444"]}


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 2, 2), (2, 5, 3), (4, 9, 16)])
def test_images_of_any_shape_and_few_of_them(shape):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), 3))
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    wanted = types.SimpleNamespace(images=images, source_probabilities=np.full((3, 3), 1 / 3))
    assert set(noticed(model, DIRECT, "logits", wanted)) <= {"crop_7_8"}
    assert len(least_certain(wanted)) == 3


def test_check_images_as_floats_and_a_source_that_answers_with_labels_only():
    images = (checks().images / np.float32(255)).astype(np.float32)
    wanted = types.SimpleNamespace(images=images, source_probabilities=np.zeros((0, 10), np.float32))
    assert noticed(trained(), DIRECT, "logits", wanted) == []
    assert noticed(trained(), DISTORTIONS["jpeg_q75"], "logits", wanted) == ["jpeg_q75"]


def test_a_network_that_answers_the_same_to_everything_shows_nothing():
    constant = lambda images: torch.tensor([[0.1, 0.3, 0.6]]).expand(len(images), -1)  # noqa: E731
    found = detected(constant, checks())
    assert all(f.figures.get("transport") != "jpeg_q75" for f in found)
