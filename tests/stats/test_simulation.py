"""How often the intervals cover, the frozen threshold holds and Holm errs: thousands of made-up benchmarks.

`pytest -m slow -s tests/stats/test_simulation.py` prints the tables of `docs/statistics.md`.
"""

from statistics import NormalDist

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import ndtr

from bench.stats.intervals import estimate_auc
from bench.stats.permutation import Scores, holm, paired_permutation
from bench.stats.thresholds import Frozen, calibration_half, frozen_threshold

pytestmark = pytest.mark.slow

BENCHMARKS = 2000
SIZES = [(20, 20), (12, 12), (10, 10), (5, 12)]
AUCS = [0.7, 0.9, 0.95, 0.99]
LEAST = 0.93

# A score of 100 steps: a standard normal innocent spreads over all of them, a stolen suspect crowds at the top.
EDGES = np.array([NormalDist().inv_cdf((step + 0.5) / 100) for step in range(100)])


def true_auc(shift, spread, steps):
    """AUC of stolen ~ N(shift, spread²) against irrelevant ~ N(0, 1), ties counting half."""
    if not steps:
        return ndtr(shift / np.sqrt(1 + spread**2))
    stolen = np.diff(ndtr((EDGES - shift) / spread), prepend=0, append=1)
    irrelevant = np.diff(ndtr(EDGES), prepend=0, append=1)
    return float(stolen @ (np.cumsum(irrelevant) - irrelevant / 2))


def answers(latent, steps):
    return np.round(100 * ndtr(latent)) / 100 if steps else latent


def simulate(rng, sizes, auc, steps, sources, spread=1.0, ability=0.0, fixed=None, alike=0.5):
    """Draw benchmarks; give the share of intervals that hold `auc` and their mean width.

    ability: standard deviation of what sources differ by, drawn anew for each benchmark; fixed: their differences when
    the sources are given; alike: the correlation of an irrelevant model's scores for two sources.
    """
    m, n = sizes
    offsets = np.zeros(sources) if fixed is None else np.asarray(fixed)
    marginal = np.hypot(spread, ability)
    shift = brentq(lambda d: np.mean([true_auc(d + o, marginal, steps) for o in offsets]) - auc, -5, 15)
    means = shift + offsets[:, None] + ability * rng.normal(size=(BENCHMARKS, sources, 1))
    stolen = answers(means + spread * rng.normal(size=(BENCHMARKS, sources, m)), steps)
    shared, own = rng.normal(size=(BENCHMARKS, 1, n)), rng.normal(size=(BENCHMARKS, sources, n))
    irrelevant = answers(np.sqrt(alike) * shared + np.sqrt(1 - alike) * own, steps)
    cells = [estimate_auc(s, i) for s, i in zip(stolen, irrelevant, strict=True)]
    covers = np.mean([c.low <= auc <= c.high for c in cells])
    return float(covers), float(np.mean([c.high - c.low for c in cells]))


def tabulate(title, name, rows):
    """Run each row's settings over sizes and AUCs, print a Markdown table, give the lowest coverage."""
    print(f"\n\n{title}\n\n| {name} | stolen / irrelevant | score |" + "".join(f" AUC {a} |" for a in AUCS))
    print("|---|---|---|" + "---|" * len(AUCS))
    rng = np.random.default_rng(20_240)
    lowest = 1.0
    for label, sizes, steps, settings in rows:
        found = [simulate(rng, sizes, a, steps, **settings) for a in AUCS]
        lowest = min([lowest, *(covers for covers, _ in found)])
        cells = "".join(f" {100 * covers:.1f} % ({width:.2f}) |" for covers, width in found)
        print(f"| {label} | {sizes[0]} / {sizes[1]} | {'100 steps' if steps else 'continuous'} |{cells}", flush=True)
    return lowest


def grid(*labelled):
    return [(label, sizes, steps, s) for label, s in labelled for sizes in SIZES for steps in (False, True)]


