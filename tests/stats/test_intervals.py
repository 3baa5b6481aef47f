import math
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from bench.stats.auc import auc
from bench.stats.intervals import (
    SourceAuc,
    effective,
    estimate_auc,
    hanley_mcneil_variance,
    interval_over_sources,
    newcombe_interval,
    newcombe_variance,
    source_auc,
)
from bench.stats.rates import NotReported, Rate, accuracy_summary, binomial_bound, tpr_at_fpr

# Few distinct values, so that ties are common.
scores = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=25)


@given(scores, scores)
@settings(deadline=None)
def test_auc_is_the_share_of_pairs_that_are_in_order_ties_counting_half(stolen, irrelevant):
    pairs = [1.0 if s > i else 0.5 if s == i else 0.0 for s in stolen for i in irrelevant]
    assert auc(stolen, irrelevant) == pytest.approx(np.mean(pairs), abs=1e-12)


@given(scores, scores)
@settings(deadline=None)
def test_auc_agrees_with_scikit_learn(stolen, irrelevant):
    labels = [1] * len(stolen) + [0] * len(irrelevant)
    assert auc(stolen, irrelevant) == pytest.approx(roc_auc_score(labels, stolen + irrelevant), abs=1e-12)


@given(scores, scores)
@settings(deadline=None)
def test_auc_sees_only_the_order_of_the_scores(stolen, irrelevant):
    bent = auc(np.exp(np.array(stolen) / 3), np.exp(np.array(irrelevant) / 3))
    assert bent == auc(stolen, irrelevant)
    turned = auc(-np.array(stolen), -np.array(irrelevant))
    assert turned == pytest.approx(1 - auc(stolen, irrelevant), abs=1e-12)


def test_auc_at_its_extremes():
    assert auc([2, 3], [0, 1]) == 1.0
    assert auc([0, 1], [2, 3]) == 0.0
    assert auc([1] * 7, [1] * 9) == 0.5
    assert auc([5], [4]) == 1.0


def test_infinite_scores_rank_as_what_they_are():
    assert auc([math.inf, 1], [-math.inf, 0]) == 1.0
    assert auc([-math.inf], [-math.inf]) == 0.5
    assert auc([-math.inf, 1], [0, 0.5]) == 0.5


@pytest.mark.parametrize("stolen, irrelevant", [([], [1.0]), ([1.0], []), ([math.nan], [1.0]), ([1.0], [0, math.nan])])
def test_no_score_and_a_score_that_is_no_number_are_refused(stolen, irrelevant):
    for function in (auc, source_auc, lambda s, i: tpr_at_fpr(s, i, 0.5)):
        with pytest.raises(ValueError, match=r"at least one score|NaN"):
            function(stolen, irrelevant)


def test_hanley_mcneil_at_worked_examples():
    # By hand: Q1 = 0.6, Q2 = 9/14; (0.1875 + 9 * 0.0375 + 9 * 0.0803571) / 100.
    assert hanley_mcneil_variance(0.75, 10, 10) == pytest.approx(0.012482143, abs=1e-9)
    # The figure of methods.md, section 0: about 0.036 for 0.95 from 20 against 20.
    assert math.sqrt(hanley_mcneil_variance(0.95, 20, 20)) == pytest.approx(0.036, abs=0.0005)
    assert hanley_mcneil_variance(1.0, 20, 20) == hanley_mcneil_variance(0.0, 20, 20) == 0.0
    assert hanley_mcneil_variance(0.5, 1, 1) == 0.25


@given(st.floats(0, 1), st.integers(1, 60))
def test_newcombe_variance_is_hanley_mcneil_for_equal_numbers(theta, m):
    assert newcombe_variance(theta, m, m) == pytest.approx(hanley_mcneil_variance(theta, m, m), abs=1e-12)


