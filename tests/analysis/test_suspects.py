"""Described suspects beside the irrelevant models: which of these count, and why a suspect has no score."""

import pandas as pd
import pytest
from test_build import line

from bench.analysis.suspects import Standing, standings
from bench.reporting.tables.suspects import suspects_tables

SUSPECT = {"suspect_kind": "undecided", "suspect_model": "theirs", "source_model": "mine"}


def judged(*suspects, irrelevant=()):
    """Return the standing of one suspect; each of `suspects` and `irrelevant` changes a row."""
    rows = [line() | SUSPECT | {"draw": draw} | changed for draw, changed in enumerate(suspects)]
    rows += [line() | {"suspect_model": "", "source_model": "mine"} | changed for changed in irrelevant]
    (found,) = standings(pd.DataFrame(rows))
    return found


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            {"status": "failed", "score": None, "error": "ValueError: too dark", "note": "tau=0.9"},
            "ValueError: too dark",
        ),
        ({"status": "not_applicable", "score": None, "note": "answers with labels"}, "answers with labels"),
        ({"status": "not_run", "score": None, "note": "tau=0.9"}, "not_run"),
    ],
)
@pytest.mark.parametrize("before", [(), ({"score": 0.5, "note": "tau=0.9"},)])
def test_the_reason_is_that_of_a_row_without_a_score(before, row, reason):
    found = judged(*before, row)
    assert (found.score, found.reason) == (None, reason)


def test_irrelevant_models_that_lack_a_draw_do_not_count():
    models = [{"draw": d, "replicate": r, "score": r + d} for r in range(3) for d in range(2) if (r, d) != (2, 0)]
    found = judged({"score": 1.0}, {"score": 2.0}, irrelevant=models)
    assert (found.score, found.at_least, found.irrelevant) == (1.5, 1, 2)


def test_a_model_with_the_suspects_scores_scores_as_high_whatever_the_means_round_to():
    """The mean of 0.2, 0.2 and 0.2 is another number if the additions are compensated."""
    models = [{"draw": d, "score": s} for d, s in enumerate((0.2, 0.2, 0.2))]
    models += [{"draw": d, "replicate": 1, "score": s} for d, s in enumerate((0.1, 0.2, 0.3))]
    models += [{"draw": d, "replicate": 2, "score": s} for d, s in enumerate((0.3, 0.2, 0.1))]
    found = judged({"score": 0.2}, {"score": 0.2}, {"score": 0.2}, irrelevant=models)
    assert (found.at_least, found.irrelevant) == (3, 3)


def test_a_reason_has_one_note_for_each_method_however_many_suspects_have_it():
    def notes(**reasons):
        found = [
            Standing("digits", "vgg", 0, "mine", f"net{n}", method, None, 0, 3, reason(n))
            for n in range(1500)
            for method, reason in reasons.items()
        ]
        (table,) = suspects_tables(found)
        assert len(table.rows) == 1500
        return table.notes

    first = ", ".join(f"net{n}" for n in range(10))
    assert notes(sac=lambda n: "it answers with labels", mark=lambda n: "it is dark" if n % 750 else "it is grey") == [
        f"sac ({first}, and 1,490 more): it answers with labels",
        "mark (net0, net750): it is grey",
        f"mark ({first.removeprefix('net0, ')}, net10, and 1,488 more): it is dark",
    ]
    assert notes(sac=lambda n: f"error {n}")[18:] == [
        "sac (net18): error 18",
        "sac (net19): error 19",
        "and 1,480 more",
    ]


@pytest.mark.parametrize(
    ("score", "others", "shown"),
    [
        (0.15, (0.1, 0.1499), "0.1500"),
        (0.0, (-1.0, -0.5), "0.0000"),
        (-2.2e-08, (-2.3e-08, -3e-8), "-2.2e-08"),
        (2e-12, (-5e-12, 1e-12), "2e-12"),
        (3e30, (1e30, 2e30), "3e+30"),
    ],
)
def test_scores_of_any_size_are_compared_and_shown(score, others, shown):
    """Rounding is relative: below 1e-9, scores are not all alike."""
    found = judged({"score": score}, irrelevant=[{"replicate": n, "score": s} for n, s in enumerate(others)])
    assert (found.at_least, found.irrelevant) == (0, 2)
    ((_, lines),) = suspects_tables([found])[0].rows
    assert lines[0].text == shown


def test_a_suspect_without_a_row_of_a_method_has_no_score_of_it():
    rows = [("a", "one"), ("a", "other"), ("b", "one")]
    (table,) = suspects_tables([Standing("digits", "vgg", 0, "mine", *row, 0.5, 0, 3, "") for row in rows])
    assert [row[2][0].text for row in table.rows] == ["0.5000", "none"]
