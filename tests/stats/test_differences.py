import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.stats.differences import (
    agrees,
    better_jointly,
    difference_interval,
    difference_of_two_runs,
    difference_over_sources,
)
from bench.stats.holm import holm
from bench.stats.intervals import AucEstimate, SourceAuc, estimate_auc, newcombe_variance

aucs = st.lists(st.integers(0, 16).map(lambda k: k / 16), min_size=1, max_size=8)


def run_of(*by_source, models=12):
    return estimate_auc([SourceAuc(a, models, models, 0.0) for a in by_source])


def one_cell(value, low, high):
    return AucEstimate(value, low, high, 20, 20, (value,), True)


def test_the_interval_of_a_difference():
    a, b = one_cell(0.9, 0.8, 0.95), one_cell(0.7, 0.55, 0.82)
    low, high = difference_interval(a, b)
    assert low == pytest.approx(0.2 - math.hypot(0.1, 0.12)) and high == pytest.approx(0.2 + math.hypot(0.05, 0.15))
    back = difference_interval(b, a)
    assert back == pytest.approx((-high, -low))
    same = one_cell(1.0, 0.8, 1.0)
    assert difference_interval(same, same) == pytest.approx((-0.2, 0.2))


@given(aucs, st.randoms(use_true_random=False))
@settings(deadline=None)
def test_p_values_over_sources_are_those_of_all_signs_written_out(a, random):
    b = [random.randint(0, 16) / 16 for _ in a]
    found = difference_over_sources(a, b)
    d = np.subtract(a, b)
    sums = [float(np.dot(signs, d)) for signs in itertools.product((1, -1), repeat=len(d))]
    if len(a) < 5:
        assert found.greater is found.two_sided is None
    else:
        assert found.greater == np.mean([x >= d.sum() - 1e-9 for x in sums])
        assert found.two_sided == np.mean([abs(x) >= abs(d.sum()) - 1e-9 for x in sums])
        assert found.smallest <= found.greater + 1e-12
    assert found.smallest == 0.5 ** np.count_nonzero(d)
    back = difference_over_sources(b, a)
    assert (back.difference, back.low, back.high) == pytest.approx((-found.difference, -found.high, -found.low))
    assert back.two_sided == found.two_sided


def test_the_interval_over_sources_is_students_and_tells_nothing_of_one():
    a, b = [0.9, 0.8, 0.95, 0.7], [0.6, 0.7, 0.85, 0.65]
    expected = scipy.stats.ttest_rel(a, b).confidence_interval()
    found = difference_over_sources(a, b)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert difference_over_sources([0.9], [0.4]).low == -1.0 and difference_over_sources([0.9], [0.4]).high == 1.0
    for bad in (([0.9], [0.9, 0.8]), ([], [])):
        with pytest.raises(ValueError, match="compared by source"):
            difference_over_sources(*bad)


def test_the_test_of_scipy_finds_the_same_p_values():
    rng = np.random.default_rng(4)
    for sources in (6, 10, 40):
        a, b = rng.uniform(0.5, 1, sources), rng.uniform(0.45, 0.95, sources)
        found = difference_over_sources(a, b)
        exact = {"n_resamples": np.inf} if sources < 20 else {"n_resamples": 50_000, "random_state": 1}
        for side, p in (("greater", found.greater), ("two-sided", found.two_sided)):
            other = scipy.stats.permutation_test(
                (a, b),
                lambda x, y, axis: np.mean(x - y, axis=axis),
                permutation_type="samples",
                alternative=side,
                **exact,
            )
            assert p == pytest.approx(other.pvalue, abs=1e-9 if sources < 20 else 0.012)
        assert found == difference_over_sources(a, b)


def test_equal_methods_have_no_difference_and_no_test_that_could_reject():
    found = difference_over_sources([1.0] * 9, [1.0] * 9)
    assert (found.difference, found.low, found.high) == (0.0, 0.0, 0.0)
    assert (found.greater, found.two_sided, found.smallest) == (1.0, 1.0, 1.0)
    better = difference_over_sources([1.0] * 9, [0.9] * 9)
    assert (better.greater, better.smallest) == (1 / 512, 1 / 512)


@pytest.mark.parametrize("sources", range(14, 24))
def test_a_sample_of_signs_gives_no_p_value_below_the_smallest_that_is_stated(sources):
    """One source decides: its sign is kept in half of all choices, and in about half of the sample."""
    found = difference_over_sources([0.9] + [0.5] * (sources - 1), [0.5] * sources)
    assert found.greater == pytest.approx(0.5, abs=0.03) and found.two_sided == 1.0
    assert found.smallest == min(0.5, found.greater)
    assert holm([found.greater], [found.smallest]) == pytest.approx([1.0])