@pytest.mark.parametrize("m, n", [(20, 20), (12, 12), (5, 12), (12, 5), (1, 3)])
@pytest.mark.parametrize("a", [0.02, 0.5, 0.7, 0.9, 0.9875])
def test_newcombe_ends_are_those_that_a_root_finder_finds(a, m, n):
    def outside(theta):
        # Written out from the paper, apart from the code under test.
        star = (m + n) / 2 - 1
        q = theta * (1 - theta) * (1 + star * (1 - theta) / (2 - theta) + star * theta / (1 + theta)) / (m * n)
        return (theta - a) ** 2 - 1.959963984540054**2 * q

    low, high = newcombe_interval(a, m, n)
    assert low == pytest.approx(brentq(outside, 1e-15, a), abs=1e-9)
    assert high == pytest.approx(brentq(outside, a, 1 - 1e-15), abs=1e-9)


def test_newcombe_of_two_models_is_the_wilson_interval():
    interval = binomtest(1, 1).proportion_ci(method="wilson")
    assert newcombe_interval(1.0, 1, 1) == pytest.approx((interval.low, interval.high), abs=1e-9)


@given(st.floats(0, 1), st.integers(1, 50), st.integers(1, 50))
@settings(deadline=None)
def test_newcombe_holds_the_auc_stays_inside_and_mirrors(a, m, n):
    low, high = newcombe_interval(a, m, n)
    assert 0 <= low <= a <= high <= 1
    assert high - low > 0
    assert newcombe_interval(1 - a, m, n) == pytest.approx((1 - high, 1 - low), abs=1e-9)
    wider = newcombe_interval(a, m, n, 0.99)
    assert wider[0] <= low and high <= wider[1]


def test_newcombe_does_not_collapse_at_the_ends_and_narrows_with_more_models():
    lows = [newcombe_interval(1.0, n, n)[0] for n in (3, 5, 10, 20, 100)]
    assert lows == sorted(lows) and 0.2 < lows[0] < lows[-1] < 1
    assert newcombe_interval(0.0, 10, 10)[0] == 0.0 < newcombe_interval(0.0, 10, 10)[1]


@pytest.mark.parametrize("bad", [(1.2, 5, 5), (-0.1, 5, 5), (0.5, 0, 5), (0.5, 5, 0), (math.nan, 5, 5)])
def test_impossible_aucs_and_numbers_are_refused(bad):
    for function in (newcombe_interval, hanley_mcneil_variance):
        with pytest.raises(ValueError, match="an AUC"):
            function(*bad)


def over(*sources, irrelevant=None):
    return estimate_auc([source_auc(s, i) for s, i in sources], irrelevant)


def sources_at(*aucs, models=12):
    return [SourceAuc(a, models, models, 0.0) for a in aucs]


def test_one_source_has_newcombes_interval_for_itself():
    stolen, irrelevant = np.r_[np.arange(5, 15), 2], np.arange(10) + 0.5
    found = over((stolen, irrelevant))
    assert found.auc == auc(stolen, irrelevant) and found.by_source == (found.auc,)
    assert (found.stolen, found.irrelevant, found.conditional) == (11, 10, True)
    low, high = newcombe_interval(found.auc, 11, 10)
    assert found.low <= low and high <= found.high
    perfect = over((stolen + 100, irrelevant))
    assert (perfect.low, perfect.high) == newcombe_interval(1.0, 11, 10)


def test_one_source_widens_where_models_vary_more_than_the_formula_expects():
    # Three of six suspects never, three always recognised: the suspect decides all.
    stolen, irrelevant = [-9, -8, -7, 7, 8, 9], np.linspace(-1, 1, 40)
    found, plain = over((stolen, irrelevant)), newcombe_interval(0.5, 6, 40)
    assert found.auc == 0.5
    assert found.high - found.low > 1.2 * (plain[1] - plain[0])
    # The models' variance is 0.3 / 6, Newcombe's 0.25 (1 + 22 / 3 + 22 / 3) / 240 = 47 / 2880: 144 / 47 times as large.
    for end in (found.low, found.high):
        largest = 1.959963984540054**2 * 144 / 47 * newcombe_variance(end, 6, 40)
        assert (end - 0.5) ** 2 == pytest.approx(largest, rel=1e-6)


