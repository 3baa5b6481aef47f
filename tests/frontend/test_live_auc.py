"""The AUCs of a run while its scores arrive: the right models are compared, and missing scores are marked."""

import itertools

import numpy as np
import pytest

from bench.core.tasks import Trial
from bench.frontend.live_auc import LiveAucs
from bench.stats.auc import auc


def trial(
    kind, replicate, *, seed=0, method="sac", attack="", on="digits", budget=None, source="vgg", reason="", draw=0
):
    key = "" if reason else f"{source}/{seed}/{method}/{budget}/{draw}/{kind}/{attack}/{on}/{replicate}"
    version = 1 if attack else None
    what = (seed, method, 1, budget, kind, attack, version, "", on, "net", replicate)
    return Trial("digits", source, *what, draw=draw, score=key, reason=reason)


def irrelevant(count, **what):
    return [trial("irrelevant", n, **what) for n in range(count)]


def stolen(count, attack="extract", **what):
    return [trial("stolen", n, attack=attack, **what) for n in range(count)]


def live(found, method="sac", attack="extract"):
    return found.table()[1][method][attack]


def add_scores(found, trials, values):
    for t, value in zip(trials, values, strict=True):
        found.add_score(t.score, value)


def nothing(key):
    return None


def test_there_is_no_table_before_there_is_an_auc():
    trials = [*irrelevant(2), *stolen(2)]
    found = LiveAucs(trials, (), nothing)
    assert found.table() is None
    add_scores(found, trials[:2], [0.1, 0.2])
    assert found.table() is None
    assert LiveAucs([], (), nothing).table() is None


def test_suspects_that_are_to_be_judged_and_what_cannot_be_judged_are_in_no_cell():
    impossible = {"method": "mark", "reason": "mark marks its own source"}
    trials = [*irrelevant(2), trial("undecided", 0), *stolen(2), *irrelevant(1, **impossible), *stolen(1, **impossible)]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials[:5], [0.1, 0.2, 0.9, 0.3, 0.4])
    assert found.table()[1] == {"sac": {"extract": (1.0, True, True)}, "mark": {"extract": None}}


def test_an_auc_follows_its_scores():
    trials = [*irrelevant(2), *stolen(2)]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials[:3], [0.1, 0.3, 0.2])
    assert live(found) == (0.5, False, True)
    assert live(found).text == "0.50…"
    add_scores(found, trials[3:], [0.4])
    assert live(found) == (0.75, True, True)
    assert live(found).text == "0.75"


def test_it_is_the_auc_of_the_report_over_sources():
    random = np.random.default_rng(0)
    trials = [*itertools.chain.from_iterable([*irrelevant(9, seed=s), *stolen(7, seed=s)] for s in (0, 1, 2))]
    values = random.integers(0, 6, len(trials)).astype(float)
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials, values)
    each = [auc(values[16 * s + 9 : 16 * s + 16], values[16 * s : 16 * s + 9]) for s in (0, 1, 2)]
    assert live(found).auc == pytest.approx(np.mean(each))


def test_scores_of_different_draws_are_never_compared():
    trials = [t for d in (0, 1) for t in (*irrelevant(2, draw=d), *stolen(2, draw=d))]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials, [0.1, 0.1, 0.2, 0.2, 0.8, 0.8, 0.9, 0.7])
    assert live(found).auc == 0.75


def test_suspects_are_compared_with_networks_of_their_dataset():
    trials = [*irrelevant(2), *irrelevant(2, on="letters"), *stolen(2), *stolen(2, "transfer", on="letters")]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials, [0.1, 0.1, 0.9, 0.9, 0.5, 0.5, 0.5, 0.5])
    assert live(found).text == "1.00"
    assert live(found, attack="transfer").text == "0.00"


def test_scores_that_never_arrive_leave_a_mark():
    trials = [*irrelevant(2), *stolen(2), *stolen(2, "prune")]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials, [0.1, 0.2, 0.3, None, None, None])
    assert live(found).text == "1.00*"
    assert live(found, attack="prune").text == "lost"
    found.add_score(trials[0].score, 5.0)  # recomputed: it has been counted
    found.add_score("of no trial", 5.0)
    assert live(found).text == "1.00*"


def test_scores_of_an_earlier_run_count_from_the_start():
    trials = [*irrelevant(2), *stolen(2)]
    kept = dict(zip([t.score for t in trials], [0.1, 0.2, 0.3, 0.4], strict=True))
    assert live(LiveAucs(trials, (), kept.get)).text == "1.00"


def test_cells_that_are_not_applicable_differ_from_cells_without_scores():
    trials = [*irrelevant(1), *stolen(1), *stolen(1, "prune"), *stolen(1, "transfer", on="letters", reason="labels")]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials[:2], [0.1, 0.2])
    assert live(found, attack="prune").text == "·"
    assert live(found, attack="transfer") is None


def test_methods_are_shown_with_their_default_budget():
    trials = [*irrelevant(1), *stolen(1), *irrelevant(1, budget=10), *stolen(1, budget=10)]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials, [0.1, 0.2, 0.2, 0.1])
    assert live(found).text == "1.00"


def test_of_several_tables_the_one_of_the_last_score_is_shown():
    trials = [*irrelevant(1), *stolen(1), *irrelevant(1, source="net"), *stolen(1, source="net")]
    found = LiveAucs(trials, (), nothing)
    add_scores(found, trials[:3], [0.1, 0.2, 0.3])
    assert found.table() is None
    add_scores(found, trials[3:], [0.2])
    key, rows = found.table()
    assert key == ("digits", "net")
    assert rows["sac"]["extract"].text == "0.00"
