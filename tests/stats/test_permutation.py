import itertools
import math

import numpy as np
import pytest

from bench.stats.auc import auc
from bench.stats.permutation import (
    Scores,
    beats_baselines,
    paired_permutation,
    paired_permutations,
    unpaired_permutation,
    unpaired_permutations,
)
from bench.stats.rates import NotReported
from bench.stats.thresholds import Frozen, calibration_half, frozen_threshold


def joint_ranks(stolen, irrelevant):
    everybody = [*stolen, *irrelevant]
    ranks = [sum(o < v for o in everybody) + 0.5 * sum(o == v for o in everybody) for v in everybody]
    return ranks[: len(stolen)], ranks[len(stolen) :]


def exact_share(values, observed):
    return np.mean([v >= observed - 1e-9 for v in values]), np.mean([abs(v) >= abs(observed) - 1e-9 for v in values])


def near(found, exact, draws):
    return abs(found - exact) < 5 * math.sqrt(exact * (1 - exact) / draws) + 2 / draws


def test_paired_p_values_are_those_of_all_swaps_written_out():
    rng = np.random.default_rng(2)
    a = Scores(rng.integers(1, 9, 4), rng.integers(0, 7, 5))
    b = Scores(rng.integers(0, 9, 4), rng.integers(0, 8, 5))
    (x, y), (u, v) = joint_ranks(*a), joint_ranks(*b)
    observed = auc(*a) - auc(*b)
    values = []
    for swaps in itertools.product([False, True], repeat=9):
        first = [(q if s else p, p if s else q) for p, q, s in zip([*x, *y], [*u, *v], swaps, strict=True)]
        of_a, of_b = zip(*first, strict=True)
        values.append(auc(of_a[:4], of_a[4:]) - auc(of_b[:4], of_b[4:]))
    greater, two_sided = exact_share(values, observed)
    found = paired_permutation(a, b, draws=40_000)
    assert found.difference == pytest.approx(observed)
    assert near(found.greater, greater, 40_000) and near(found.two_sided, two_sided, 40_000)


def test_paired_swaps_of_an_irrelevant_model_are_the_same_for_every_source():
    rng = np.random.default_rng(4)
    a = Scores(rng.normal(1, 1, (2, 2)), rng.normal(0, 1, (2, 4)))
    b = Scores(rng.normal(0, 1, (2, 2)), rng.normal(0, 1, (2, 4)))
    ranks = [[joint_ranks(m.stolen[s], m.irrelevant[s]) for m in (a, b)] for s in range(2)]
    values = []
    for swaps in itertools.product([0, 1], repeat=8):
        difference = 0.0
        for s in range(2):
            own, shared = swaps[2 * s : 2 * s + 2], swaps[4:]
            aucs = [
                auc(
                    [ranks[s][k ^ side][0][i] for i, k in enumerate(own)],
                    [ranks[s][k ^ side][1][j] for j, k in enumerate(shared)],
                )
                for side in (0, 1)
            ]
            difference += (aucs[0] - aucs[1]) / 2
        values.append(difference)
    found = paired_permutation(a, b, draws=40_000)
    assert found.difference == pytest.approx(values[0])
    greater, two_sided = exact_share(values, values[0])
    assert near(found.greater, greater, 40_000) and near(found.two_sided, two_sided, 40_000)


@pytest.mark.parametrize("m, k", [(3, 3), (2, 4)])
def test_unpaired_p_values_are_those_of_all_deals_and_swaps_written_out(m, k):
    rng = np.random.default_rng(8)
    a = Scores(rng.integers(2, 9, m), rng.integers(0, 8, 4))
    b = Scores(rng.integers(0, 9, k), rng.integers(0, 8, 4))

    def place(values, among):
        return [sum(o < v for o in among) + 0.5 * sum(o == v for o in among) for v in values]

    dealt = place(a.stolen, a.irrelevant) + place(b.stolen, b.irrelevant)
    y, v = place(a.irrelevant, a.irrelevant), place(b.irrelevant, b.irrelevant)
    values = []
    for mine in itertools.combinations(range(m + k), m):
        first, second = [dealt[i] for i in mine], [dealt[i] for i in range(m + k) if i not in mine]
        for swaps in itertools.product([False, True], repeat=4):
            of_a = [q if s else p for p, q, s in zip(y, v, swaps, strict=True)]
            of_b = [p if s else q for p, q, s in zip(y, v, swaps, strict=True)]
            values.append(auc(first, of_a) - auc(second, of_b))
    observed = auc(*a) - auc(*b)
    assert values[0] == pytest.approx(observed)
    greater, two_sided = exact_share(values, observed)
    found = unpaired_permutation(a, b, draws=40_000)
    assert found.difference == pytest.approx(observed)
    assert near(found.greater, greater, 40_000) and near(found.two_sided, two_sided, 40_000)