def test_the_variance_of_a_source_is_delongs_written_out():
    stolen, irrelevant = [3.0, 1.0, 5.0, 2.0], [0.0, 2.5, 2.0]
    psi = np.array([[(s > i) + 0.5 * (s == i) for i in irrelevant] for s in stolen])
    variance = np.var(psi.mean(axis=1), ddof=1) / 4 + np.var(psi.mean(axis=0), ddof=1) / 3
    assert source_auc(stolen, irrelevant) == SourceAuc(pytest.approx(psi.mean()), 4, 3, pytest.approx(variance))
    assert source_auc([1.0], [0.0]) == SourceAuc(1.0, 1, 1, 0.0)


def test_draws_of_a_fingerprint_are_averaged_and_add_no_models():
    rng = np.random.default_rng(3)
    stolen, irrelevant = rng.normal(1, 1, (5, 8)), rng.normal(0, 1, (5, 12))
    found = source_auc(stolen, irrelevant)
    assert found.auc == pytest.approx(np.mean([auc(s, i) for s, i in zip(stolen, irrelevant, strict=True)]))
    assert (found.stolen, found.irrelevant) == (8, 12)
    repeated = source_auc([stolen[0]] * 5, [irrelevant[0]] * 5)
    alone = source_auc(stolen[0], irrelevant[0])
    assert repeated == SourceAuc(pytest.approx(alone.auc), 8, 12, pytest.approx(alone.variance))
    for bad in (([[1, 2]], [[0], [0]]), ([], []), ([[1, math.nan]], [[0]])):
        with pytest.raises(ValueError, match=r"draws|at least one score|NaN"):
            source_auc(*bad)


def test_sources_are_averaged_and_their_scores_never_pooled():
    rng = np.random.default_rng(3)
    stolen, irrelevant = rng.normal(1, 1, (3, 8)), rng.normal(0, 1, (3, 12))
    found = over(*zip(stolen, irrelevant, strict=True))
    assert found.auc == pytest.approx(np.mean([auc(s, i) for s, i in zip(stolen, irrelevant, strict=True)]))
    assert found.range == (min(found.by_source), max(found.by_source)) and not found.conditional
    shift = np.array([[0.0], [50.0], [-900.0]])
    assert over(*zip(stolen + shift, irrelevant + shift, strict=True)) == found


def test_sources_have_models_of_their_own_or_share_some():
    pairs = ([3, 4], [0, 1, 2]), ([0.5, 9, 9], [0, 1, 2, 3])
    found = over(*pairs)
    assert found.by_source == pytest.approx((1.0, (1 / 4 + 2) / 3))
    assert (found.stolen, found.irrelevant) == (5, 7)
    assert over(*pairs, irrelevant=4).irrelevant == 4
    alike, shared = sources_at(0.9, 0.9, 0.9), 12
    assert width(estimate_auc(alike, shared)) > 1.3 * width(estimate_auc(alike))
    with pytest.raises(ValueError, match="needs a source"):
        estimate_auc([])


@pytest.mark.parametrize("different", [0, 9, 31, 40])
def test_an_impossible_number_of_different_models_is_refused(different):
    alike = [SourceAuc(0.9, 10, 10, 0.01)] * 3
    assert estimate_auc(alike, 10).irrelevant == 10 and estimate_auc(alike, 30).irrelevant == 30
    with pytest.raises(ValueError, match=rf"\[10, 10, 10\] irrelevant models cannot have {different} different ones"):
        estimate_auc(alike, different)


@pytest.mark.parametrize("numbers", [(10.0, 10), (10, 0)])
def test_numbers_of_models_are_whole_ones(numbers):
    with pytest.raises(ValueError, match="whole numbers from 1"):
        estimate_auc([SourceAuc(0.9, *numbers, 0.01)] * 2)
    assert estimate_auc([SourceAuc(0.9, np.int64(10), np.int64(10), 0.01)] * 2).stolen == 20


