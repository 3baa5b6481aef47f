"""What happens to queries and answers on the way, compared with Pillow, numpy and arithmetic."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from bench.core.errors import NotApplicable
from bench.training.answering import ask
from bench.verification.distortions import ANSWERS, DIRECT, DISTORTIONS, QUERIES, Transported

SHAPES = ((1, 8, 8), (3, 32, 32), (1, 28, 28), (4, 9, 7), (3, 1, 1), (2, 300, 5))


def images(shape, count=3, seed=0):
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed))


def linear(shape=(1, 8, 8), classes=10):
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), classes))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("distortion", QUERIES, ids=lambda d: d.name)
def test_changed_queries_are_images_of_8_bits_of_the_same_shape(distortion, shape):
    x = images(shape)
    found = distortion.queries(x)
    assert found.shape == x.shape and found.dtype == torch.float32
    assert float(found.min()) >= 0 and float(found.max()) <= 1
    assert torch.allclose((found * 255).round() / 255, found, atol=1e-7)
    assert torch.equal(distortion.queries(x), found)
    assert torch.equal(distortion.queries(x[1:2]), found[1:2])


def test_png_loses_nothing_but_what_8_bits_lose_and_half_a_step_at_most():
    for shape in SHAPES:
        x = images(shape)
        assert torch.equal(DISTORTIONS["png"].queries(x), DISTORTIONS["uint8"].queries(x))
        assert float((DISTORTIONS["png"].queries(x) - x).abs().max()) <= 0.5 / 255 + 1e-6


@pytest.mark.parametrize(("name", "quality", "subsampling"), [("jpeg_q75", 75, 2), ("jpeg_q100_444", 100, 0)])
def test_jpeg_is_pillow_s_of_rgb_and_of_grey_images(name, quality, subsampling):
    for shape, mode in (((3, 32, 32), "RGB"), ((1, 28, 28), "L")):
        (x,) = images(shape, 1)
        array = (x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        file = io.BytesIO()
        picture = Image.fromarray(array if mode == "RGB" else array[:, :, 0])
        assert picture.mode == mode
        picture.save(file, "jpeg", quality=quality, subsampling=subsampling)
        expected = np.array(Image.open(file)).reshape(array.shape)
        found = DISTORTIONS[name].queries(x[None])[0].permute(1, 2, 0).numpy()
        assert np.allclose(found * 255, expected, atol=1e-4)


def test_a_lower_quality_and_coarser_colours_change_more():
    x = images((3, 32, 32))
    gaps = [
        float((DISTORTIONS[name].queries(x) - x).abs().mean())
        for name in ("uint8", "jpeg_q100_444", "jpeg_q100", "jpeg_q95", "jpeg_q75")
    ]
    assert gaps == sorted(gaps) and gaps[0] < gaps[1] / 1.2 and gaps[1] < gaps[2] / 4


def test_resizing_is_pillow_s_and_half_the_size_removes_a_chessboard():
    (x,) = images((1, 28, 28), 1)
    picture = Image.fromarray((x[0] * 255).round().to(torch.uint8).numpy())
    bilinear = Image.Resampling.BILINEAR
    for name, size in (("resize_224", 224), ("resize_half", 14)):
        expected = np.array(picture.resize((size, size), bilinear).resize((28, 28), bilinear))
        found = DISTORTIONS[name].queries(x[None])[0, 0].numpy() * 255
        assert np.abs(found - expected).max() <= 2.01, name  # Pillow rounds after each direction
    rows, columns = torch.meshgrid(torch.arange(28), torch.arange(28), indexing="ij")
    chess = (0.2 + 0.6 * ((rows + columns) % 2))[None, None]
    inside = DISTORTIONS["resize_half"].queries(chess)[0, 0, 2:-2, 2:-2]
    assert float((inside - 0.5).abs().max()) <= 1.01 / 255


@pytest.mark.parametrize(("side", "border"), [(8, 1), (16, 1), (32, 2), (48, 3)])
def test_a_crop_does_not_see_the_border_and_keeps_the_rest(side, border):
    crop = DISTORTIONS["crop_7_8"].queries
    x = images((1, side, side))
    other, inside = x.clone(), x.clone()
    kept = int(side * 7 / 8)
    first = (side - kept) // 2
    other[:, :, :first] = other[:, :, first + kept :] = 1 - x[:, :, :1, :1]
    other[:, :, :, :first] = other[:, :, :, first + kept :] = 0
    inside[:, :, first, first] = (x[:, :, first, first] + 0.5) % 1
    assert side - kept >= border
    assert torch.equal(crop(x), crop(other)) and not torch.equal(crop(x), crop(inside))


def test_rounded_answers_are_the_decimals_of_numpy():
    p = torch.rand(50, 10, generator=torch.Generator().manual_seed(0)).softmax(1)
    for digits in (4, 3, 2):
        found = DISTORTIONS[f"probabilities_{digits}"].answers(p)
        assert np.array_equal(found.numpy(), np.round(p.double().numpy(), digits).astype(np.float32))
    logs = DISTORTIONS["log_probabilities_2"].answers(p).double().log()
    assert float((logs * 100 - (logs * 100).round()).abs().max()) < 1e-4
    assert float((logs - p.double().log()).abs().max()) <= 0.005 + 1e-6
    assert torch.equal(DISTORTIONS["log_probabilities_2"].answers(torch.tensor([[0.0, 1.0]])), torch.tensor([[0.0, 1]]))
    assert torch.equal(DISTORTIONS["bf16"].answers(p), p.bfloat16().float())
    assert torch.equal(DISTORTIONS["bf16"].answers(torch.tensor([300, 1])), torch.tensor([300, 1]))


def test_what_is_answered_through_each_distortion():
    model, x = linear(), images((1, 8, 8), 20)
    for distortion in (DIRECT, *QUERIES):
        suspect = Transported(model, distortion)
        assert suspect.output == "logits"
        assert torch.allclose(suspect.answer(x), ask(model, "logits", distortion.queries(x)))
    kinds = {d.name: Transported(model, d).output for d in ANSWERS}
    assert kinds == {
        **dict.fromkeys([f"probabilities_{n}" for n in (4, 3, 2)], "probabilities"),
        "log_probabilities_2": "probabilities",
        "labels": "labels",
        "bf16": "logits",
    }
    assert torch.equal(Transported(model, DISTORTIONS["labels"]).answer(x), ask(model, "labels", x))


def test_weaker_answers_do_not_become_stronger_ones():
    model, x = linear(), images((1, 8, 8))
    labels = Transported(model, DIRECT, "labels")
    assert labels.output == "labels" and labels.answer(x).dtype == torch.int64
    assert Transported(labels, DISTORTIONS["jpeg_q75"], "logits").output == "labels"
    assert torch.equal(Transported(labels, DISTORTIONS["bf16"]).answer(x), ask(model, "labels", x))
    with pytest.raises(NotApplicable, match="probabilities are rounded to 4 decimals, but only labels are answered"):
        Transported(labels, DISTORTIONS["probabilities_4"]).answer(x)
