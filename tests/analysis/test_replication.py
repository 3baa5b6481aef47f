"""A published run and its repetition: what contradicts it, what cannot be judged, and what must be the very same."""

from dataclasses import replace

import numpy as np
import pytest
from test_build import benchmark, line

from bench.analysis.replication import judge
from bench.core.canonical import digest
from bench.reporting.replication import tables, verdict
from bench.results.reader import load
from bench.results.writer import save


def rows(seeds, machine="abacus", shift=0.0, accuracy=0.85, draw=0):
    """Make rows of one method against one attack: 6 stolen and 6 irrelevant models per source, scores at random."""
    found = []
    for seed in seeds:
        generator = np.random.default_rng([draw, seed])
        names = {"source_seed": seed, "source_digest": digest([machine, draw, seed])}
        for attack in ("extract_l", ""):
            for architecture in ("net", "res"):
                for r in range(3):
                    made = line(
                        attack=attack,
                        architecture=architecture,
                        replicate=r,
                        score=float(generator.normal() + (1 + shift) * bool(attack)),
                        suspect_accuracy=round(float(np.clip(accuracy + 0.01 * generator.normal(), 0, 1)), 3),
                        suspect_digest=digest([machine, draw, seed, attack, architecture, r]),
                        fingerprint_digest=digest([machine, draw, seed, "sac"]),
                        source_accuracy=round(0.9 + 0.01 * float(generator.normal()), 3),
                        **names,
                    )
                    found.append(made)
        for made in found[-12:]:
            made["source_accuracy"] = found[-1]["source_accuracy"]
    return found


def run(tmp_path, name, made):
    described = benchmark(methods=("sac",), baselines=(), attacks=("extract_l",))
    described["spec"]["seeds"] = sorted({r["source_seed"] for r in made})
    save(tmp_path / name, made, described)
    return load(tmp_path / name)


@pytest.fixture
def published(tmp_path):
    return run(tmp_path, "published", rows(range(8)))


def judged(tmp_path, published, made):
    return judge(published, run(tmp_path, "here", made))


def test_the_very_same_scores_are_reproduced(tmp_path, published):
    found = judged(tmp_path, published, rows(range(8)))
    assert found.exact and found.complete and not found.contradicts
    assert verdict(found) == "Reproduced: the scores of all 96 trials are equal."


def test_other_sources_of_one_distribution_do_not_contradict(tmp_path, published):
    found = judged(tmp_path, published, rows(range(8), "beads", draw=1))
    assert not found.exact and found.complete and not found.contradicts
    assert [j.figure.what for j in found.figures] == ["AUC", "accuracy", "accuracy", "accuracy"]
    assert verdict(found).startswith("Not contradicted: none of 4 figures differs by more than chance, at 5 %")


def test_another_auc_is_a_contradiction_that_is_named(tmp_path, published):
    found = judged(tmp_path, published, rows(range(8), "beads", shift=-3.0, draw=1))
    assert [j.figure[2:5] for j in found.contradictions] == [("AUC", "sac", "extract_l")]
    text = verdict(found)
    assert text.startswith("Contradicted: 1 of 4 figures differ by more than chance") and "\n" not in text
    assert "(up to 1 in 20 correct repetitions end so, by chance)" in text
    assert "AUC, sac, extract_l" in text
    (row,) = [r for r in tables(found).splitlines() if r.startswith("AUC, sac, extract_l")]
    assert row.endswith("≠")


def test_other_accuracies_are_a_contradiction(tmp_path, published):
    found = judged(tmp_path, published, rows(range(8), "beads", accuracy=0.7, draw=1))
    assert {j.figure[2:5] for j in found.contradictions} == {
        ("accuracy", "plain", "irrelevant"),
        ("accuracy", "plain", "extract_l"),
    }


def test_a_caption_counts_the_tests_of_all_tables_that_could_find_a_difference(tmp_path, published):
    found = judged(tmp_path, published, rows(range(8), "beads", draw=1))
    letters = [replace(j, figure=j.figure._replace(dataset="letters")) for j in found.figures]
    letters[-1] = replace(letters[-1], published=(0.9, 0.9), here=(0.9, 0.9))
    text = " ".join(tables(replace(found, figures=(*found.figures, *letters))).split())
    assert text.count("Holm's correction for all 7 tests of both runs that could find a difference.") == 2


def test_the_difference_is_that_here_minus_the_published_one(tmp_path, published):
    found = judged(tmp_path, published, rows(range(8), "beads", shift=-3.0, draw=1)).figures[0]
    assert found.difference.difference == pytest.approx(np.mean(found.here) - np.mean(found.published))
    assert found.difference.difference < 0 and (len(found.published), len(found.here)) == (8, 8)


def test_suspects_that_differ_although_their_sources_are_the_same_contradict(tmp_path, published):
    made = rows(range(8))
    for r in made:
        if r["attack"]:
            r["suspect_digest"] = digest([r["suspect_digest"], "another temperature"])
    found = judged(tmp_path, published, made)
    assert found.reproduced.unlike == {"suspects by extract_l": 48} and found.contradicts
    assert "the very same, but these are not: 48 suspects by extract_l" in verdict(found)