@pytest.mark.parametrize("numbers", [(1,), (2, 2), (12,) * 5, (49,) * 3, (7,) * 20])
def test_equal_numbers_of_models_are_as_many_as_there_are(numbers):
    if len(numbers) > 1:
        assert effective(numbers, sum(numbers)) == sum(numbers) and effective(numbers, numbers[0]) == numbers[0]
    found = estimate_auc([SourceAuc(1.0, n, n, 0.0) for n in numbers])
    assert found.effective == (sum(numbers),) * 3 and (found.stolen, found.irrelevant) == (sum(numbers),) * 2


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 5)), min_size=2, max_size=6), st.integers(0, 5))
@settings(deadline=None)
def test_the_effective_number_is_one_over_the_squared_weights_of_the_models(own, common):
    numbers = [common + n for _, n in own]
    weights = [sum(1 / (len(numbers) * n) for n in numbers)] * common
    for _, n in own:
        weights += [1 / (len(numbers) * (common + n))] * n
    assert effective(numbers, len(weights)) == pytest.approx(1 / sum(w**2 for w in weights))


def test_a_source_of_one_copy_is_half_of_the_mean_however_many_copies_the_other_has():
    def found(*numbers):
        return estimate_auc([SourceAuc(1.0, n, 10, 0.0) for n in numbers], irrelevant=10)

    unequal = found(50, 1)
    assert (unequal.stolen, unequal.irrelevant) == (51, 10)
    assert unequal.effective.stolen == pytest.approx(4 / (1 / 50 + 1)) and unequal.effective.irrelevant == 10
    # A method that finds 60 % of the second source's copies has 1.00 in 60 % of draws, and 0.80 in truth.
    assert unequal.low <= found(2, 2).low < 0.8 < found(26, 25).low
    turned = estimate_auc([SourceAuc(1.0, 10, n, 0.0) for n in (50, 1)])
    assert turned.effective[1:] == (unequal.effective.stolen,) * 2 and turned.low < 0.7


def test_shared_irrelevant_models_add_to_the_spread_of_sources():
    """Their noise is the same at all sources: Student's half and Newcombe's excess are squared and added.

    At 0.5 and 20 sources of 1,000 copies each, s² = 0.01: Newcombe's variance is 0.25 (1 + N* 2/3) / (m n).
    """

    def found(spread, different):
        return estimate_auc([SourceAuc(0.5 + d, 1000, 10, 0.0) for d in (-spread, spread) * 10], different)

    alone, shared = found(0.1, None), found(0.1, 10)
    t, z, s2 = scipy.stats.t.ppf(0.975, 19), 1.959963984540054, 0.2 / 19
    with_10, with_200 = (0.25 * (1 + ((20000 + n) / 2 - 1) * 2 / 3) / (20000 * n) for n in (10, 200))
    squared = t**2 * s2 / 20 + z**2 * (with_10 - with_200)

    def outside(x):
        relative = (1 + 10004 * ((1 - x) / (2 - x) + x / (1 + x))) / 200000
        return (x - 0.5) ** 2 - squared * x * (1 - x) * relative / with_10

    assert shared.low == pytest.approx(brentq(outside, 1e-9, 0.5), abs=1e-6)
    assert width(alone) < 0.1 < width(found(0.0, 10)) < width(shared)


def width(estimate):
    return estimate.high - estimate.low


def test_sources_that_agree_have_newcombes_interval_of_all_models():
    found = estimate_auc(sources_at(0.5, 0.5, 0.5))
    assert (found.low, found.high) == newcombe_interval(0.5, 36, 36)


def test_the_interval_over_sources_is_students_where_sources_differ_most():
    aucs = [0.3, 0.6, 0.45, 0.52, 0.63]
    found = estimate_auc(sources_at(*aucs, models=2000))
    t = scipy.stats.t.interval(0.95, 4, np.mean(aucs), scipy.stats.sem(aucs))
    # Newcombe's variance at 0.5 is the largest: the ends bend towards the middle by little.
    assert (found.low, found.high) == pytest.approx(t, abs=0.01)