def stepped_down(differences):
    """Westfall and Young's algorithm for all signs, written out."""
    d = np.nan_to_num(differences)
    norms = np.linalg.norm(d, axis=1)
    scaled = [row / norm if norm else row for row, norm in zip(d, norms, strict=True)]
    order = sorted(range(len(d)), key=lambda i: -sum(scaled[i]))
    adjusted, last = [1.0] * len(d), 0.0
    for rank, cell in enumerate(order):
        rest, observed = order[rank:], sum(scaled[cell])
        flips = [max(np.dot(s, scaled[j]) for j in rest) for s in itertools.product((1, -1), repeat=d.shape[1])]
        last = max(last, float(np.mean([f >= observed - 1e-9 for f in flips])))
        adjusted[cell] = last if norms[cell] else 1.0
    return adjusted


def test_a_table_is_tested_jointly_as_westfall_and_young_write():
    rng = np.random.default_rng(6)
    for cells, sources in ((1, 5), (3, 6), (6, 8)):
        d = rng.normal(0.1, 0.2, (cells, sources))
        d[0, 1] = math.nan
        if cells > 3:
            d[2] = 0.0
        assert better_jointly(d) == pytest.approx(stepped_down(d))
    one = rng.normal(0.1, 0.2, 7)
    assert better_jointly([one])[0] == difference_over_sources(one, np.zeros(7)).greater
    with pytest.raises(ValueError, match="matrix of cells"):
        better_jointly([0.1, 0.2])


def test_joint_p_values_are_not_below_single_ones_and_undecidable_cells_cost_nothing():
    rng = np.random.default_rng(2)
    for sources in (9, 20):
        d = rng.normal(0.1, 0.15, (8, sources))
        single = [difference_over_sources(row, np.zeros(sources)).greater for row in d]
        joint = better_jointly(d)
        assert (joint >= single).all() and joint.min() < 0.1
        silent = better_jointly(np.vstack([d, np.zeros((30, sources))]))
        assert silent[:8] == pytest.approx(joint) and (silent[8:] == 1).all()
    # Cells that are one and the same cost nothing; no p-value is below that of five signs.
    assert better_jointly([[0.2] * 5] * 20) == pytest.approx([1 / 32] * 20)
    assert better_jointly([[0.2] * 4]).min() > 0.05