@pytest.mark.parametrize(
    "test, tests", [(paired_permutation, paired_permutations), (unpaired_permutation, unpaired_permutations)]
)
def test_many_tests_at_once_give_what_each_gives_alone(test, tests):
    rng = np.random.default_rng(12)
    pairs = []
    for sources, m, n in ((1, 5, 12), (2, 5, 12), (1, 5, 12), (1, 12, 12), (2, 5, 12), (3, 4, 6)):
        shape = (sources, m), (sources, n)
        pairs.append(tuple(Scores(rng.normal(c, 1, shape[0]), rng.normal(0, 1, shape[1])) for c in (1, 0.5)))
    for draws in (50, 1234):  # fewer than a block, and more than a block
        assert tests(pairs, draws=draws, seed=3) == [test(a, b, draws=draws, seed=3) for a, b in pairs]
    assert tests([]) == []


@pytest.mark.parametrize("test", [paired_permutation, unpaired_permutation])
@pytest.mark.parametrize("sources", [1, 3])
def test_p_values_are_uniform_where_the_methods_are_alike(test, sources):
    rng = np.random.default_rng(21)
    found = []
    for _ in range(600):
        model = rng.normal(0, 1, 10)
        stolen = rng.normal(1, 1, (sources, 8))
        if test is paired_permutation:
            suspects = [stolen + rng.normal(0, 1, stolen.shape) for _ in range(2)]
        else:
            suspects = [rng.normal(1, 1.4, stolen.shape) for _ in range(2)]
        # What a method makes of an irrelevant model is much the same for every source.
        innocents = [model + rng.normal(0, 1, 10) + rng.normal(0, 0.2, (sources, 10)) for _ in range(2)]
        a, b = (Scores(s, i) for s, i in zip(suspects, innocents, strict=True))
        found.append(test(a, b, draws=500).greater)
    for level in (0.05, 0.2, 0.5, 0.8):
        share = np.mean(np.array(found) <= level)
        assert abs(share - level) < 4 * math.sqrt(level * (1 - level) / 600) + 0.01


@pytest.mark.parametrize("test", [paired_permutation, unpaired_permutation])
def test_a_much_better_method_is_found_out_and_the_other_way_round(test):
    rng = np.random.default_rng(1)
    good = Scores(rng.normal(4, 1, 12), rng.normal(0, 1, 12))
    poor = Scores(rng.normal(0, 1, 12), rng.normal(0, 1, 12))
    better, worse = test(good, poor), test(poor, good)
    assert better.greater < 0.01 and better.two_sided < 0.01 and worse.greater > 0.98
    assert better.difference == pytest.approx(-worse.difference)
    assert better == test(good, poor)
    assert test(good, good).two_sided == 1.0
    assert better.greater >= 1 / 10_001


def test_comparisons_see_only_the_order_of_each_methods_scores():
    rng = np.random.default_rng(6)
    a, b = (Scores(rng.normal(c, 1, (2, 9)), rng.normal(0, 1, (2, 7))) for c in (1, 0))
    bent = Scores(np.exp(a.stolen), np.exp(a.irrelevant))
    for test in (paired_permutation, unpaired_permutation):
        assert test(bent, b, draws=1000) == test(a, b, draws=1000)


def test_suspects_that_do_not_match_are_refused():
    a, b, c = Scores([1, 2], [0, 1]), Scores([1, 2, 3], [0, 1]), Scores([1, 2], [0, 1, 2])
    with pytest.raises(ValueError, match="same suspects"):
        paired_permutation(a, b)
    with pytest.raises(ValueError, match="same irrelevant models"):
        unpaired_permutation(a, c)
    assert unpaired_permutation(a, b, draws=100).difference == auc(*a) - auc(*b)


def test_beating_the_baselines_is_beating_the_one_that_is_hardest_to_beat():
    rng = np.random.default_rng(9)
    method, easy, hard = (Scores(rng.normal(c, 1, 10), rng.normal(0, 1, 10)) for c in (3, 0, 2.5))
    for paired, test in ((True, paired_permutation), (False, unpaired_permutation)):
        each = [test(method, baseline).greater for baseline in (easy, hard)]
        assert beats_baselines(method, [easy, hard], paired) == max(each) == each[1] > each[0]
    with pytest.raises(ValueError, match="no baseline"):
        beats_baselines(method, [])


