"""Answers that fit labels in another order are found, and nothing else is taken for it."""

import numpy as np
import pytest

from bench.stats.renumbering import renumbered_accuracy


def made(classes, per_class, accuracy, order, seed=0):
    """Return answers of a network with an accuracy whose classes are numbered in another order, and labels."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), per_class)
    right = random.random(len(labels)) < accuracy
    answers = np.where(right, np.asarray(order)[labels], random.integers(classes, size=len(labels)))
    shuffled = random.permutation(len(labels))
    return answers[shuffled], labels[shuffled]


@pytest.mark.parametrize(("classes", "per_class"), [(10, 30), (10, 1000), (200, 50), (4, 100), (100, 100)])
@pytest.mark.parametrize("what", ["shifted", "shuffled", "reversed"])
def test_another_order_is_found(classes, per_class, what):
    order = {"shifted": np.roll(np.arange(classes), 1), "reversed": np.arange(classes)[::-1],
             "shuffled": np.random.default_rng(3).permutation(classes)}[what]  # fmt: skip
    found = renumbered_accuracy(*made(classes, per_class, 0.8, order), classes)
    assert found == pytest.approx(0.8 + 0.2 / classes, abs=0.12)


def test_two_swapped_classes_are_found():
    assert renumbered_accuracy(*made(10, 500, 0.9, [1, 0, *range(2, 10)]), 10) == pytest.approx(0.91, abs=0.03)
    assert renumbered_accuracy(*made(2, 500, 0.9, [1, 0]), 2) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize(
    ("classes", "per_class"), [(10, 1), (10, 10), (10, 1000), (200, 1), (200, 2), (200, 50), (2, 500)]
)
@pytest.mark.parametrize("accuracy", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("seed", range(5))
def test_guesses_and_right_answers_are_no_other_order(classes, per_class, accuracy, seed):
    assert renumbered_accuracy(*made(classes, per_class, accuracy, range(classes), seed), classes) is None


def test_one_answer_for_all_and_no_images_are_no_other_order():
    labels = np.repeat(np.arange(10), 50)
    assert renumbered_accuracy(np.full(500, 3), labels, 10) is None
    assert renumbered_accuracy(labels[:0], labels[:0], 10) is None
    assert renumbered_accuracy(labels[:1], labels[:1], 10) is None
    joined = np.where(labels == 3, 5, labels)  # a class that it takes for another
    assert renumbered_accuracy(joined, labels, 10) is None