def test_scores_and_fingerprints_that_differ_although_all_networks_are_the_same_contradict(tmp_path, published):
    made = rows(range(8))
    made[0]["score"] += 1e-9
    assert judged(tmp_path, published, made).reproduced.unlike == {"scores by sac": 1}
    for r in made:
        r["fingerprint_digest"] = digest("another")
    assert judged(tmp_path, published, made).reproduced.unlike == {"fingerprints by sac": 96}


def test_another_machine_owes_no_equal_suspects(tmp_path, published):
    made = rows(range(8))
    for r in made:
        r["suspect_digest"] = digest([r["suspect_digest"], "other kernels for these layers"])
    assert judged(tmp_path, published, made).reproduced.unlike == {}


def test_old_results_without_digests_are_judged_by_their_figures_only(tmp_path):
    bare = {"suspect_digest": "", "source_digest": "", "fingerprint_digest": ""}
    old = run(tmp_path, "old", [r | bare for r in rows(range(8))])
    found = judged(tmp_path, old, rows(range(8), "beads", shift=-3.0, draw=1))
    assert found.reproduced.unlike == {}
    assert "irrelevant" not in {j.figure.attack for j in found.figures}  # they belonged to no source
    assert [j.figure.what for j in found.contradictions] == ["AUC"]


@pytest.mark.parametrize(
    ("theirs", "ours", "accuracies", "p"),
    [(3, 2, (0.1, 0.1), 1), (2, 2, (0.859, 0.862), 1 / 3), (8, 8, (0.859, 0.862), 2 / 12870)],
)
def test_accuracies_that_no_source_of_a_run_varies_are_no_certain_difference(tmp_path, theirs, ours, accuracies, p):
    """Equal ones agree, though their means may differ in the last digit; of two sources, two equal ones are chance."""
    made = [rows(range(theirs)), rows(range(ours), "beads", draw=1)]
    for run_rows, accuracy in zip(made, accuracies, strict=True):
        for r in run_rows:
            r |= {"suspect_accuracy": accuracy, "source_accuracy": accuracy}
    found = judge(run(tmp_path, "published", made[0]), run(tmp_path, "here", made[1]))
    judged = [j for j in found.figures if j.figure.what == "accuracy"]
    assert [j.difference.p for j in judged] == pytest.approx([p] * 3)
    assert {j.contradicts for j in judged} == {p < 0.01}
    assert all(j.difference.low <= 0 <= j.difference.high for j in judged if p > 0.05)


@pytest.mark.parametrize(("theirs", "ours"), [(1, 8), (8, 1), (1, 1)])
def test_one_source_cannot_be_judged(tmp_path, theirs, ours):
    found = judge(
        run(tmp_path, "published", rows(range(theirs))), run(tmp_path, "here", rows(range(ours), "beads", draw=1))
    )
    assert not found.tested and not found.complete and not found.contradicts
    assert verdict(found) == "Not judged: no figure has 2 sources in both runs."


def test_one_source_is_reproduced_or_contradicted_by_its_scores(tmp_path):
    one = run(tmp_path, "published", rows([3]))
    assert judged(tmp_path, one, rows([3])).complete
    other = rows([3])
    other[0]["score"] += 1
    assert judged(tmp_path, one, other).contradicts


@pytest.mark.parametrize(("seeds", "complete"), [(range(8), True), ([3], False)])
def test_equal_scores_do_not_reproduce_a_run_of_which_others_are_missing_here(tmp_path, seeds, complete):
    published, made = run(tmp_path, "published", rows(seeds)), rows(seeds)
    made[5] |= {"status": "failed", "score": None, "access": "", "queries": None, "agreement": None, "seconds": None}
    found = judged(tmp_path, published, made)
    assert (found.exact, found.complete, found.contradicts) == (False, complete, False)
    assert verdict(found).startswith("Not ")
    assert verdict(found).endswith(". 1 trial with a published score has none here.")
    fewer = judged(tmp_path, published, rows(seeds)[:-1])  # it was not asked for here
    assert fewer.exact and "published score" not in verdict(fewer)


def test_a_figure_that_is_missing_here_is_not_passed_over(tmp_path, published):
    failed = {"status": "failed", "score": None, "access": "", "queries": None, "agreement": None, "seconds": None}
    made = [r | (failed if r["attack"] else {}) for r in rows(range(8), "beads", draw=1)]
    found = judged(tmp_path, published, made)
    assert not found.complete and not found.contradicts
    assert verdict(found).startswith("Not judged, since there is no figure here: AUC, sac, extract_l. Not contradicted")


def test_tests_that_cannot_reject_do_not_count(tmp_path):
    """Where all sources of both runs have AUC 1.00, the other figures are corrected for their own number."""

    def perfect(made):
        return [r | {"score": r["score"] + 100 * bool(r["attack"])} for r in made]

    theirs = run(tmp_path, "published", perfect(rows(range(8))))
    found = judge(theirs, run(tmp_path, "here", perfect(rows(range(8), "beads", draw=1))))
    p = {j.figure.attack: (j.difference.p, j.adjusted) for j in found.figures if j.figure.what == "accuracy"}
    least = min(raw for raw, _ in p.values())
    assert min(adjusted for _, adjusted in p.values()) == pytest.approx(min(1, 3 * least))
    assert found.figures[0].adjusted == 1
