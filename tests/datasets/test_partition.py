"""What cannot be divided is refused when it is read."""

import pytest
import torch

from bench import BenchError, Split
from bench.datasets.partition import partition, read
from bench.testing.toy_plugins import ToyImages


def split(labels, origin=None):
    images = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    return Split(images, torch.tensor(labels), origin)


@pytest.mark.parametrize(
    ("train", "test", "reason"),
    [
        ([0, 0, 1, 1], [1], "no image is left for 'probe': the test part needs two images of a class"),
        ([0, 0, 1, 1], [0], "no image is left for 'test'"),
        ([0], [0, 0, 1, 1], "no image is left for 'attacker': the train part"),
    ],
)
def test_a_part_of_which_nothing_is_left_is_refused_before_anything_is_trained(train, test, reason):
    with pytest.raises(BenchError, match=reason):
        partition(split(train), split(test), 0, 0)


def test_two_images_are_enough():
    made = partition(split([0, 0]), split([0, 0]), 0, 0)
    assert all(len(made[f"{part}.labels"]) == 1 for part in ("defender", "attacker", "probe", "test"))


@pytest.mark.parametrize("origin", [torch.zeros(4), torch.zeros(3, dtype=torch.int64), torch.tensor([0, 1, 2, -1])])
def test_origins_are_indices(origin, tmp_path):
    class Made(ToyImages):
        """Images of another dataset."""

        def load(self, root, train):
            return split([0, 1, 2, 3], origin)

    with pytest.raises(BenchError, match=r"origin is torch.* \[\d\], not int64 \[4\] from 0"):
        read(Made(), tmp_path, True)


def test_channels_at_the_end_are_named_as_that(tmp_path):
    class Turned(ToyImages):
        """Images with their channels last."""

        def load(self, root, train):
            return Split(torch.zeros(4, 8, 8, 1, dtype=torch.uint8), torch.arange(4))

    with pytest.raises(BenchError, match=r"not uint8 .*: move the channels, images\.movedim\(-1, 1\)$"):
        read(Turned(), tmp_path, True)


def test_pixels_are_counted_as_they_are_without_a_copy_of_eight_bytes_each(monkeypatch):
    counted, count = [], torch.bincount

    def counting(pixels, **options):
        counted.append(pixels.dtype)
        return count(pixels, **options)

    monkeypatch.setattr(torch, "bincount", counting)
    images = torch.randint(256, (40, 3, 6, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    made = partition(Split(images, torch.arange(40) % 4), Split(images[:8], torch.arange(8) % 4), 0, 0)
    assert counted == [torch.uint8] * 3
    assert torch.allclose(made["mean"], (images.float() / 255).mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(made["std"], (images.float() / 255).std((0, 2, 3), correction=0), atol=1e-6)
