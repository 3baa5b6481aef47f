"""Tables group methods by access, and show where only some suspects could be judged."""

import re

import pytest
from test_build import benchmark, cell, charts, line, trials  # noqa: F401  a fixture

from bench.core.tasks import NOT_APPLICABLE
from bench.reporting.build import write
from bench.results.rows import row


def written(folder, rows, run):
    return write(folder, rows, run)


def white(method):
    """Describe a run in which a method looks at weights."""
    run = benchmark()
    run["components"]["method"][method]["attributes"]["access"] = "weights"
    return run


@pytest.fixture
def grouped(tmp_path):
    """Write a report in which the first method looks at weights."""
    rows = [r | ({"access": "weights"} if r["method"] == "sac" and r["access"] else {}) for r in trials()]
    return written(tmp_path, rows, white("sac")), tmp_path


def test_methods_that_look_at_weights_come_after_those_that_ask(grouped):
    text, folder = grouped
    assert re.findall(r"^(sac|mark|noise)\b", text, re.MULTILINE)[:3] == ["mark", "sac", "noise"]
    rows = [row.split("|")[1].strip() for row in re.findall(r"^\|.*", (folder / "table.md").read_text(), re.MULTILINE)]
    assert rows[rows.index("mark") :][:5] == ["mark", "*white box*", "sac", "*baselines*", "noise"]
    note = "White box: sac. Such a method looks at a suspect's weights; the others only ask it."
    assert note in re.sub(r"\s+", " ", text)
    assert any(r"\midrule" in path.read_text() for path in (folder / "tex").glob("*.tex"))
    page = (folder / "index.html").read_text()
    assert re.search(r">sac<small>white box</small>", page)
    assert page.count("<small>white box</small>") == 1


def test_a_method_alone_needs_no_rule(tmp_path):
    rows = [r for r in trials() if r["method"] == "sac"]
    run = white("sac")
    run["spec"]["methods"], run["spec"]["baselines"] = ["sac"], []
    written(tmp_path, rows, run)
    assert "*white box*" not in (tmp_path / "table.md").read_text()


def test_a_cell_of_which_some_are_not_applicable_is_incomplete_and_says_why(tmp_path):
    """Whoever leaves out what is hard looks better than it is."""

    def choosy(r):
        left_out = r["method"] == "sac" and r["attack"] == "extract_l" and r["replicate"] == 0
        gone = {"status": "not_applicable", "score": None, "queries": None, "agreement": None, "access": ""}
        return r | gone | {"note": "it is too hard"} if left_out else r

    text = written(tmp_path, [choosy(r) for r in trials()], benchmark())
    found = cell(tmp_path, "sac", "extract_l")
    assert (found["status"], found["failed"], found["stolen"], found["error"]) == (
        "incomplete",
        "0",
        "4",
        "it is too hard",
    )
    text = re.sub(r"\s+", " ", text)
    assert "*: incomplete: sac: extract_l from 4 of 6 stolen, 9 of 9 irrelevant models (2 not_applicable)." in text
    assert "*: it is too hard" in text
    assert cell(tmp_path, "sac", "finetune_a")["status"] == "complete"
    assert cell(tmp_path, "mark", "transfer")["status"] == "not_applicable"


def test_a_cell_of_which_no_irrelevant_model_is_applicable_has_no_figure(tmp_path):
    gone = {"status": "not_applicable", "score": None, "queries": None, "agreement": None, "access": "", "note": "no"}
    rows = [r | gone if r["method"] == "sac" and not r["attack"] else r for r in trials()]
    written(tmp_path, rows, benchmark())
    assert cell(tmp_path, "sac", "extract_l")["status"] == "incomplete"
    assert "not applicable" in (tmp_path / "index.html").read_text()


def test_a_score_that_says_it_is_not_applicable_is_such_a_row():
    from test_build import outcome, trial

    made = row(trial(), outcome(facts={NOT_APPLICABLE: "a; b=c"}, seconds=3.0), outcome(facts={"accuracy": 0.5}), None)
    assert (made["status"], made["note"], made["error"], made["score"], made["seconds"]) == (
        "not_applicable",
        "a; b=c",
        "",
        None,
        None,
    )
    assert made["source_accuracy"] == 0.5
    assert line()["status"] == "done"