def test_intervals_of_one_source_cover():
    rows = grid(*((spread, {"sources": 1, "spread": spread}) for spread in (1.0, 0.5, 2.0)))
    assert tabulate("One source: coverage of the 95 % interval (mean width)", "spread of stolen", rows) >= LEAST


def test_intervals_of_three_given_sources_cover():
    rows = grid(
        ("alike", {"sources": 3, "alike": 0.95}),
        ("0.7 apart", {"sources": 3, "fixed": (-0.7, 0.0, 0.7)}),
    )
    assert tabulate("Three sources, these ones: coverage (mean width)", "sources", rows) >= LEAST


def test_intervals_of_five_sources_cover_for_sources_in_general():
    rows = grid(
        ("alike", {"sources": 5, "alike": 0.95}),
        ("s.d. 0.5", {"sources": 5, "ability": 0.5}),
        ("s.d. 1.0", {"sources": 5, "ability": 1.0}),
    )
    assert tabulate("Five sources, any: coverage (mean width)", "sources", rows) >= LEAST


def false_accusations(models, alpha, apart, sources):
    """Draw irrelevant models of four families and a division for each benchmark: mean rate and its standard error."""
    rng = np.random.default_rng(7)
    family = np.arange(models) * 4 // models
    names, families = [f"model {i}" for i in range(models)], [f"family {f}" for f in family]
    rates = []
    for draw in range(BENCHMARKS):
        scores = apart * family + rng.normal(size=models) + rng.normal(size=(sources, models))
        found = frozen_threshold(scores, calibration_half(names, families, draw), alpha)
        assert isinstance(found, Frozen)
        rates.append(found.false_accusations.rate)
    return float(np.mean(rates)), float(np.std(rates) / np.sqrt(BENCHMARKS))


def test_the_frozen_threshold_holds_its_rate_on_average():
    print("\n\nFrozen threshold: mean rate of false accusations ± standard error\n")
    print("| irrelevant models | rate promised | families | one source | three sources |\n|---|---|---|---|---|")
    for models, alpha in ((18, 0.1), (38, 0.05), (50, 0.05), (198, 0.01)):
        for apart in (0.0, 1.0):
            found = [false_accusations(models, alpha, apart, sources) for sources in (1, 3)]
            cells = "".join(f" {rate:.4f} ± {error:.4f} |" for rate, error in found)
            print(f"| {models} | {alpha} | {f'{apart:g} s.d. apart' if apart else 'alike'} |{cells}", flush=True)
            assert all(alpha / 3 <= rate <= alpha + 3 * error for rate, error in found)


def test_holm_marks_a_cell_of_a_table_without_effects_in_at_most_one_table_of_twenty():
    rng = np.random.default_rng(12)
    methods, attacks, baselines, models = 4, 5, 3, 12
    errors = {"one baseline": 0, "the hardest of three baselines": 0}
    for table in range(BENCHMARKS):
        count = methods + baselines
        innocent = rng.normal(size=models) + rng.normal(size=(count, models))
        first, hardest = [], []
        for _ in range(attacks):
            suspects = 1 + rng.normal(size=models) + rng.normal(size=(count, models))
            judged = [Scores(s, i) for s, i in zip(suspects, innocent, strict=True)]
            for method in judged[baselines:]:
                p = [paired_permutation(method, baseline, seed=table).greater for baseline in judged[:baselines]]
                first.append(p[0])
                hardest.append(max(p))
        errors["one baseline"] += holm(first).min() <= 0.05
        errors["the hardest of three baselines"] += holm(hardest).min() <= 0.05
    print("\n\nTables without any effect in which Holm marks a cell at 5 %\n\n| test | tables |\n|---|---|")
    for name, count in errors.items():
        print(f"| {methods} × {attacks} cells against {name} | {100 * count / BENCHMARKS:.1f} % |")
    assert max(errors.values()) / BENCHMARKS <= 0.065
