"""p-values: by hand, and valid under the exchangeability that each of them assumes."""

import math

import numpy as np
import pytest
import scipy.stats

from bench.verification.p_values import at_least, enough, exchangeable, needed, unseen_family


def test_by_hand():
    assert exchangeable(3, [1, 2, 3, 4]) == 3 / 5
    assert exchangeable(5, [1, 2, 3, 4]) == 1 / 5
    assert exchangeable(0, [1, 2, 3, 4]) == 1
    assert exchangeable(1, []) == 1
    assert exchangeable(-np.inf, [-np.inf]) == 1


def test_unseen_families_by_hand():
    families = {"a": [1, 2, 3, 4], "b": [5], "c": [0, 0, 9, 9, 9]}
    assert unseen_family(4, families) == pytest.approx((1 + 1 / 4 + 1 + 3 / 5) / 4)
    assert unseen_family(10, families) == 1 / 4
    assert unseen_family(10, {}) == 1
    assert unseen_family(10, {"a": [1], "empty": []}) == 1 / 2


def test_families_of_one_are_exchangeable_innocents():
    scores = np.random.default_rng(0).normal(size=30).round(1)
    for score in (-1.0, 0.0, 0.3, 2.0):
        assert unseen_family(score, {str(i): [s] for i, s in enumerate(scores)}) == pytest.approx(
            exchangeable(score, scores)
        )


def test_enough_innocents():
    assert enough(99, 0.01) and not enough(98, 0.01)
    assert enough(199, 0.01, methods=2) and not enough(198, 0.01, methods=2)
    assert enough(299, 0.01, methods=3)
    assert not enough(0, 0.5)


def test_the_needed_number_of_innocents_is_the_least_that_is_enough():
    assert [needed(0.05), needed(0.01), needed(0.01, 3), needed(0.006, 2)] == [19, 99, 299, 333]
    for alpha in (0.5, 0.1, 0.07, 0.05, 0.01, 0.006, 0.003, 0.001):
        for methods in range(1, 40):
            least = needed(alpha, methods)
            assert enough(least, alpha, methods) and not enough(least - 1, alpha, methods), (alpha, methods)


def test_the_binomial_test_is_exact():
    for asked, chance in ((1, 0.5), (100, 0.1), (1000, 0.01), (64, 0.97)):
        for right in range(0, asked + 1, max(1, asked // 7)):
            expected = scipy.stats.binom.sf(right - 1, asked, chance)
            assert at_least(right, asked, chance) == pytest.approx(expected, rel=1e-9, abs=1e-300)
    assert at_least(0, 10, 0.0) == 1 and at_least(1, 10, 0.0) == 0 and at_least(1, 10, 1.0) == 1
    assert at_least(11, 10, 1.0) == at_least(11, 10, 0.5) == 0


ROUNDS = 4000


def share_below(p_values, alpha):
    """Return the share of p-values of at most alpha, and what it exceeds with a probability below 1e-4 if they hold."""
    return np.mean(np.asarray(p_values) <= alpha + 1e-12), scipy.stats.binom.isf(1e-4, ROUNDS, alpha) / ROUNDS


@pytest.mark.parametrize("innocents", (7, 19, 40))
def test_an_exchangeable_innocent_is_accused_at_most_as_often_as_alpha(innocents):
    random = np.random.default_rng(innocents)
    draws = random.standard_t(2, size=(ROUNDS, innocents + 1)).round(1)  # with ties
    found = [exchangeable(row[0], row[1:]) for row in draws]
    for alpha in (0.05, 0.1, 0.25, 0.5):
        share, most = share_below(found, alpha)
        assert share <= most
    assert share_below(found, 0.5)[0] > 0.3  # and not never


def test_an_innocent_of_an_unseen_family_is_accused_at_most_as_often_as_alpha():
    """Families differ far more than their members, and have one to nine of them, more where scores are low."""
    random = np.random.default_rng(1)
    families, found, naive = 12, [], []
    for _ in range(ROUNDS):
        level = random.normal(size=families + 1) * 3
        sizes = np.clip(np.rint(5 - level), 1, 9).astype(int)
        scores = [m + random.normal(size=n) * random.uniform(0.1, 1) for m, n in zip(level, sizes, strict=True)]
        suspect = random.choice(scores[0])
        found.append(unseen_family(suspect, {str(i): s for i, s in enumerate(scores[1:])}))
        naive.append(exchangeable(suspect, np.concatenate(scores[1:])))
    for alpha in (0.08, 0.1, 0.2, 0.4):
        share, most = share_below(found, alpha)
        assert share <= most
    share, most = share_below(naive, 0.05)
    assert share > most  # without families, the test would accuse too often here


def test_p_values_are_never_zero_or_above_one():
    random = np.random.default_rng(3)
    for _ in range(200):
        families = {str(i): random.normal(size=random.integers(0, 4)) for i in range(random.integers(0, 5))}
        for p in (exchangeable(9, families.get("0", [])), unseen_family(random.normal(), families)):
            assert 0 < p <= 1 and math.isfinite(p)