def test_two_runs_differ_by_welchs_t_where_sources_differ_most():
    a, b = (0.9, 0.6, 0.75, 0.8, 0.3), (0.2, 0.4, 0.35)
    found = difference_of_two_runs(run_of(*a, models=3000), run_of(*b, models=3000))
    welch = scipy.stats.ttest_ind(a, b, equal_var=False)
    interval = welch.confidence_interval()
    assert found.p == pytest.approx(welch.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    back = difference_of_two_runs(run_of(*b, models=3000), run_of(*a, models=3000))
    assert back.p == found.p and (back.low, back.high) == pytest.approx((-found.high, -found.low))


@given(aucs.filter(lambda v: len(v) > 1), aucs.filter(lambda v: len(v) > 1))
@settings(deadline=None)
def test_the_interval_of_two_runs_leaves_out_zero_where_p_is_small(a, b):
    found = difference_of_two_runs(run_of(*a), run_of(*b))
    assert found.low <= found.difference <= found.high and found.low < found.high
    if abs(found.p - 0.05) > 1e-9:
        assert (found.p < 0.05) == (not found.low <= 0 <= found.high)


def test_two_runs_at_auc_one_do_not_differ_and_know_that_they_are_few():
    same = difference_of_two_runs(run_of(*[1.0] * 5, models=4), run_of(*[1.0] * 5, models=4))
    assert same.p == 1.0 and -0.25 < same.low < -0.05 and same.high == -same.low
    # 20 models of each kind: at 21 of 22 pseudo-models, Newcombe's variance of either run.
    variance = 21 / 22**2 * (1 + 19 / 23 + 19 * 21 / 43) / 20**2
    assert same.high == pytest.approx(1.959963984540054 * math.sqrt(2 * variance))
    many = difference_of_two_runs(run_of(*[1.0] * 20), run_of(*[1.0] * 20))
    assert many.high < same.high / 3
    apart = difference_of_two_runs(run_of(*[1.0] * 8), run_of(*[0.8] * 8))
    assert apart.p < 0.001


def test_two_runs_know_that_a_source_has_one_copy():
    a, b, c = (
        estimate_auc([SourceAuc(1.0, n, 10, 0.0) for n in numbers], 10) for numbers in ((50, 1), (2, 2), (26, 25))
    )
    wide, same, narrow = (difference_of_two_runs(run, run) for run in (a, b, c))
    assert wide.low <= same.low < narrow.low - 0.1 and wide.high == -wide.low


def of_shared(irrelevant, *by_source):
    return estimate_auc([SourceAuc(a, 20, 10, 0.0) for a in by_source], irrelevant)


def test_shared_irrelevant_models_add_to_the_variance_of_two_runs():
    spread = (0.6, 0.8, 0.7, 0.9, 0.75)
    own, shared = (difference_of_two_runs(r, r) for r in (of_shared(n, *spread) for n in (None, 10)))
    excess = np.diff(newcombe_variance(0.75, 100, np.array([50, 10])))[0]
    t, error = scipy.stats.t.ppf(0.975, 8), 2 * np.var(spread, ddof=1) / 5
    assert own.high == pytest.approx(t * math.sqrt(error))
    assert shared.high == pytest.approx(t * math.sqrt(error + 2 * excess))


def test_a_papers_figure_is_compared_with_a_spread_that_shared_irrelevant_models_do_not_make():
    shared, own = (of_shared(n, *(0.6, 0.8, 0.7, 0.9, 0.75) * 2) for n in (10, None))
    # 10 models that ten sources share are not one for each of them: the spread of the sources is the sources' own.
    assert [agrees(shared, paper, 20, 20) for paper in (0.41, 0.40)] == ["too few models to tell", "differs"]
    assert [agrees(own, paper, 20, 20) for paper in (0.51, 0.48)] == ["agrees", "differs"]


def test_one_source_is_no_sample_of_sources():
    one, many = run_of(0.9), run_of(0.7, 0.8)
    found = difference_of_two_runs(one, many)
    assert found.p is None and (found.low, found.high) == difference_interval(one, many)
    assert agrees(one, 0.1, 20, 20) == "one source: no verdict"


def test_agreement_with_a_paper():
    ours = run_of(0.93, 0.95, 0.9, 0.96, 0.91)
    assert agrees(ours, 0.95, 20, 20) == "agrees"
    assert agrees(ours, 1.0) == "agrees"
    # 20 against 20 say 0.82 +- 0.12; without the numbers the paper's source spreads like ours.
    assert agrees(ours, 0.82, 20, 20) == "agrees" and agrees(ours, 0.82) == "differs"
    assert agrees(ours, 0.60, 20, 20) == "differs"
    wide = run_of(0.93, 0.4, 0.9, 0.6, 0.91)
    assert agrees(wide, 0.6, 20, 20) == "too few models to tell"
    assert agrees(wide, 0.1, 20, 20) == "too few models to tell"
    assert agrees(run_of(*(0.93, 0.6, 0.9, 0.7, 0.91) * 4), 0.05, 20, 20) == "differs"


def test_agreement_with_a_paper_ends_where_the_formula_of_the_document_says():
    """The half of our interval towards the paper is 0.05 upwards and 0.1 downwards; t of five sources is 2.7764.

    s² = 0.00025, t s = 0.0439: 0.8 + √(0.05² + t² s²) + 0.005 = 0.87154, and 0.8 - √(0.1² + t² s²) - 0.005 = 0.68579.
    s² = 0.025, 20 models of each kind here and there: v = 0.0050444 at 0.8, and w = 0.0083453 at (0.33800 + 0.8) / 2:
    0.8 - √(0.1² + t² (s² - 2 v / 3) + z² w) - 0.005 = 0.33800.
    """
    near = AucEstimate(0.8, 0.7, 0.85, 100, 100, (0.78, 0.79, 0.8, 0.81, 0.82), False)
    said = [agrees(near, paper) for paper in (0.6857, 0.6858, 0.8715, 0.8716)]
    assert said == ["differs", "agrees", "agrees", "differs"]
    far = AucEstimate(0.8, 0.7, 0.85, 100, 100, (0.6, 0.7, 0.8, 0.9, 1.0), False)
    assert [agrees(far, paper, 20, 20) for paper in (0.3378, 0.3382)] == ["differs", "agrees"]


def test_a_wider_spread_of_sources_never_turns_agreement_into_difference():
    for paper in (0.5, 0.6, 0.7, 0.95):
        said = [agrees(run_of(*(0.8 - d, 0.8, 0.8 + d) * 2), paper, 20, 20) for d in (0, 0.05, 0.1, 0.15, 0.2)]
        ranks = [["differs", "agrees", "too few models to tell"].index(word) for word in said]
        assert ranks == sorted(ranks), said


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.9]) == pytest.approx([1, 1, 1])
    assert holm([0.2]) == pytest.approx([0.2])
    assert holm([]).size == 0
    for bad in ([math.nan], [1.2], [[0.1]]):
        with pytest.raises(ValueError, match="p-values"):
            holm(bad)


def test_tests_that_cannot_reject_do_not_count():
    # Tarone: at 1/32 none of twenty can reach 0.05; alone it can.
    assert holm([1 / 32] * 20, [1 / 32] * 20) == pytest.approx([1.0] * 20)
    assert holm([1 / 32], [1 / 32]) == pytest.approx([1 / 32])
    p, smallest = [1 / 512, 0.04, 1.0, 1.0], [1 / 512, 1 / 512, 1.0, 1.0]
    assert holm(p, smallest) == pytest.approx([2 / 512, 0.04, 1.0, 1.0])
    assert holm(p) == pytest.approx([4 / 512, 0.12, 1.0, 1.0])
    rng = np.random.default_rng(1)
    for _ in range(50):
        smallest = 0.5 ** rng.integers(0, 12, 10)
        p = np.minimum(1, smallest * rng.integers(1, 30, 10))
        counted = holm(p, smallest) < 1
        # Of k tests that count, each could reach 0.05 / k.
        assert (smallest[counted] * counted.sum() <= 0.05 + 1e-9).all()
        assert ((holm(p, smallest) <= 0.05) >= (holm(p) <= 0.05)).all()
    with pytest.raises(ValueError, match="smallest that it could"):
        holm([0.1], [0.2])
