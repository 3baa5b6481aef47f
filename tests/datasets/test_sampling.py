"""Dividing labelled images: halves and balanced choices."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.datasets.sampling import balanced, halve

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=120).map(lambda labels: np.asarray(labels, np.int64))
SEEDS = st.integers(0, 2**32)


@settings(max_examples=60, deadline=None)
@given(LABELS, SEEDS)
def test_halves_are_disjoint_whole_sorted_and_balanced(labels, seed):
    first, second = halve(labels, seed, "train")
    assert sorted([*first, *second]) == list(range(len(labels)))
    assert list(first) == sorted(first)
    assert list(second) == sorted(second)
    for label in np.unique(labels):
        one, other = (labels[first] == label).sum(), (labels[second] == label).sum()
        assert one - other in ((0, 1) if label % 2 == 0 else (0, -1))


@settings(max_examples=60, deadline=None)
@given(LABELS, SEEDS)
def test_halves_depend_on_labels_seed_and_purpose_only(labels, seed):
    again = halve(labels.copy(), seed, "train")
    assert all((a == b).all() for a, b in zip(halve(labels, seed, "train"), again, strict=True))


def test_another_seed_or_purpose_gives_other_halves():
    labels = np.arange(200) % 10
    first, seed, purpose = halve(labels, 0, "train")[0], halve(labels, 1, "train")[0], halve(labels, 0, "test")[0]
    assert len({tuple(first), tuple(seed), tuple(purpose)}) == 3


def test_halves_are_the_same_on_every_platform_and_for_ever():
    """A change here changes every split that was ever published."""
    first, second = halve(np.arange(24) % 3, 0, "train")
    assert first.tolist() == [1, 5, 6, 8, 10, 11, 12, 13, 14, 15, 19, 21]
    assert second.tolist() == [0, 2, 3, 4, 7, 9, 16, 17, 18, 20, 22, 23]


def test_a_class_in_the_way_does_not_change_the_halves_of_another():
    labels = np.arange(60) % 3
    without = labels[labels != 1]
    place = np.flatnonzero(labels != 1)
    assert set(place[halve(without, 7, "train")[0]]) == {i for i in halve(labels, 7, "train")[0] if labels[i] != 1}


@settings(max_examples=60, deadline=None)
@given(LABELS, st.integers(1, 130), SEEDS)
def test_a_choice_has_as_equally_many_of_each_class_as_there_are(labels, count, seed):
    chosen = balanced(labels, count, seed, "defender")
    assert len(chosen) == len(set(chosen)) == min(count, len(labels))
    assert list(chosen) == sorted(chosen)
    there = {label: (labels == label).sum() for label in np.unique(labels)}
    taken = {label: (labels[chosen] == label).sum() for label in there}
    most = max(taken.values())
    assert all(taken[label] >= min(there[label], most - 1) for label in there)


@pytest.mark.parametrize("count", [0, -1, 30, 31])
def test_a_choice_of_none_or_of_more_than_there_are_is_all(count):
    assert balanced(np.arange(30) % 3, count, 0, "defender").tolist() == list(range(30))


def test_a_larger_choice_holds_the_smaller_one():
    labels = np.arange(300) % 10
    assert set(balanced(labels, 50, 0, "x")) < set(balanced(labels, 100, 0, "x"))
