"""Two parts of a dataset number their classes in one order, as far as mean images show it."""

import numpy as np
import pytest
import torch
from bench_plugins.datasets.small_images import NoisyDigits, NoisyLetters

from bench import Split
from bench.datasets.class_order import renumbered_classes


def parts(dataset):
    return dataset.load(None, True), dataset.load(None, False)


@pytest.mark.parametrize("dataset", [NoisyDigits(), NoisyLetters()], ids=lambda d: d.name)
def test_the_shipped_datasets_are_in_order_and_any_other_order_is_found(dataset):
    train, test = parts(dataset)
    classes = dataset.num_classes
    assert renumbered_classes(train, test, classes) == {}
    assert renumbered_classes(test, train, classes) == {}
    order = np.random.default_rng(0).permutation(classes)
    for new in (order, np.roll(np.arange(classes), 1), [1, 0, *range(2, classes)]):
        new = torch.as_tensor(np.array(new))
        found = renumbered_classes(train, Split(test.images, new[test.labels]), classes)
        assert found == {int(n): old for old, n in enumerate(new) if int(n) != old}


def noise(count, seed, mean=128.0, classes=4):
    random = torch.Generator().manual_seed(seed)
    images = (mean + 40 * torch.randn(count, 3, 12, 10, generator=random)).clamp(0, 255).to(torch.uint8)
    return Split(images, torch.arange(count) % classes)


@pytest.mark.parametrize("seed", range(20))
def test_images_without_a_difference_show_no_order(seed):
    assert renumbered_classes(noise(400, seed), noise(400, 100 + seed), 4) == {}


def test_too_few_images_show_no_order():
    train, test = parts(NoisyDigits())
    few = torch.cat([torch.nonzero(test.labels == c)[:12, 0] for c in range(10)])
    swapped = Split(test.images[few], (test.labels[few] + 1) % 10)
    assert renumbered_classes(train, swapped, 10) == {}
    lacking = test.labels != 3
    assert renumbered_classes(train, Split(test.images[lacking], test.labels[lacking]), 10) == {}
