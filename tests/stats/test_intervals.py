import math
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score, roc_curve

from bench.stats.auc import auc
from bench.stats.intervals import (
    AucEstimate,
    agrees,
    difference_interval,
    estimate_auc,
    hanley_mcneil_variance,
    newcombe_interval,
    newcombe_variance,
)
from bench.stats.rates import NotReported, Rate, accuracy_summary, binomial_bound, tpr_at_fpr

# Few distinct values, so that ties are common.
scores = st.lists(st.integers(-6, 6).map(float), min_size=1, max_size=25)


def one_cell(value, low, high):
    return AucEstimate(value, low, high, 20, 20, (value,), True)


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
    for function in (auc, estimate_auc, lambda s, i: tpr_at_fpr(s, i, 0.5)):
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


def test_a_cell_of_one_source_has_newcombes_interval():
    stolen, irrelevant = np.r_[np.arange(5, 15), 2], np.arange(10) + 0.5
    found = estimate_auc(stolen, irrelevant)
    assert found.auc == auc(stolen, irrelevant) and found.by_source == (found.auc,)
    assert (found.stolen, found.irrelevant, found.conditional) == (11, 10, True)
    low, high = newcombe_interval(found.auc, 11, 10)
    assert found.low <= low and high <= found.high
    perfect = estimate_auc(stolen + 100, irrelevant)
    assert (perfect.low, perfect.high) == newcombe_interval(1.0, 11, 10)


def test_a_cell_widens_where_models_vary_more_than_the_formula_expects():
    # Three of six suspects never, three always recognised: the suspect decides all.
    stolen, irrelevant = [-9, -8, -7, 7, 8, 9], np.linspace(-1, 1, 40)
    found, plain = estimate_auc(stolen, irrelevant), newcombe_interval(0.5, 6, 40)
    assert found.auc == 0.5
    assert found.high - found.low > 1.2 * (plain[1] - plain[0])


def test_a_cell_takes_the_auc_within_each_source_and_never_pools_scores():
    rng = np.random.default_rng(3)
    stolen, irrelevant = rng.normal(1, 1, (3, 8)), rng.normal(0, 1, (3, 12))
    found = estimate_auc(stolen, irrelevant)
    assert found.auc == pytest.approx(np.mean([auc(s, i) for s, i in zip(stolen, irrelevant, strict=True)]))
    assert found.range == (min(found.by_source), max(found.by_source))
    shift = np.array([[0.0], [50.0], [-900.0]])
    assert estimate_auc(stolen + shift, irrelevant + shift) == found


def test_sources_may_have_different_numbers_of_suspects_but_share_the_irrelevant_models():
    found = estimate_auc([[3, 4], [0.5, 9, 9]], [[0, 1, 2], [0, 1, 2]])
    assert found.by_source == pytest.approx((1.0, (1 / 3 + 2) / 3))
    assert found.auc == pytest.approx((1 + (1 / 3 + 2) / 3) / 2)
    assert (found.stolen, found.irrelevant) == (5, 3)
    with pytest.raises(ValueError, match="same irrelevant models"):
        estimate_auc([[3, 4], [3, 4]], [[0, 1, 2], [0, 1]])
    with pytest.raises(ValueError, match="2 sources, irrelevant models for 1"):
        estimate_auc([[3, 4], [3, 4]], [[0, 1, 2]])


def test_irrelevant_models_that_answer_alike_for_every_source_are_no_new_evidence():
    rng = np.random.default_rng(5)
    innocent = rng.normal(0, 1, 12)
    stolen = rng.normal(1, 1, 400)
    one, four = estimate_auc(stolen, innocent), estimate_auc([stolen] * 4, [innocent] * 4)
    assert four.auc == one.auc
    assert four.high - four.low > 0.97 * (one.high - one.low)


def test_from_five_sources_on_the_interval_speaks_of_sources_in_general():
    rng = np.random.default_rng(11)
    ability = np.array([0.2, 0.6, 1.2, 2.0, 3.5])[:, None]
    stolen, irrelevant = ability + rng.normal(0, 1, (5, 40)), rng.normal(0, 1, (5, 60))
    four, five = estimate_auc(stolen[:4], irrelevant[:4]), estimate_auc(stolen, irrelevant)
    assert four.conditional and not five.conditional
    fixed = newcombe_interval(five.auc, 200, 60)
    assert five.high - five.low > 1.5 * (fixed[1] - fixed[0])
    assert five == estimate_auc(stolen, irrelevant)
    assert five.low != estimate_auc(stolen, irrelevant, seed=1).low


def test_many_sources_at_auc_one_still_have_an_interval():
    found = estimate_auc([[2, 3, 4]] * 6, [[0, 1, 1.5, 1.7]] * 6)
    assert found.auc == found.high == 1.0
    assert 0.3 < found.low < 0.95


def test_the_interval_of_a_difference():
    a, b = one_cell(0.9, 0.8, 0.95), one_cell(0.7, 0.55, 0.82)
    low, high = difference_interval(a, b)
    assert low == pytest.approx(0.2 - math.hypot(0.1, 0.12)) and high == pytest.approx(0.2 + math.hypot(0.05, 0.15))
    back = difference_interval(b, a)
    assert back == pytest.approx((-high, -low))
    same = one_cell(1.0, 0.8, 1.0)
    assert difference_interval(same, same) == pytest.approx((-0.2, 0.2))


def test_agreement_with_a_paper():
    ours = one_cell(0.93, 0.85, 0.97)
    assert agrees(ours, 0.95, 20, 20) == "agrees"
    assert agrees(ours, 1.0) == "differs"
    assert agrees(ours, 0.76, 20, 20) == "agrees"  # 20 against 20 say 0.76 +- 0.15
    assert agrees(ours, 0.76) == "differs"
    assert agrees(ours, 0.60, 20, 20) == "differs"
    assert agrees(one_cell(0.9, 0.68, 0.97), 0.2, 20, 20) == "too few models to tell"


def test_at_auc_one_a_paper_is_judged_by_the_half_of_the_interval_that_points_to_it():
    ours = one_cell(1.0, 0.86, 1.0)
    assert agrees(ours, 1.0, 10, 10) == "agrees"
    assert agrees(ours, 0.87) == "agrees"
    assert agrees(ours, 0.85) == "differs"
    exact = one_cell(0.5, 0.5, 0.5)
    assert agrees(exact, 0.505) == "agrees" and agrees(exact, 0.506) == "differs"


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


def test_summary_of_accuracies():
    assert accuracy_summary([0.8, 0.9]) == pytest.approx((0.85, math.sqrt(0.005), 2))
    single = accuracy_summary([0.8])
    assert (single.mean, single.n) == (0.8, 1) and math.isnan(single.sd)
    with pytest.raises(ValueError, match="values"):
        accuracy_summary([])


def test_importing_the_statistics_loads_neither_torch_nor_scipy_nor_scikit_learn():
    heavy = {"torch", "scipy", "sklearn", "pandas"}
    code = f"import sys, bench.stats.intervals, bench.stats.permutation; print({heavy} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "set()"