def test_the_division_halves_every_architecture_and_depends_on_names_and_seed_only():
    families = ["vgg"] * 5 + ["resnet"] * 5 + ["dense"] * 7 + ["mobile"] * 3
    models = [f"{family} {i}" for i, family in enumerate(families)]
    chosen = calibration_half(models, families, seed=3)
    assert chosen.sum() == 10
    for family in set(families):
        mine = chosen[[f == family for f in families]]
        assert abs(2 * mine.sum() - len(mine)) <= 1
    order = np.random.default_rng(0).permutation(20)
    again = calibration_half([models[i] for i in order], [families[i] for i in order], seed=3)
    assert (again == chosen[order]).all()
    assert (calibration_half(models, families, seed=4) != chosen).any()
    assert np.mean([calibration_half(models, families, s) for s in range(400)], axis=0) == pytest.approx(0.5, abs=0.12)
    with pytest.raises(ValueError, match="own name"):
        calibration_half(["a", "a"], ["x", "x"], 0)


def test_a_frozen_threshold_is_the_conformal_order_statistic():
    irrelevant = np.arange(20.0)
    calibration = irrelevant % 2 == 0
    found = frozen_threshold(irrelevant, calibration, 0.2)
    # Of ten scores the ceil(11 * 0.8) = 9th lowest: 16; above it 17 and 19.
    assert isinstance(found, Frozen) and found.thresholds == (16.0,)
    assert (found.false_accusations.hits, found.false_accusations.of) == (2, 10)
    assert found.false_accusations.low < 0.2 < found.false_accusations.high
    tied = frozen_threshold(np.ones(20), calibration, 0.2)
    assert isinstance(tied, Frozen) and tied.false_accusations.hits == 0


def test_too_few_models_to_freeze_a_threshold_on_or_to_judge():
    def divided(n):
        return np.arange(n) % 2 == 0

    assert frozen_threshold(np.arange(30.0), divided(30), 0.05) == NotReported(needs=38, has=30)
    assert frozen_threshold(np.arange(31.0), divided(31), 0.05) == NotReported(needs=38, has=31)
    assert frozen_threshold(np.arange(37.0), divided(37), 0.05) == NotReported(needs=38, has=37)
    assert isinstance(frozen_threshold(np.arange(38.0), divided(38), 0.05), Frozen)
    assert frozen_threshold(np.arange(197.0), divided(197), 0.01) == NotReported(needs=198, has=197)
    assert isinstance(frozen_threshold(np.arange(198.0), divided(198), 0.01), Frozen)


def test_frozen_thresholds_of_several_sources_that_share_models_count_them_once():
    irrelevant, half = np.stack([np.arange(20.0), 100 - np.arange(20.0)]), np.arange(20) % 2 == 0
    found = frozen_threshold(irrelevant, [half, half], 0.2, judged=10)
    assert isinstance(found, Frozen) and found.thresholds == (16.0, 98.0)
    rate = found.false_accusations
    assert (rate.rate, rate.hits, rate.of) == (0.15, 1.5, 10)
    single = frozen_threshold(irrelevant[0], half, 0.2)
    assert isinstance(single, Frozen) and rate.high == single.false_accusations.high


def test_frozen_thresholds_of_sources_with_models_of_their_own():
    irrelevant = [np.arange(20.0), 100 - np.arange(12.0)]
    halves = [np.arange(20) % 2 == 0, np.arange(12) % 2 == 0]
    found = frozen_threshold(irrelevant, halves, 0.2)
    # Of the six scores 100, 98 ... 90 the ceil(7 * 0.8) = 6th lowest: nobody scores above.
    assert isinstance(found, Frozen) and found.thresholds == (16.0, 100.0)
    assert (found.false_accusations.hits, found.false_accusations.of) == (2, 16)
    assert frozen_threshold(irrelevant, halves, 0.1) == NotReported(needs=18, has=12)
    with pytest.raises(ValueError, match="marks for every"):
        frozen_threshold(irrelevant[0], [True, False], 0.2)
    with pytest.raises(ValueError, match="false accusations"):
        frozen_threshold(irrelevant[0], halves[0], 0.0)
