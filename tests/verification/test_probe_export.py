"""Queries as PNG and npz, with a table of answers, for an operator who has no program; and the answers read back."""

import csv

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_files import images, network, zoo

from bench.core.errors import BenchError
from bench.models.answers import image_digests
from bench.models.content import verified
from bench.models.description import read
from bench.models.opening import Target, open_model
from bench.registry.registry import Registry
from bench.training.answering import ask
from bench.verification.probe_export import export


def queries(x):
    return dict(zip(image_digests(x), x, strict=True))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_hold_the_images_exactly_and_the_filled_table_is_a_model(tmp_path, channels):
    x = (images(7, (channels, 8, 9)) * 255).round() / 255
    assert export(queries(x), tmp_path / "P", 10) == 7
    pictures = sorted((tmp_path / "P" / "images").iterdir())
    read_back = np.stack([np.asarray(Image.open(p)).reshape(8, 9, channels).transpose(2, 0, 1) for p in pictures])
    assert torch.equal(torch.from_numpy(read_back).float() / 255, x)
    assert [p.stem.split("-")[1] for p in pictures] == image_digests(torch.from_numpy(read_back)) == image_digests(x)
    with np.load(tmp_path / "P" / "probes.npz") as arrays:
        assert arrays["images"].dtype == np.uint8 and (arrays["images"] == read_back).all()
    model = network(shape=(channels, 8, 9))
    rows = list(csv.reader((tmp_path / "P" / "answers.csv").read_text().splitlines()))
    with torch.no_grad():
        found = dict(zip(image_digests(x), model(x), strict=True))
    with (tmp_path / "P" / "answers.csv").open("w", encoding="utf-8") as file:
        csv.writer(file).writerows([rows[0], *([row[0], *found[row[0]].tolist()] for row in reversed(rows[1:]))])
    with (tmp_path / "P" / "answers.csv").open("a", encoding="utf-8") as file:
        csv.writer(file).writerow(["0" * 32, *[""] * 10])  # an image that was not answered
    (described,) = read(zoo(tmp_path, {"name": "a", "role": "suspect", "format": "answers", "file": "P/answers.csv"}))
    opened = open_model(verified(described), Target(10, (channels, 8, 9)), Registry())
    torch.testing.assert_close(ask(opened, "logits", x), torch.stack(list(found.values())))


def test_what_needs_more_than_8_bits_is_no_picture_and_the_readme_says_so(tmp_path):
    x = torch.cat([images(3), (images(4) * 255).round() / 255])
    assert export(queries(x), tmp_path / "P", 10, [f"l{i}" for i in range(10)]) == 4
    assert len(list((tmp_path / "P" / "images").iterdir())) == 4
    text = (tmp_path / "P" / "README.txt").read_text()
    assert "7 images, each 8 x 8 pixels" in text and "4 images as PNG" in text
    assert "3 images are not among the PNG files, as they need more than 8 bits" in text
    assert "float32 from 0 to 1" in text and ": l0, l1, " in text and "softmax" not in text
    with np.load(tmp_path / "P" / "probes.npz") as arrays:
        assert torch.equal(torch.from_numpy(arrays["images"]), x)
        assert arrays["digests"].tolist() == image_digests(x)


def test_images_of_other_channels_and_none_at_all(tmp_path):
    x = (images(2, (2, 8, 8)) * 255).round() / 255
    assert export(queries(x), tmp_path / "P", 10) == 0
    assert not (tmp_path / "P" / "images").exists()
    assert "as they have 2 channels" in (tmp_path / "P" / "README.txt").read_text()
    with pytest.raises(BenchError, match="no queries"):
        export({}, tmp_path / "Q", 10)
    with pytest.raises(BenchError, match="exists and is not empty"):
        export(queries(x), tmp_path / "P", 10)
    (tmp_path / "file").write_text("x")
    with pytest.raises(BenchError, match="exists and is not empty"):
        export(queries(x), tmp_path / "file", 10)
    with pytest.raises(BenchError, match="cannot be written"):
        export(queries(x), tmp_path / "file" / "inside", 10)


def test_an_unfilled_table_is_named(tmp_path):
    export(queries(images(2)), tmp_path / "P", 10)
    (described,) = read(zoo(tmp_path, {"name": "a", "role": "suspect", "format": "answers", "file": "P/answers.csv"}))
    with pytest.raises(BenchError, match="no image has an answer: fill in the table"):
        open_model(verified(described), Target(10, (1, 8, 8)), Registry())