@pytest.mark.parametrize(
    ("aucs", "models"),
    [((0.9, 0.9), 12), ((0.8, 0.9, 0.97), 12), ((0.95,) * 5, 200)],
    ids=["two sources: a tenth more", "the spread of sources", "sources that are unseen"],
)
def test_the_interval_over_sources_ends_where_the_formula_of_the_document_says(aucs, models):
    sources, a, m = len(aucs), np.mean(aucs), models * len(aucs)
    t, z = scipy.stats.t.ppf(0.975, sources - 1), 1.959963984540054

    def variance(theta):
        return theta * (1 - theta) * (1 + (m - 1) * (1 - theta) / (2 - theta) + (m - 1) * theta / (1 + theta)) / m**2

    unseen = 0.088 * (1 - 4 / sources**2) * a * (1 - a) * (a - 0.5) ** 2
    shown = (t**2 * np.var(aucs, ddof=1) + z**2 * unseen) / (sources * variance(a))
    factor = max(1.1 * z**2 if sources == 2 else z**2, shown)
    ends = [brentq(lambda x: (x - a) ** 2 - factor * variance(x), *side) for side in ((1e-15, a), (a, 1 - 1e-15))]
    found = estimate_auc(sources_at(*aucs, models=models))
    assert (found.low, found.high) == pytest.approx(ends, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.integers(1, 20))
@settings(deadline=None)
def test_the_interval_over_sources_holds_the_mean_stays_inside_and_mirrors(aucs, models):
    found = estimate_auc(sources_at(*aucs, models=models))
    assert 0 <= found.low <= found.auc <= found.high <= 1 and width(found) > 0
    back = estimate_auc(sources_at(*(1 - a for a in aucs), models=models))
    assert (back.low, back.high) == pytest.approx((1 - found.high, 1 - found.low), abs=1e-7)
    swapped = estimate_auc(sources_at(*aucs[::-1], models=models))
    assert (swapped.low, swapped.high) == pytest.approx((found.low, found.high), abs=1e-9)
    plain = newcombe_interval(found.auc, models * len(aucs), models * len(aucs))
    assert found.low <= plain[0] + 1e-9 and plain[1] <= found.high + 1e-9


def test_the_interval_over_sources_narrows_with_more_of_them_and_widens_with_their_spread():
    for aucs in ((1.0, 1.0), (0.8, 1.0), (0.4, 0.9)):
        widths = [width(estimate_auc(sources_at(*aucs * k))) for k in (1, 2, 3, 5, 10, 40)]
        assert widths == sorted(widths, reverse=True) and widths[-1] < widths[0] / 2
    widths = [width(estimate_auc(sources_at(0.7 - d, 0.7, 0.7 + d))) for d in (0, 0.1, 0.2, 0.3)]
    assert widths == sorted(widths) and widths[-1] > 2 * widths[0]


def test_sources_at_auc_one_still_have_an_interval():
    found = estimate_auc(sources_at(*[1.0] * 6, models=4))
    assert found.auc == found.high == 1.0 and (found.low, 1.0) == newcombe_interval(1.0, 24, 24)
    assert 0.8 < found.low < 0.95


def test_one_pair_out_of_order_hardly_moves_the_interval():
    for sources, models in ((2, 4), (3, 4), (5, 12), (10, 20), (20, 20)):
        one = estimate_auc(sources_at(*[1.0] * sources, models=models))
        less = estimate_auc(sources_at(*[1.0] * (sources - 1), 1 - 1 / models**2, models=models))
        tiny = estimate_auc(sources_at(*[1.0] * (sources - 1), 1 - 1e-12, models=models))
        if sources > 3:
            assert less.low == pytest.approx(one.low, abs=0.04)
        assert tiny.low == pytest.approx(one.low, abs=1e-3)


