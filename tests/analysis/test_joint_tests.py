"""Cells of a table are tested together, each against all its baselines: differences by source known by hand."""

import pytest

from bench.analysis.baselines import against_baselines

NOBODY = frozenset()


class Known:
    """Samples whose AUCs are known by method, attack and seed."""

    def __init__(self, seeds):
        self.seeds = tuple(seeds)

    def both(self, mine, others, paired):
        return {seed: (mine[seed], others[seed]) for seed in mine.keys() & others.keys()}


def compared(aucs, inapplicable=NOBODY, seeds=range(5), baselines=("noise", "akh")):
    """Compare cells, given as lists of AUCs of the first sources or by seed, with the baselines among them."""
    matched = {where: values if isinstance(values, dict) else dict(enumerate(values)) for where, values in aucs.items()}
    return against_baselines(Known(seeds), matched, inapplicable, baselines, NOBODY)


BASELINE = [0.4] * 5


def test_a_cell_beats_its_baselines_if_it_beats_each_of_them_for_the_whole_table():
    """The cell is 0.1 above noise at all sources, and 0.5 above akh at one, 0.02 at the others.

    Alone, each has 1/32. The sums over the roots of the sums of squares: noise 2.236, akh 1.156, the other cell 1.069.
    With three choices of signs more than that at hand, the other cell reaches 1.156: akh has 4/32.
    """
    aucs = {("noise", "extract_l"): BASELINE, ("akh", "extract_l"): [0.0, 0.48, 0.48, 0.48, 0.48]}
    aucs |= {("noise", "prune"): BASELINE, ("akh", "prune"): BASELINE}
    aucs |= {("sac", "extract_l"): [0.5] * 5, ("sac", "prune"): [0.5, 0.35, 0.5, 0.35, 0.5]}
    found = compared(aucs, {("akh", "prune")})
    one, other = found["sac", "extract_l"], found["sac", "prune"]
    assert (one.baseline, one.p, one.adjusted, one.beaten) == ("akh", 1 / 32, 4 / 32, False)
    assert one.difference == pytest.approx(0.116) and one.baselines == ("noise", "akh")
    assert (other.baseline, one.tests, other.tests) == ("noise", 2, 2)
    alone = compared({where: values for where, values in aucs.items() if where[1] == "extract_l"})
    assert (alone["sac", "extract_l"].adjusted, alone["sac", "extract_l"].beaten) == (1 / 32, True)


def test_the_hardest_of_equally_significant_baselines_has_the_largest_p_value_then_the_smallest_difference():
    mine = {("sac", "prune"): [0.5] * 5}
    equal = mine | {("noise", "prune"): [0.4] * 5, ("akh", "prune"): [0.45] * 5}
    assert compared(equal)["sac", "prune"].baseline == "akh"
    lower = mine | {("noise", "prune"): [0.6, 0.6, 0.6, 0.6, 0.45], ("akh", "prune"): [0.6] * 5}
    found = compared(lower)["sac", "prune"]
    assert (found.baseline, found.adjusted, found.p) == ("akh", 1.0, 1.0)


def test_a_cell_with_too_few_sources_in_common_with_a_baseline_is_not_tested_and_costs_the_others_nothing():
    aucs = {("noise", "prune"): BASELINE, ("akh", "prune"): BASELINE[:4], ("sac", "prune"): [0.5, 0.35, 0.5, 0.35, 0.5]}
    aucs |= {("noise", "extract_l"): BASELINE, ("akh", "extract_l"): [0.0, 0.48, 0.48, 0.48, 0.48]}
    aucs |= {("sac", "extract_l"): [0.5] * 5}
    found = compared(aucs)
    untested = found["sac", "prune"]
    assert (untested.p, untested.adjusted, untested.beaten, untested.tests) == (None, None, False, 1)
    assert found["sac", "extract_l"].adjusted == 1 / 32


def test_seeds_at_which_a_table_has_no_source_are_no_sources_of_it():
    """A folder has the seeds of all its tables; this one has five of the fifteen: 1/32, not a sample of signs."""
    seeds = range(4, 9)
    aucs = {("noise", "prune"): dict.fromkeys(seeds, 0.4), ("sac", "prune"): dict.fromkeys(seeds, 0.5)}
    found = compared(aucs, seeds=range(15), baselines=("noise",))["sac", "prune"]
    assert (found.p, found.adjusted, found.sources) == (1 / 32, 1 / 32, 5)