def test_intervals_of_many_cells_at_once_are_those_of_each():
    aucs = np.random.default_rng(1).uniform(0.5, 1, (4, 3, 5))
    low, high = interval_over_sources(aucs, 60, 60)
    for where in np.ndindex(4, 3):
        alone = estimate_auc(sources_at(*aucs[where]))
        assert (low[where], high[where]) == pytest.approx((alone.low, alone.high))


@pytest.mark.parametrize("hits, of", [(0, 1), (1, 1), (0, 19), (3, 19), (19, 19), (40, 100)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_exact_bounds_are_those_of_scipy(hits, of, level):
    expected = binomtest(hits, of).proportion_ci(level, method="exact")
    assert binomial_bound(hits, of, level) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("hits, of", [(-1, 5), (6, 5), (0, 0)])
def test_impossible_counts_are_refused(hits, of):
    with pytest.raises(ValueError, match="hits among"):
        binomial_bound(hits, of)


@given(scores, st.lists(st.integers(-6, 6).map(float), min_size=4, max_size=40), st.sampled_from([0.25, 0.3, 0.5, 0.9]))
@settings(deadline=None)
def test_tpr_is_the_highest_roc_point_within_the_false_alarms(stolen, irrelevant, fpr):
    found = tpr_at_fpr(stolen, irrelevant, fpr)
    best = 0.0
    for threshold in [*stolen, *irrelevant, -math.inf]:
        if np.mean([i > threshold for i in irrelevant]) <= fpr:
            best = max(best, float(np.mean([s > threshold for s in stolen])))
    assert isinstance(found, Rate) and found.rate == pytest.approx(best)
    labels = [1] * len(stolen) + [0] * len(irrelevant)
    false, true, _ = roc_curve(labels, stolen + irrelevant, drop_intermediate=False)
    assert found.rate == pytest.approx(true[false <= fpr + 1e-12].max())
    assert (found.low, found.high) == binomial_bound(round(best * len(stolen)), len(stolen))


def test_twenty_irrelevant_models_allow_one_false_alarm_at_five_percent_and_no_figure_at_one_percent():
    irrelevant = np.arange(20.0)
    found = tpr_at_fpr([18.5, 18.0, 19.5, 3.0], irrelevant, 0.05)
    assert isinstance(found, Rate) and (found.rate, found.hits, found.of) == (0.5, 2, 4)
    missing = tpr_at_fpr([18.5], irrelevant, 0.01)
    assert missing == NotReported(needs=100, has=20)
    assert str(missing) == "n/r (needs ≥ 100 irrelevant models)"
    assert isinstance(tpr_at_fpr([18.5], np.arange(100.0), 0.01), Rate)
    with pytest.raises(ValueError, match="false alarms"):
        tpr_at_fpr([1.0], [0.0], 1.5)


def test_tpr_of_several_sources_has_a_threshold_for_each():
    stolen = [[1.5, 0.5], [101.5, 99.0, 103.0]]
    irrelevant = [[0.0, 1.0], [100.0, 101.0]]
    assert tpr_at_fpr(stolen, irrelevant, 0.4) == NotReported(needs=3, has=2)
    found = tpr_at_fpr(stolen, irrelevant, 0.5)
    assert isinstance(found, Rate) and (found.hits, found.of) == (4, 5)
    own = tpr_at_fpr(stolen, [[0.0, 1.0], [104.0, 102.0, 102.0, 98.0]], 0.5)
    assert isinstance(own, Rate) and (own.hits, own.of) == (3, 5)


def test_summary_of_accuracies():
    assert accuracy_summary([0.8, 0.9]) == pytest.approx((0.85, math.sqrt(0.005), 2))
    single = accuracy_summary([0.8])
    assert (single.mean, single.n) == (0.8, 1) and math.isnan(single.sd)
    with pytest.raises(ValueError, match="values"):
        accuracy_summary([])


def test_importing_the_statistics_loads_neither_torch_nor_scipy_nor_scikit_learn():
    heavy = {"torch", "scipy", "sklearn", "pandas"}
    modules = "bench.metrics, bench.stats.differences"
    code = f"import sys, {modules}; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
