"""From trials to rows, from rows to tables: numbers known by hand, and everything that can be wrong with a file."""

import csv
import hashlib
import io
import itertools
import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from bench.api.data import Reported, ReportedAccuracy
from bench.cli.commands.report import command
from bench.core.canonical import digest
from bench.core.errors import BenchError
from bench.core.spec import Recipe, Spec
from bench.core.tasks import Outcome, Trial
from bench.reporting.build import check, render, update, write
from bench.reporting.html import svg
from bench.results.columns import COLUMNS
from bench.results.reader import load
from bench.results.rows import row
from bench.results.writer import save

CHARTS = {}
"""Charts by the function that drew them and what it drew."""


def drawn_once(draw):
    def drawn(*what):
        key = draw.__name__, repr(what)
        if key not in CHARTS:
            CHARTS[key] = draw(*what)
        return CHARTS[key]

    return drawn


@pytest.fixture(autouse=True)
def charts(monkeypatch):
    """Draw equal charts of a module's reports once: drawing takes longest, and most tests do not look at a page."""
    for draw in (svg.against_cost, svg.against_budget, svg.accuracies):
        monkeypatch.setattr(svg, draw.__name__, drawn_once(draw))
    return CHARTS


def component(version=1, watermark=False, params=None, **attributes):
    return {
        "version": version,
        "distribution": "tests",
        "summary": "One of a test.",
        "params": params or {},
        "attributes": json.loads(json.dumps(attributes, default=vars)),
        "watermark": watermark,
    }


def benchmark(**changes):
    """Describe a run: two methods and a baseline against three attacks, one of which lands elsewhere."""
    reported = [
        Reported("digits", "vgg", ("vgg",), "finetune_a", 1.0, 10, 20),
        Reported("digits", "vgg", ("net", "res"), "extract_l", 0.95, 20, 20),
        Reported("letters", "vgg", ("net",), "extract_l", 0.5, 20, 20),
    ]
    spec = {"datasets": ("digits",), "sources": ("vgg",), "suspects": ("net", "res"), "methods": ("sac", "mark"),
            "baselines": ("noise",), "attacks": ("finetune_a", "extract_l", "transfer"), "replicates": 3, "copies": 2,
            "recipe": Recipe(epochs=7, precision="fp32"), "preset": "quick"} | changes  # fmt: skip
    return {
        "format": 3,
        "spec": Spec(**spec).to_json(),
        "components": {
            "dataset": {n: component(num_classes=10) for n in ("digits", "letters")},
            "architecture": {n: component() for n in ("vgg", "net", "res")},
            "attack": {
                "finetune_a": component(2, access="weights", same_architecture=True),
                "extract_l": component(access="labels"),
                "transfer": component(target="transfer", same_architecture=True),
                "tuned": component(starts_from="transfer"),
            },
            "method": {
                "sac": component(3, params={"samples": 100}, budget="samples", reported=reported, any_label_space=True),
                "mark": component(watermark=True, reported_accuracy=[
                    ReportedAccuracy("digits", "vgg", "source", "digits", "vgg", 0.833),
                    ReportedAccuracy("digits", "vgg", "source", "digits", "vgg", 0.873, plain=True),
                    ReportedAccuracy("digits", "vgg", "irrelevant", "digits", "net", 0.878),
                    ReportedAccuracy("digits", "vgg", "irrelevant", "letters", "", 0.77),
                    ReportedAccuracy("digits", "vgg", "extract_l", "digits", "res", 0.785),
                ]),
                "noise": component(baseline=True),
            },
        },
        "libraries": {"torch": "2.13.0"},
        "hardware": {"cpu": "abacus", "cores": 2},
        "git_commit": "0" * 40,
        "command": "bench run",
        "date": "2026-11-25",
    }  # fmt: skip


VERSIONS = {"sac": 3, "mark": 1, "noise": 1, "finetune_a": 2, "extract_l": 1, "transfer": 1}


def line(method="sac", attack="", architecture="net", replicate=0, score=0.0, **more):
    """Make a row: of an irrelevant model where no attack is named."""
    known = dict.fromkeys(COLUMNS) | {
        "dataset": "digits", "source_architecture": "vgg", "source_seed": 0, "method": method, "draw": 0,
        "method_version": VERSIONS[method], "suspect_kind": "stolen" if attack else "irrelevant", "attack": attack,
        "attack_version": VERSIONS[attack] if attack else None, "variant": "", "suspect_dataset": "digits",
        "suspect_architecture": architecture, "replicate": replicate, "status": "done", "score": score, "queries": 100,
        "access": "logits", "source_accuracy": 0.8 if method == "mark" else 0.9, "suspect_accuracy": 0.85,
        "agreement": 0.9, "fingerprint_seconds": 1.5, "fingerprint_networks": 0, "seconds": 0.01, "note": "",
        "error": "",
    } | more  # fmt: skip
    if known["status"] != "done":
        known |= dict.fromkeys(("score", "queries", "agreement", "seconds")) | {"access": ""}
    what = [known[c] for c in ("source_seed", "method", "budget", "draw", "attack", "suspect_dataset",
                               "suspect_architecture", "replicate")]  # fmt: skip
    known["key"] = "" if known["status"] == "not_applicable" else digest([str(w) for w in what])
    return known


def trials(seeds=(0,), **by_method):
    """Make the rows of a whole run. Scores of sac: extract_l 5 of 6 pairs per architecture, transfer perfect."""
    rows = []
    for seed in seeds:
        for method in ("sac", "mark", "noise"):
            one = {"source_seed": seed, "method": method}
            for architecture, low in (("net", 0.0), ("res", 0.1), ("vgg", 0.7)):
                rows += [line(architecture=architecture, replicate=r, score=low + r / 100, **one) for r in range(3)]
            if method == "sac":
                rows += [line(architecture=a, replicate=r, suspect_dataset="letters", score=2.0 + r, **one)
                         for a in ("net", "vgg") for r in range(2)]  # fmt: skip
            rows += [line(attack="finetune_a", architecture="vgg", replicate=r, score=1.0, **one) for r in range(2)]
            rows += [line(attack="extract_l", architecture=a, replicate=r, score=0.5 + r, **one)
                     for a in ("net", "res") for r in range(3)]  # fmt: skip
            stranger = {} if method == "sac" else {"status": "not_applicable", "note": f"{method} compares labels"}
            rows += [line(attack="transfer", architecture="vgg", replicate=r, suspect_dataset="letters", score=4.0,
                          **one, **stranger) for r in range(2)]  # fmt: skip
    return rows


def table(folder, name="table.csv"):
    return list(csv.DictReader(io.StringIO((folder / name).read_text())))


def cell(folder, method, attack):
    return next(r for r in table(folder) if (r["method"], r["attack"]) == (method, attack) and r["status"] != "mean")


# --- from a trial to a row ----------------------------------------------------------------------------------------


def outcome(status="done", **more):
    return Outcome("0" * 64, status, **more)


def trial(**more):
    known = {
        "dataset": "digits", "source_architecture": "vgg", "source_seed": 0, "method": "sac", "method_version": 3,
        "budget": None, "suspect_kind": "stolen", "attack": "extract_l", "attack_version": 1, "variant": "ratio=0.3",
        "suspect_dataset": "digits", "suspect_architecture": "net", "replicate": 1, "score": "ab" * 32,
    }  # fmt: skip
    return Trial(**(known | more))


def test_a_done_trial_becomes_a_row_of_the_facts_of_its_tasks():
    made = row(
        trial(),
        outcome(seconds=0.5, facts={"score": -0.25, "queries": 100, "access": "logits", "agreement": 0.75}),
        outcome(facts={"accuracy": 0.875}),
        outcome(facts={"accuracy": 0.8125, "queries": 640, "notes": {"restarted": 1}}),
        outcome(seconds=2.0, facts={"notes": {"k": 0.1, "converged": 0.97}}),
        [outcome(seconds=30.0), outcome(seconds=20.0)],
    )
    assert tuple(made) == COLUMNS
    assert made["status"] == "done"
    assert (made["score"], made["queries"], made["access"], made["agreement"]) == (-0.25, 100, "logits", 0.75)
    assert (made["source_accuracy"], made["suspect_accuracy"], made["source_queries"]) == (0.875, 0.8125, 640)
    assert (made["fingerprint_seconds"], made["fingerprint_networks"], made["seconds"]) == (52.0, 2, 0.5)
    assert made["note"] == "converged=0.97;k=0.1;suspect.restarted=1"
    assert made["error"] == ""


def test_the_facts_of_a_score_tell_the_cost_of_its_fingerprint_where_that_is_no_longer_at_hand():
    facts = {"score": 1.0, "queries": 1, "access": "labels", "agreement": None, "fingerprint_seconds": 7.25,
             "fingerprint_networks": 16, "notes": {"converged": 1}}  # fmt: skip
    made = row(trial(), outcome(facts=facts), None, None)
    assert (made["fingerprint_seconds"], made["fingerprint_networks"]) == (7.25, 16)
    assert made["note"] == "converged=1"
    assert made["agreement"] is None


def test_an_irrelevant_model_asked_its_source_nothing():
    made = row(
        trial(suspect_kind="irrelevant", attack="", attack_version=None), None, None, outcome(facts={"queries": 0})
    )
    assert made["source_queries"] is None


def test_a_trial_without_a_score_says_why():
    reason = row(trial(reason="sac compares labels", score=""), None, None, None)
    assert (reason["status"], reason["note"], reason["error"]) == ("not_applicable", "sac compares labels", "")
    assert row(trial(), None, None, None)["status"] == "not_run"
    key = "0123456789abcdef" * 4
    failed = row(
        trial(), outcome("failed", error=f"no such key {key}\nmore", root="score sac", seconds=3.0), None, None
    )
    assert (failed["status"], failed["error"], failed["seconds"]) == ("failed", "score sac: no such key (key)", None)
    blocked = row(trial(), outcome("blocked", error="out of memory", root="steal extract_l vgg 0"), None, None)
    assert (blocked["status"], blocked["error"]) == ("blocked", "steal extract_l vgg 0: out of memory")


# --- writing and reading ------------------------------------------------------------------------------------------


def contents(folder):
    """Return the bytes of every file of a results folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def latex_of(folder):
    """Return the LaTeX of all tables."""
    return "\n".join(p.read_text() for p in sorted((folder / "tex").iterdir()))


def test_the_same_rows_give_the_same_bytes(tmp_path, charts):
    folders = [tmp_path / name / "results" for name in ("cold", "warm")]
    for folder in folders:
        charts.clear()
        write(folder, trials((0, 1)), benchmark(seeds=(0, 1)))
    first, second = map(contents, folders)
    assert first == second
    assert {name for name in first if not name.startswith("tex/")} == {
        *("trials.csv", "run.json", "table.md", "table.csv", "table.txt", "accuracy.md", "accuracy.csv"),
        *("references.bib", "index.html", ".report"),
    }
    before = (folders[0] / "table.txt").read_text()
    charts.clear()
    assert render(folders[0]) == before
    assert contents(folders[0]) == first


def test_a_score_is_read_as_it_was_computed(tmp_path):
    rows = trials()
    values = [0.1 + 0.2, 1 / 3, -1e-17, 5e-324, 0.30000000000000004]
    for made, value in zip(rows, values, strict=False):
        made["score"] = value
    write(tmp_path, rows, benchmark())
    frame, run = load(tmp_path)
    assert frame.score.tolist()[: len(values)] == values
    assert frame.columns.tolist() == list(COLUMNS)
    digest = hashlib.sha256((tmp_path / "trials.csv").read_bytes()).hexdigest()
    assert run == benchmark() | {"trials_sha256": digest, "edited": False}


def test_text_of_plugins_becomes_neither_a_formula_nor_a_command_nor_markup(tmp_path):
    hostile = ["=HYPERLINK(1)", "+1", "-2+3", "@SUM(A1)", "\x1b[2Jgone", "a\nb\tc\x00d", "\u202eevil", "x" * 5000]
    rows = trials()
    for made, text in zip(rows, hostile, strict=False):
        made["note"] = text
    lost = next(r for r in rows if r["attack"] == "extract_l")
    lost |= dict.fromkeys(("score", "queries", "agreement", "seconds"))
    lost |= {"access": "", "status": "failed", "error": "steal: | <b>$x_1$</b> \\input{a} `c` [d](e) % & ~"}
    write(tmp_path, rows, benchmark())
    frame, _ = load(tmp_path)
    assert frame.note.tolist()[:4] == ["'=HYPERLINK(1)", "'+1", "'-2+3", "'@SUM(A1)"]
    assert frame.note.tolist()[4:7] == ["[2Jgone", "a b c d", "evil"]
    assert len(frame.note[7]) == 500
    shown = (tmp_path / "table.md").read_text()
    assert r"steal: \| \<b\>\$x_1\$\</b\> \\input{a} \`c\` [d]\(e) % \& \~" in shown
    assert r"steal: \textbar{} \textless{}b\textgreater{}\$x\_1\$" in latex_of(tmp_path)
    assert r"\textbackslash{}input\{a\}" in latex_of(tmp_path)
    assert cell(tmp_path, "sac", "extract_l")["error"].startswith("steal: |")


def test_a_hostile_name_breaks_no_table(tmp_path):
    name = "a|b<i>_&%"
    run, rows = benchmark(), trials()
    run["spec"]["methods"] = [name, "mark"]
    run["components"]["method"][name] = run["components"]["method"]["sac"]
    for made in rows:
        made["method"] = made["method"].replace("sac", name)
    write(tmp_path, rows, run)
    lines = [n for n in (tmp_path / "table.md").read_text().splitlines() if n.startswith("|")]
    widths = {n.replace("\\|", "").count("|") for n in lines[:6]}
    assert widths == {6}
    assert r"a\|b\<i\>\_\&%" in lines[2]
    assert r"a\textbar{}b\textless{}i\textgreater{}\_\&\%" in latex_of(tmp_path)


def damage(folder, change, name="trials.csv"):
    """Rewrite a file of a good folder, and give the message that reading it ends with."""
    save(folder, trials(), benchmark())
    path = folder / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(BenchError) as caught:
        render(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def replaced(old, new, times=1):
    def change(content):
        assert old.encode() in content
        return content.replace(old.encode(), new.encode(), times)

    return change


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("suspect_accuracy,agreement", "suspect_accuracy,agreed", "it lacks the column agreement"),
        ("note,error,origin\n", "note,error,origin,extra\n", "it has columns that bench does not know: extra"),
        (",done,0.0,", ",done,nan,", "line 2: score is 'nan', which is no finite number"),
        (",done,0.0,", ",done,1e999,", "line 2: score is '1e999', which is no finite number"),
        (",done,0.0,", ",done,high,", "line 2: score is 'high', which is no number"),
        (",done,0.0,", ",done,,", "line 2 is done but has no score"),
        (",done,0.0,", ",fine,0.0,", "line 2: status is 'fine', not one of done, failed"),
        (",done,0.0,", ",failed,0.0,", "line 2 has a score but is not done"),
        (",0.85,", ",1.85,", "line 2: suspect_accuracy is '1.85', which is not within 0 and 1"),
        (",net,1,", ",net,0,", "line 3 repeats a trial"),
        (",net,1,", ",net,1.5,", "line 3: replicate is '1.5', which is no count"),
        ("digits,vgg,0,sac,3,", "digits,vgg,0,sac,2,", "it mixes versions 2 and 3 of the method 'sac'"),
        ("digits,vgg,0,sac,3,", "digits,vgg,0,sac,,", "line 2: method_version is empty"),
        ("stolen,finetune_a,2,", "stolen,finetune_a,1,", "it mixes versions 1 and 2 of the attack 'finetune_a'"),
        ("stolen,finetune_a,2,", "stolen,,2,", "is stolen but names no attack"),
        ("digits,vgg,0,sac,3,", "digits,vgg,0,sac\x1b[2J,3,", "line 2: method holds control characters"),
        ("digits,vgg,0,sac,3,", "digits,vgg,0,sac,3,3,", "line 2 has 33 values instead of 32"),
        ("digits,vgg,0,sac,3,", '"digits,vgg,0,sac,3,', "is no CSV file"),
        ("digits,vgg,0,sac,3,", f"{'x' * 3000},vgg,0,sac,3,", "line 2: dataset has 3000 characters"),
        ("digits,vgg,0,sac,3,", "else,vgg,0,sac,3,", "rows of the dataset 'else', which run.json beside it does"),
    ],
)  # fmt: skip
def test_a_damaged_table_of_trials_is_refused_in_one_line_that_names_the_way_out(tmp_path, old, new, message):
    told = damage(tmp_path, replaced(old, new))
    assert message in told
    assert f"bench run --spec {tmp_path / 'run.json'}" in told


def test_versions_other_than_those_of_the_run_are_refused(tmp_path):
    assert "has version 3 of the method 'sac', run.json beside it 4" in damage_run(tmp_path, "method", "sac", 4)
    assert "has version 2 of the attack 'finetune_a', run.json beside it 1" in damage_run(
        tmp_path, "attack", "finetune_a", 1
    )


def damage_run(folder, kind, name, version):
    save(folder, trials(), benchmark())
    run = benchmark()
    run["components"][kind][name]["version"] = version
    (folder / "run.json").write_text(json.dumps(run))
    with pytest.raises(BenchError) as caught:
        load(folder)
    return str(caught.value)


def test_a_file_without_rows_or_with_bytes_that_are_no_text_is_refused(tmp_path):
    assert "it has no rows" in damage(tmp_path, lambda content: content.split(b"\n")[0] + b"\n")
    assert "it lacks the columns dataset," in damage(tmp_path, lambda content: b"")
    assert "is no UTF-8 text (byte 3)" in damage(tmp_path, lambda content: b"abc\xff" + content)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": 3', '"format": 4', "it is not of format 1, 2 or 3"),
        ('"format": 3', '"format": NaN', "NaN is no number"),
        ('"format": 3', '"format": 1,,', "Expecting"),
        ('"components"', '"parts"', "missing required field `components`"),
        ('"preset"', '"scale"', "unknown field 'scale'"),
        ('"sac": {', '"sad": {', "it does not describe the method 'sac'"),
        ('"auc": 1.0', '"auc": 1.5', "its method 'sac': Expected `float` <= 1.0"),
        ('"auc": 1.0', '"area": 1.0', "is no run.json that bench wrote"),
        ('"version": 3', '"version": "3"', "its method 'sac': Expected `int`, got `str`"),
    ],
)
def test_a_damaged_description_of_the_run_is_refused(tmp_path, old, new, message):
    told = damage(tmp_path, replaced(old, new), "run.json")
    assert message in told
    assert "bench run --out" in told


def test_a_missing_file_is_told_in_one_line(tmp_path):
    with pytest.raises(BenchError, match=r"run\.json is missing: .* holds no results"):
        render(tmp_path)


# --- what the tables say ------------------------------------------------------------------------------------------


def test_the_auc_of_a_cell_is_that_of_its_pairs(tmp_path):
    write(tmp_path, trials(), benchmark())
    found = cell(tmp_path, "sac", "extract_l")
    # of 6 x 9 pairs, those of the two suspects at 0.5 with the three innocents of the source's architecture are lost
    assert float(found["auc"]) == pytest.approx(1 - 6 / 54)
    assert (found["stolen"], found["irrelevant"], found["sources"]) == ("6", "9", "1")
    assert float(found["low"]) < float(found["auc"]) < float(found["high"])
    assert float(found["same_architecture_auc"]) == 1.0
    assert (found["same_architecture_stolen"], found["same_architecture_irrelevant"]) == ("6", "6")
    # the source's architecture is not among the suspects': without its negatives nothing is lost
    assert float(found["suspects_only_auc"]) == 1.0
    assert found["suspects_only_irrelevant"] == "6"
    shown = (tmp_path / "table.txt").read_text()
    assert "6 / 9" in shown
    assert "0.89 / 1.00 / 1.00" in (tmp_path / "table.md").read_text()


def test_negatives_are_the_innocents_of_the_dataset_an_attack_lands_on(tmp_path):
    write(tmp_path, trials(), benchmark())
    found = cell(tmp_path, "sac", "transfer")
    assert (found["auc"], found["irrelevant"], found["suspect_dataset"]) == ("1.0", "4", "letters")
    rows = trials()
    for made in rows:
        if made["suspect_dataset"] == "letters" and made["suspect_kind"] == "irrelevant":
            made["score"] = 9.0
    write(tmp_path, rows, benchmark())
    assert cell(tmp_path, "sac", "transfer")["auc"] == "0.0"
    assert float(cell(tmp_path, "sac", "extract_l")["auc"]) == pytest.approx(1 - 6 / 54)


def test_an_attack_lands_where_the_one_it_starts_from_does(tmp_path):
    rows = trials()
    for made in rows:
        made["attack"] = made["attack"].replace("transfer", "tuned")
    write(tmp_path, rows, benchmark(attacks=("finetune_a", "extract_l", "tuned")))
    means = [r for r in table(tmp_path) if r["status"] == "mean" and r["method"] == "sac"]
    assert float(means[0]["auc"]) == pytest.approx((1 + 48 / 54) / 2)


def test_sources_are_never_pooled(tmp_path):
    rows = trials((0, 1))
    for made in rows:
        if made["source_seed"] == 1:
            made["score"] = None if made["score"] is None else made["score"] + 100
    write(tmp_path, rows, benchmark(seeds=(0, 1)))
    found = cell(tmp_path, "sac", "extract_l")
    assert float(found["auc"]) == pytest.approx(48 / 54)
    assert (found["stolen"], found["irrelevant"], found["sources"]) == ("12", "9", "2")
    for made in rows:
        if made["source_seed"] == 1 and made["attack"] == "extract_l":
            made["score"] = 1000.0
    write(tmp_path, rows, benchmark(seeds=(0, 1)))
    found = cell(tmp_path, "sac", "extract_l")
    assert float(found["auc"]) == pytest.approx((48 / 54 + 1) / 2)
    assert (float(found["auc_least"]), float(found["auc_most"])) == pytest.approx((48 / 54, 1.0))
    assert "0.89 to 1.00" in (tmp_path / "table.txt").read_text()


def test_a_source_is_held_against_the_innocents_that_have_a_score(tmp_path):
    rows = trials((0, 1))
    lost = next(r for r in rows if r["source_seed"] == 1 and r["suspect_architecture"] == "vgg" and not r["attack"])
    lost |= {"status": "failed", "score": None, "error": "score sac: no"}
    write(tmp_path, rows, benchmark(seeds=(0, 1)))
    found = cell(tmp_path, "sac", "extract_l")
    assert (found["irrelevant"], found["irrelevant_planned"], found["status"]) == ("9", "9", "incomplete")
    # of 6 x 8 pairs of the second source, those of two suspects with the two that are left of vgg are lost
    assert float(found["auc_most"]) == pytest.approx(1 - 4 / 48)


def test_an_inapplicable_cell_is_a_dash_with_its_reason_below(tmp_path):
    text = write(tmp_path, trials(), benchmark())
    assert "–: not applicable: mark, noise (transfer): compares labels." in text
    found = cell(tmp_path, "mark", "transfer")
    assert (found["status"], found["reason"], found["auc"]) == ("not_applicable", "mark compares labels", "")
    line = next(n for n in (tmp_path / "table.md").read_text().splitlines() if n.startswith("| mark"))
    assert line.split("|")[4].strip() == "–"


def test_an_incomplete_cell_is_marked_and_explained(tmp_path):
    rows = trials()
    first, second = [r for r in rows if r["method"] == "sac" and r["attack"] == "extract_l"][:2]
    gone = dict.fromkeys(("score", "queries", "agreement", "seconds")) | {"access": ""}
    first |= gone | {"status": "blocked", "error": "steal extract_l net 0: out of memory"}
    second |= gone | {"status": "not_run"}
    text = write(tmp_path, rows, benchmark())
    found = cell(tmp_path, "sac", "extract_l")
    assert (found["status"], found["stolen"], found["stolen_planned"]) == ("incomplete", "4", "6")
    assert (found["failed"], found["blocked"], found["not_run"]) == ("0", "1", "1")
    assert "*: steal extract_l net 0: out of memory" in text
    joined = " ".join(text.split())
    assert "sac: extract_l from 4 of 6 stolen, 9 of 9 irrelevant models (1 blocked, 1 not_run)." in joined
    sac = next(n for n in (tmp_path / "table.md").read_text().splitlines() if n.startswith("| sac"))
    assert r"0.89\*" not in sac
    assert r"0.92\*" in sac  # of the four left over, one lost its pairs
    assert r"\*" in sac.split("|")[5]  # and so is the mean


def test_a_cell_without_irrelevant_models_says_so(tmp_path):
    rows = [r for r in trials() if r["attack"] or r["method"] != "sac"]
    text = " ".join(write(tmp_path, rows, benchmark()).split())
    assert "sac: finetune_a has no figure (no irrelevant models); extract_l has no figure" in text
    page = (tmp_path / "index.html").read_text()
    assert "<b>no irrelevant models</b>" in page and "no rows" not in page


def test_the_mean_is_blank_where_one_of_its_attacks_is_missing(tmp_path):
    rows = trials()
    for made in rows:
        if made["method"] == "sac" and made["attack"] == "extract_l":
            made |= {"status": "failed", "score": None, "error": "score sac: broken"}
    write(tmp_path, rows, benchmark())
    means = {r["method"]: r["auc"] for r in table(tmp_path) if r["status"] == "mean"}
    assert means["sac"] == ""
    # not applicable on the attack that lands elsewhere, which has no part in the mean
    assert float(means["mark"]) == pytest.approx((1 + 48 / 54) / 2)
    sac = next(n for n in (tmp_path / "table.md").read_text().splitlines() if n.startswith("| sac"))
    assert [c.strip() for c in sac.split("|")[3:6:2]] == [r"\*<br>paper 0.95", ""]


def test_baselines_stand_below_a_line_in_every_format(tmp_path):
    write(tmp_path, trials(), benchmark())
    shown = (tmp_path / "table.md").read_text().splitlines()
    first = [n.split("|")[1].strip() for n in shown if n.startswith("|")][2:6]
    assert first == ["sac", "mark", "*baselines*", "noise"]
    for text in ((tmp_path / "table.txt").read_text(), check(tmp_path)):
        plain = text.splitlines()
        at = next(n for n, line in enumerate(plain) if line.startswith("noise"))
        assert set(plain[at - 1]) == {"-", " "}
        at = next(n for n, line in enumerate(plain) if line.startswith("mark"))
        assert not plain[at - 1]
    (file,) = (tmp_path / "tex").glob("*-auc.tex")
    latex = file.read_text().splitlines()
    at = next(n for n, line in enumerate(latex) if line.startswith("noise"))
    assert latex[at - 1] == r"\midrule"


def test_a_wide_table_is_cut_on_a_terminal_and_nowhere_else(tmp_path):
    names = [f"extract_with_a_long_name_{n}" for n in range(9)]
    run, rows = benchmark(attacks=tuple(names)), []
    for n, name in enumerate(names):
        run["components"]["attack"][name] = component()
        for made in trials():
            if made["attack"] == "extract_l":
                rows.append(made | {"attack": name, "key": digest([made["key"], n])})
    rows += [r for r in trials() if not r["attack"]]
    text = write(tmp_path, rows, run)
    assert max(map(len, text.splitlines())) <= 100
    assert text.count("\nmethod  ") == 4 + 1  # AUCs, costs
    assert (tmp_path / "table.md").read_text().count("| method ") == 4  # against the baselines and other negatives, too


def test_each_part_of_a_table_that_is_too_wide_for_a_page_has_the_names_of_its_rows(tmp_path):
    names = [f"extract_with_a_name_that_is_as_long_as_this_{n}" for n in range(3)]
    run, rows = benchmark(attacks=tuple(names), budgets=(25, 100)), []
    for n, name in enumerate(names):
        run["components"]["attack"][name] = component()
        stolen = [r for r in trials() if r["attack"] == "extract_l"]
        rows += [r | {"attack": name, "key": digest([r["key"], n])} for r in stolen]
    rows += [r for r in trials() if not r["attack"]]
    rows += [r | {"budget": 25, "key": digest([r["key"], 25])} for r in rows if r["method"] == "sac"]
    write(tmp_path, rows, run)
    budgets, accuracy = ((tmp_path / "tex" / f"digits-vgg-{name}.tex").read_text() for name in ("budgets", "accuracy"))
    parts = budgets.count(r"\begin{table}")
    found = [line.split(" & ")[1].strip() for line in budgets.splitlines() if line.startswith("sac ")]
    assert parts > 1 and found == ["25", "100 (default)"] * parts
    assert accuracy.count(r"\begin{table}") == 1
    assert r"source & model" in re.sub(" +", " ", accuracy) and "accuracy & n & paper" in re.sub(" +", " ", accuracy)


def test_only_the_default_budget_stands_in_the_tables(tmp_path):
    rows = trials()
    for made in [r for r in rows if r["method"] == "sac"]:
        rows.append(made | {"budget": 25, "score": made["score"] and -made["score"], "key": digest(made["key"])})
    write(tmp_path, rows, benchmark(budgets=(25, 100)))
    with_budgets = {n: (tmp_path / n).read_bytes() for n in ("table.csv", "accuracy.csv")}
    write(tmp_path, trials(), benchmark(budgets=(25, 100)))
    assert {n: (tmp_path / n).read_bytes() for n in with_budgets} == with_budgets


def test_a_watermarks_networks_of_another_budget_are_not_in_the_accuracies(tmp_path):
    run = benchmark(budgets=(25, 100))
    run["components"]["method"]["mark"] |= {"params": {"samples": 100}}
    run["components"]["method"]["mark"]["attributes"]["budget"] = "samples"
    usual = [r | {"suspect_digest": digest(r["key"])} if r["method"] == "mark" and r["key"] else r for r in trials()]
    others = [
        r | {"budget": 25, "key": digest([r["key"], 25]), "source_accuracy": 0.5, "suspect_accuracy": 0.4}
        | {"suspect_digest": digest([r["suspect_digest"], 25])}
        for r in usual if r["method"] == "mark" and r["attack"] and r["key"]
    ]  # fmt: skip
    write(tmp_path, usual, run)
    before = (tmp_path / "accuracy.csv").read_bytes()
    write(tmp_path, [*others, *usual], run)
    assert "mark,25," in (tmp_path / "budgets.csv").read_text()
    assert (tmp_path / "accuracy.csv").read_bytes() == before


def test_a_default_budget_that_the_preset_sets_is_the_default(tmp_path):
    rows = [r | {"budget": 100 if r["method"] == "sac" else None} for r in trials()]
    run = benchmark(budgets=(25, 100), recipe=Recipe(budget=100))
    write(tmp_path, rows, run)
    assert float(cell(tmp_path, "sac", "extract_l")["auc"]) == pytest.approx(48 / 54)


def test_the_caption_names_what_the_numbers_depend_on(tmp_path):
    run = benchmark(split_seed=7, settings={"prune": {"ratios": [0.1]}})
    text = " ".join(write(tmp_path, trials(), run).split())
    for part in ("Preset quick", "images all", "epochs 7", "precision fp32", "lr 0.1", "weight_decay 0.0005",
                 "split seed 7", "cpu abacus", "torch 2.13.0", "2026-11-25", "prune.ratios=[0.1]"):  # fmt: skip
        assert part in text


def test_a_watermarks_price_and_the_cost_of_fingerprints_are_told(tmp_path):
    rows = trials()
    for made in rows:
        if made["method"] == "sac":
            made |= {"fingerprint_networks": 16, "fingerprint_seconds": 1234.5, "note": "converged=0.5;suspect.x=1"}
    text = write(tmp_path, rows, benchmark())
    shown = {n.split()[0]: n for n in text.split(": cost")[1].splitlines() if n and n.split()[0] in VERSIONS}
    assert shown["mark"].split() == ["mark", "80.0", "10.0", "logits", "100", "0.01", "1.5", "0"]
    assert shown["sac"].split()[:6] == ["sac", "90.0", "logits", "100", "0.01", "1234"]
    assert shown["sac"].endswith(" 16")
    assert "- notes of sac: converged 0.5." in text
    assert "- networks of sac: the suspects’ architectures in turn." in text
    assert "suspect.x" not in text


ACCUSED = "dataset,source_architecture,method,accuser,asks,share,low,high,reason\n"


def test_shares_of_accused_innocents_stand_with_the_costs(tmp_path):
    write(tmp_path, trials(), benchmark())
    plain = (tmp_path / "table.txt").read_text()
    where = trials()[0]["dataset"], trials()[0]["source_architecture"]
    rows = [
        (*where, "sac", "honest", "logits", 0.0625, 0, 0.3, ""),
        (*where, "sac", "tuned", "logits", 0.95, 0.75, 1, ""),
        (*where, "sac", "regenerated", "logits", 0.125, 0.02, 0.38, ""),
        (*where, "mark", "", "", "", "", "", "it holds no images"),
        ("another", "net", "sac", "tuned", "logits", 0.5, 0.25, 1, ""),
    ]
    (tmp_path / "accusations.csv").write_text(ACCUSED + "".join(",".join(map(str, row)) + "\n" for row in rows))
    text = update(tmp_path)
    cost = text.split(": cost")[1]
    assert "accused" in cost and "if judged" in cost and "[0.75, 1.00]" in cost and "[0.02, 0.38]" in cost
    shown = {n.split()[0]: n.split() for n in cost.splitlines() if n and n.split()[0] in VERSIONS}
    assert shown["sac"][-2:] == ["0.95", "0.12"] and shown["mark"][-2:] == ["–", "–"]
    (tmp_path / "accusations.csv").unlink()
    assert update(tmp_path) == plain and "accused" not in plain


@pytest.mark.parametrize(
    "line",
    ["tuned,logits,much,0,1,", "tuned,logits,2,0,1,", "thief,logits,0,0,1,", "tuned,logits,nan,0,1,", "tuned", '"a'],
)
def test_a_damaged_table_of_accusations_is_one_line(tmp_path, line):
    write(tmp_path, trials(), benchmark())
    (tmp_path / "accusations.csv").write_text(f"{ACCUSED}d,a,sac,{line}\n")
    with pytest.raises(BenchError, match=r"accusations.csv: line [12]: .*benchmarks.accusations") as error:
        update(tmp_path)
    assert "\n" not in str(error.value)


# --- against the baselines, and rates --------------------------------------------------------------------------------


SEEDS = tuple(range(6))


def better(irrelevant=20, stolen=20, seeds=SEEDS):
    """Make a method that is perfect, one that is chance (as the baseline is), and a watermark that is perfect."""
    rows = []
    for seed, (method, gap) in itertools.product(seeds, (("sac", 100), ("mark", 100), ("noise", 0))):
        one = {"method": method, "source_seed": seed}
        for n in range(irrelevant):
            rows.append(line(architecture=("net", "res")[n % 2], replicate=n // 2, score=float(n * 7 % 20), **one))
        for n in range(stolen):
            score = gap + float(n * 3 % 20)
            rows.append(line(attack="extract_l", architecture=("net", "res")[n % 2], replicate=n // 2, score=score,
                             **one))  # fmt: skip
    return rows


def baselines_of(folder, method="sac", attack="extract_l"):
    return {n: v for n, v in cell(folder, method, attack).items() if "baseline" in n and n != "baseline"}


def one_attack(**changes):
    return benchmark(**{"attacks": ("extract_l",), "seeds": SEEDS} | changes)


def test_cells_that_beat_every_baseline_are_marked_and_the_tests_counted(tmp_path):
    text = write(tmp_path, better(), one_attack())
    found = baselines_of(tmp_path)
    assert (found["beats_baselines"], found["hardest_baseline"], found["baseline_tests"]) == ("1", "noise", "2")
    assert (found["baseline_paired"], baselines_of(tmp_path, "mark")["baseline_paired"]) == ("1", "0")
    assert float(found["baseline_difference"]) == pytest.approx(1 - float(cell(tmp_path, "noise", "extract_l")["auc"]))
    assert float(found["baseline_p"]) == pytest.approx(1 / 2**6)  # all six differences have one sign
    assert float(found["baseline_p_adjusted"]) == pytest.approx(1 / 2**6)  # tested together: both flip with a source
    assert set(baselines_of(tmp_path, "noise").values()) == {""}
    assert "1.00†" in text
    joined = " ".join(text.split())
    assert "better than every baseline that can judge there (noise), p ≤ 0.05" in joined
    assert "for all 2 tests of this table together, of the differences by source; 2 of the 2 cells are." in joined
    assert r"1.00$\dagger$" in latex_of(tmp_path)


@pytest.mark.parametrize(("sources", "are"), [(1, "here is 1"), (4, "here are 4")])
def test_fewer_than_five_sources_are_not_tested_and_the_note_says_why(tmp_path, sources, are):
    seeds = tuple(range(sources))
    text = write(tmp_path, better(seeds=seeds), one_attack(seeds=seeds))
    found = baselines_of(tmp_path)
    assert (found["beats_baselines"], found["baseline_p"], found["baseline_p_adjusted"]) == ("0", "", "")
    assert float(found["baseline_difference"]) > 0.4
    assert "†" not in text.split("Each AUC")[0]
    assert f"tested over sources, at least 5; {are}" in " ".join(text.split())
    assert "p " not in (tmp_path / "table.md").read_text().split("against the baselines")[1].split("AUC minus")[0]


def test_cells_with_too_few_sources_are_named_where_others_are_tested(tmp_path):
    rows = better()
    for made in rows:
        if made["method"] == "sac" and made["source_seed"] > 3:
            made |= {"status": "failed", "score": None, "error": "score sac: no"}
    text = " ".join(write(tmp_path, rows, one_attack()).split())
    assert "for all 1 test of this table together, of the differences by source; 1 of the 1 cell is." in text
    assert "Not tested, since that needs 5 sources: sac (extract_l)." in text
    assert "Not tested" not in write(tmp_path, better(), one_attack())


def test_a_method_that_is_no_better_than_a_baseline_is_not_marked(tmp_path):
    rows = trials(SEEDS)
    for made in rows:
        if made["method"] == "noise" and made["attack"] and made["status"] == "done":
            made["score"] = 1.0
    text = write(tmp_path, rows, benchmark(seeds=SEEDS))
    assert baselines_of(tmp_path)["beats_baselines"] == "0"
    assert "†" not in text.split("Each AUC")[0]
    assert "none of the 4 cells is." in " ".join(text.split())


def test_a_cell_is_not_tested_where_no_baseline_can_judge(tmp_path):
    text = write(tmp_path, trials(), benchmark())
    assert set(baselines_of(tmp_path, "sac", "transfer").values()) == {""}
    joined = " ".join(text.split())
    assert "Not compared, since no baseline can judge there or one has no score: sac (transfer)." in joined
    assert "not compared" in (tmp_path / "table.md").read_text()


def test_a_cell_is_not_tested_against_a_baseline_that_has_no_score(tmp_path):
    rows = better()
    for made in rows:
        if made["method"] == "noise" and made["attack"]:
            made |= {"status": "failed", "score": None, "error": "score noise: no"}
    write(tmp_path, rows, one_attack())
    assert set(baselines_of(tmp_path).values()) == {""}


def without_source(rows, method, seed=5):
    """Let a method fail at one source."""
    gone = {"status": "failed", "score": None, "error": f"score {method}: no"}
    return [r | gone if (r["method"], r["source_seed"]) == (method, seed) else r for r in rows]


def shown_of(folder, method):
    """Return the row of a method in each table, by subject, and the text of the table."""
    parts = re.split(r"^#+ digits, source vgg: ", (folder / "table.md").read_text(), flags=re.MULTILINE)[1:]
    tables = [part.split("\n", 1) for part in parts]
    rows = [(s, row, text) for s, text in tables for row in text.splitlines() if row.startswith(f"| {method} ")]
    return {subject: (row, text) for subject, row, text in rows}


def test_every_table_marks_the_cells_of_a_method_that_failed_at_one_source(tmp_path):
    rows = without_source(better(irrelevant=40), "sac")
    for made in rows:
        made["variant"] = f"length={made['replicate'] % 2}" if made["attack"] else ""
    write(tmp_path, rows, one_attack())
    whole, tables = shown_of(tmp_path, "mark"), shown_of(tmp_path, "sac")
    rates = ("TPR at a fixed FPR", "false accusations")
    for subject in ("AUC", "against the baselines", *rates, "AUC against other negatives", "AUC by variant"):
        found, text = tables[subject]
        assert r"\*" in found and r"\*: incomplete" in text, subject
        assert r"\*" not in whole[subject][0], subject
    assert "1.00*" in check(tmp_path)


def test_false_accusations_are_complete_where_only_stolen_suspects_are_missing(tmp_path):
    rows = better(irrelevant=40)
    rows += [r | {"attack": "finetune_a", "attack_version": 2, "key": digest([r["key"]])} for r in rows if r["attack"]]
    lost = next(r for r in rows if r["method"] == "sac" and r["attack"] == "extract_l")
    lost |= {"status": "failed", "score": None, "error": "score sac: no"}
    write(tmp_path, rows, one_attack(attacks=("extract_l", "finetune_a")))
    tables = shown_of(tmp_path, "sac")
    assert r"\*" in tables["TPR at a fixed FPR"][0]
    assert r"\*" not in tables["false accusations"][0]


def test_a_comparison_with_a_baseline_that_failed_at_one_source_counts_the_others(tmp_path):
    write(tmp_path, without_source(better(), "noise"), one_attack())
    for method in ("sac", "mark"):
        found, _ = shown_of(tmp_path, method)["against the baselines"]
        assert "noise<br>(5 of 6 sources)<br>p " in found and r"\*" not in found
    write(tmp_path, better(), one_attack())
    assert "sources)" not in shown_of(tmp_path, "sac")["against the baselines"][0]


def test_methods_are_compared_on_the_suspects_that_both_judged(tmp_path):
    rows = better()
    gone = {"status": "failed", "score": None, "error": "score: no"}
    lost = [r for r in rows if r["method"] == "noise" and r["attack"] and r["score"] > 10]
    for made in lost:
        made |= gone
    lost = next(r for r in rows if r["method"] == "noise" and not r["attack"])
    lost |= gone
    write(tmp_path, rows, one_attack())
    assert float(baselines_of(tmp_path)["baseline_difference"]) == pytest.approx(
        1 - float(cell(tmp_path, "noise", "extract_l")["auc"])
    )


def test_without_baselines_nothing_is_said_of_them(tmp_path):
    text = write(tmp_path, [r for r in trials() if r["method"] != "noise"], benchmark(baselines=()))
    assert "baseline" not in text
    assert "baseline" not in (tmp_path / "table.md").read_text()


def test_rates_are_reported_with_exact_intervals_where_there_are_enough_models(tmp_path):
    write(tmp_path, better(irrelevant=40, seeds=(0,)), one_attack(seeds=(0,)))
    found = cell(tmp_path, "sac", "extract_l")
    assert (found["tpr_at_5"], found["tpr_at_5_needs"]) == ("1.0", "")
    assert (float(found["tpr_at_5_low"]), float(found["tpr_at_5_high"])) == pytest.approx((0.832, 1.0), abs=0.001)
    assert (found["tpr_at_1"], found["tpr_at_1_low"], found["tpr_at_1_needs"]) == ("", "", "100")
    assert (found["accused_at_5_of"], found["accused_at_5_needs"], found["accused_at_1_needs"]) == ("20", "", "198")
    assert 0 <= float(found["accused_at_5_low"]) <= float(found["accused_at_5"]) <= float(found["accused_at_5_high"])
    shown = (tmp_path / "table.md").read_text()
    assert "TPR at a fixed FPR" in shown and "5 %: 1.00 [0.83, 1.00]" in shown
    assert "false accusations" in shown and " of 20 |" in shown
    assert "interval (which takes sources and thresholds as given) and the number of models judged" in shown
    assert "n/r<br>needs ≥ 100" in shown and "needs ≥ 38" not in shown


def test_rates_that_need_more_models_are_not_reported(tmp_path):
    write(tmp_path, trials(), benchmark())
    found = cell(tmp_path, "sac", "extract_l")
    assert (found["tpr_at_5"], found["tpr_at_5_needs"], found["accused_at_5_needs"]) == ("", "20", "38")
    shown = (tmp_path / "table.md").read_text()
    assert "TPR at a fixed FPR" not in shown and "false accusations" not in shown
    assert "n/r<br>needs ≥ 20" in shown


def test_what_a_rate_needs_stands_beside_the_irrelevant_models_that_have_a_score(tmp_path):
    rows = better(seeds=(0, 1))
    for made in rows:  # the training of one of twenty failed
        where = made["attack"], made["source_seed"], made["suspect_architecture"], made["replicate"]
        if where == ("", 1, "net", 0):
            made |= {"status": "blocked", "score": None, "error": "train net: no"}
    write(tmp_path, rows, one_attack(seeds=(0, 1)))
    (found,) = [n for n in (tmp_path / "table.md").read_text().splitlines() if n.startswith("| digits ")]
    assert [c.strip() for c in found.split("|")[1:5]] == ["digits", "19", "n/r<br>needs ≥ 100", "n/r<br>needs ≥ 20"]


def test_all_methods_are_calibrated_on_the_same_half(tmp_path):
    rows = better(irrelevant=40, seeds=(0, 1))
    for made in rows:
        if made["method"] == "sac":  # another scale, the same order as the watermark's
            made["score"] = 3 * made["score"] - 50
    write(tmp_path, rows, one_attack(seeds=(0, 1)))
    rates = {n: [v for c, v in cell(tmp_path, n, "extract_l").items() if c.startswith("accused")] for n in VERSIONS
             if n in ("sac", "mark", "noise")}  # fmt: skip
    assert rates["sac"] == rates["mark"] == rates["noise"]


# --- query budgets ------------------------------------------------------------------------------------------------


def test_aucs_by_query_budget_stand_apart(tmp_path):
    rows = trials()
    for made in [r for r in rows if r["method"] == "sac"]:
        score = None if made["score"] is None else -made["score"]
        rows.append(made | {"budget": 25, "score": score, "key": digest(made["key"])})
    write(tmp_path, rows, benchmark(budgets=(25, 100)))
    found = [r for r in table(tmp_path, "budgets.csv") if r["attack"] == "extract_l"]
    assert [(r["method"], r["budget"], r["default"]) for r in found] == [("sac", "25", "0"), ("sac", "100", "1")]
    assert [float(r["auc"]) for r in found] == pytest.approx([6 / 54, 48 / 54])
    assert found[1]["low"] == cell(tmp_path, "sac", "extract_l")["low"]
    shown = (tmp_path / "table.md").read_text().split("AUC by query budget")[1]
    assert [n.split("|")[2].strip() for n in shown.splitlines() if n.startswith("| sac")] == ["25", "100 (default)"]


def test_a_budget_without_one_of_the_attacks_has_no_mean(tmp_path):
    """Merged results may have an attack with one of the budgets only."""
    rows = trials()
    rows += [r | {"budget": 25, "key": digest(r["key"])} for r in rows if r["method"] == "sac"
             and r["attack"] != "finetune_a"]  # fmt: skip
    write(tmp_path, rows, benchmark(budgets=(25, 100)))
    found = {(r["budget"], r["attack"]): r["status"] for r in table(tmp_path, "budgets.csv")}
    assert (found["25", "finetune_a"], found["100", "finetune_a"]) == ("incomplete", "complete")
    shown = (tmp_path / "table.md").read_text().split("AUC by query budget")[1].splitlines()
    assert shown[2].split("|")[-2].strip() == "mean of 2"
    assert [line.split("|")[-2].strip() for line in shown if line.startswith("| sac")] == ["", "0.94"]


def test_without_budgets_there_is_no_such_file(tmp_path):
    (tmp_path / "budgets.csv").write_text("of an older run")
    write(tmp_path, trials(), benchmark())
    assert not (tmp_path / "budgets.csv").exists()
    assert "query budget" not in (tmp_path / "table.md").read_text()


# --- the stamp -------------------------------------------------------------------------------------------------


def test_a_current_report_is_not_made_again(tmp_path):
    write(tmp_path, trials(), benchmark())
    before = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    text = write(tmp_path, trials(), benchmark())
    after = {p.name: p.stat().st_mtime_ns for p in tmp_path.iterdir()}
    assert text == (tmp_path / "table.txt").read_text()
    assert {n for n in after if after[n] != before[n]} == {"trials.csv", "run.json"}


@pytest.mark.parametrize("name", ["table.md", "table.csv", ".report"])
def test_a_report_that_was_changed_or_lost_is_made_again(tmp_path, name):
    write(tmp_path, trials(), benchmark())
    good = contents(tmp_path)
    (tmp_path / name).write_text("{}")
    write(tmp_path, trials(), benchmark())
    assert contents(tmp_path) == good
    (tmp_path / name).unlink()
    write(tmp_path, trials(), benchmark())
    assert contents(tmp_path) == good


def test_other_rows_or_another_run_make_another_report(tmp_path):
    write(tmp_path, trials(), benchmark())
    rows = [r | ({"score": 9.0} if r["attack"] and r["status"] == "done" else {}) for r in trials()]
    assert "6 / 9" in write(tmp_path, rows, benchmark())
    assert cell(tmp_path, "sac", "extract_l")["auc"] == "1.0"
    assert "abacus II" in write(tmp_path, rows, benchmark() | {"hardware": {"cpu": "abacus II"}})


WARM = """
import json, sys
from pathlib import Path
from bench.reporting.build import write
rows, run = json.loads(Path(sys.argv[1]).read_text())
write(Path(sys.argv[2]), rows, run)
print(sorted({"torch", "pandas", "scipy", "sklearn", "matplotlib", "tabulate", "jinja2"} & set(sys.modules)))
"""


def test_a_current_report_imports_nothing_that_makes_one(tmp_path):
    (tmp_path / "what.json").write_text(json.dumps([trials(), benchmark()]))
    words = [sys.executable, "-c", WARM, str(tmp_path / "what.json"), str(tmp_path / "out")]
    shown = [subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip() for _ in range(2)]
    assert "pandas" in shown[0]
    assert shown[1] == "[]"


# --- accuracies ---------------------------------------------------------------------------------------------------


def accuracy(folder, *what):
    names = ("source", "model", "suspect_dataset", "suspect_architecture")
    found = [r for r in table(folder, "accuracy.csv") if tuple(r[n] for n in names) == what]
    assert len(found) == 1, found
    return found[0]


def test_a_network_counts_once_however_many_methods_judged_it(tmp_path):
    rows = trials((0, 1))
    for made in rows:
        made["suspect_accuracy"] = 0.5 + made["replicate"] / 10
    write(tmp_path, rows, benchmark(seeds=(0, 1)))
    innocent = accuracy(tmp_path, "plain", "irrelevant", "digits", "net")
    assert innocent["n"] == "3"  # shared by both sources and all methods
    assert (float(innocent["mean"]), float(innocent["sd"])) == pytest.approx((0.6, 0.1))
    assert accuracy(tmp_path, "plain", "extract_l", "digits", "net")["n"] == "6"  # three from each source
    assert accuracy(tmp_path, "plain", "source", "digits", "vgg")["n"] == "2"


def test_a_watermark_has_its_own_source_and_its_own_stolen_models(tmp_path):
    rows = trials()
    for made in rows:
        if made["method"] == "mark" and made["attack"]:
            made["suspect_accuracy"] = 0.7
    write(tmp_path, rows, benchmark())
    assert float(accuracy(tmp_path, "mark", "source", "digits", "vgg")["mean"]) == 0.8
    assert float(accuracy(tmp_path, "plain", "source", "digits", "vgg")["mean"]) == 0.9
    assert float(accuracy(tmp_path, "mark", "extract_l", "digits", "res")["mean"]) == pytest.approx(0.7)
    assert float(accuracy(tmp_path, "plain", "extract_l", "digits", "res")["mean"]) == pytest.approx(0.85)
    assert not [r for r in table(tmp_path, "accuracy.csv") if r["source"] == "mark" and r["model"] == "irrelevant"]


def test_the_papers_accuracies_stand_beside_ours(tmp_path):
    write(tmp_path, trials(), benchmark())
    assert accuracy(tmp_path, "mark", "source", "digits", "vgg")["paper"] == "0.833"
    assert accuracy(tmp_path, "plain", "source", "digits", "vgg")["paper"] == "0.873"
    assert accuracy(tmp_path, "plain", "irrelevant", "digits", "net")["paper"] == "0.878"
    assert accuracy(tmp_path, "plain", "irrelevant", "digits", "res")["paper"] == ""
    assert accuracy(tmp_path, "mark", "extract_l", "digits", "res")["paper"] == "0.785"
    assert accuracy(tmp_path, "plain", "extract_l", "digits", "res")["paper"] == ""
    everyone = accuracy(tmp_path, "plain", "irrelevant", "letters", "")
    assert (everyone["paper"], everyone["n"]) == ("0.77", "4")


def test_variants_have_lines_of_their_own(tmp_path):
    rows = trials()
    for made in rows:
        if made["attack"] == "finetune_a":
            made["variant"] = f"ratio=0.{made['replicate'] + 1}"
    write(tmp_path, rows, benchmark())
    found = [r for r in table(tmp_path, "accuracy.csv") if r["model"] == "finetune_a" and r["source"] == "plain"]
    assert [(r["variant"], r["n"], r["sd"]) for r in found] == [("ratio=0.1", "1", ""), ("ratio=0.2", "1", "")]


# --- against the papers -------------------------------------------------------------------------------------------


def many(share, seeds=(0, 1, 2)):
    """Make 60 stolen and 60 irrelevant models per architecture; a share of the stolen ones looks irrelevant."""
    rows = []
    for seed, architecture, n in itertools.product(seeds, ("net", "res", "vgg"), range(60)):
        one = {"source_seed": seed, "architecture": architecture, "replicate": n}
        rows.append(line(score=n / 60, **one))
        if architecture != "vgg":
            rows.append(line(attack="extract_l", score=-1.0 if n < 60 * share else 2.0, **one))
    return rows


def verdicts(folder, rows, **changes):
    run = {"methods": ("sac",), "baselines": (), "attacks": ("extract_l",), "seeds": (0, 1, 2)} | changes
    write(folder, rows, benchmark(**run))
    return cell(folder, "sac", "extract_l")["verdict"], check(folder)


def test_a_figure_agrees_with_its_paper_or_differs_from_it(tmp_path):
    verdict, text = verdicts(tmp_path, many(0.05))
    assert verdict == "agrees"
    assert "all cells: 1 agrees, 0 differs, 0 too few models to tell, 0 one source: no verdict, 0 no figure" in text
    assert "paper 0.95" in text
    verdict, text = verdicts(tmp_path, many(0.4))
    assert verdict == "differs"
    assert "all cells: 0 agrees, 1 differs, 0 too few models to tell, 0 one source: no verdict, 0 no figure" in text


def test_few_models_tell_nothing(tmp_path):
    verdict, _ = verdicts(tmp_path, [r for r in many(0) if r["replicate"] < 2])
    assert verdict == "too few models to tell"


def test_one_source_gets_no_verdict(tmp_path):
    verdict, text = verdicts(tmp_path, many(0.05, seeds=(0,)), seeds=(0,))
    assert verdict == "one source: no verdict"
    assert "1 one source: no verdict" in text


def test_the_verdict_says_that_the_papers_networks_are_others(tmp_path):
    def net(share, **few):
        return [r for r in many(share, **few) if r["suspect_architecture"] != "res"]

    verdict, text = verdicts(tmp_path, net(0.05), suspects=("net",))
    assert verdict == "agrees (other networks)" and "(paper 0.95)" in text
    assert text.endswith("0 no figure, 1 agrees (other networks), 0 differs (other networks)\n")
    tables = (tmp_path / "table.md").read_text()
    assert "*paper, other networks: 0.95*" in tables and "a difference from it does not contradict the paper" in tables
    assert verdicts(tmp_path, net(0.4), suspects=("net",))[0] == "differs (other networks)"
    assert verdicts(tmp_path, net(0.05, seeds=(0,)), suspects=("net",), seeds=(0,))[0] == "one source: no verdict"


def test_figures_of_other_networks_are_compared_without_innocents_in_the_sources_architecture(tmp_path):
    rows = [r for r in many(0.05) if r["suspect_architecture"] != "res"]
    for made in rows:
        if made["suspect_architecture"] == "vgg":
            made["score"] = 3.0
    verdict, text = verdicts(tmp_path, rows, suspects=("net",))
    assert verdict == "agrees (other networks)" and "Compared without the irrelevant models" in text


def test_a_fine_tuned_source_is_held_against_innocents_of_the_papers_architectures(tmp_path):
    def made(suspects):
        rows = [r for r in many(0) if r["suspect_architecture"] in (*suspects, "vgg") and not r["attack"]]
        rows += [line(attack="finetune_a", architecture="vgg", replicate=n, score=2.0, source_seed=seed)
                 for n in range(60) for seed in range(3)]  # fmt: skip
        changes = {"methods": ("sac",), "baselines": (), "attacks": ("finetune_a",), "seeds": (0, 1, 2)}
        write(tmp_path, rows, benchmark(suspects=suspects, **changes))
        return cell(tmp_path, "sac", "finetune_a")["verdict"]

    assert made(("net", "res")) == "agrees"
    assert made(("net",)) == "agrees (other networks)"


def test_the_comparison_leaves_out_innocents_in_the_sources_architecture(tmp_path):
    rows = many(0.05)
    for made in rows:
        if made["suspect_architecture"] == "vgg":
            made["score"] = 3.0  # all of them above every stolen suspect
    verdict, text = verdicts(tmp_path, rows)
    assert float(cell(tmp_path, "sac", "extract_l")["auc"]) == pytest.approx(0.95 * 2 / 3)
    assert verdict == "agrees"
    assert "Compared without the irrelevant models in the source's architecture" in text


# --- the command --------------------------------------------------------------------------------------------------


def test_the_command_prints_the_tables_by_folder_or_name(tmp_path, monkeypatch):
    text = write(tmp_path / "results" / "mine", trials(), benchmark())
    monkeypatch.chdir(tmp_path)
    assert CliRunner().invoke(command, ["mine"]).output == text
    assert CliRunner().invoke(command, ["results/mine"]).output == text
    assert CliRunner().invoke(command, ["mine", "--format", "csv"]).output.startswith("dataset,source_architecture,")
    assert CliRunner().invoke(command, ["mine", "--format", "tex"]).output.startswith("% needs")
    assert "all cells: " in CliRunner().invoke(command, ["mine", "--check"]).output
    error = CliRunner().invoke(command, ["mina"]).exception
    assert isinstance(error, BenchError)
    assert "Did you mean 'mine'?" in str(error)


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision"):
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Block())
from bench.cli import main
main()
"""


def test_reporting_imports_no_torch_and_ends_in_one_line_where_it_cannot(tmp_path):
    text = write(tmp_path, trials(), benchmark())

    def bench(*words):
        return subprocess.run([sys.executable, "-c", BLOCKED, *words], capture_output=True, text=True, check=False)

    done = bench("report", str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, text, "")
    (tmp_path / "trials.csv").unlink()
    done = bench("report", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "trials.csv is missing" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="cannot be written"):
        write(tmp_path / "file", trials(), benchmark())
    write(tmp_path / "good", trials(), benchmark())
    assert [p.name for p in (tmp_path / "good").glob(".*")] == [".report"]


def test_a_changed_score_is_noticed_on_the_screen_and_below_the_table(tmp_path):
    write(tmp_path, trials(), benchmark())
    untouched = CliRunner().invoke(command, [str(tmp_path)]).output
    path = tmp_path / "trials.csv"
    path.write_text(path.read_text().replace(",0.5,", ",0.75,", 1))
    changed = CliRunner().invoke(command, [str(tmp_path)])
    assert (changed.exit_code, "Not what the run wrote" in untouched) == (0, False)
    assert "Not what the run wrote: trials.csv was changed afterwards" in " ".join(changed.output.split())
    assert "Not what the run wrote" in (tmp_path / "table.md").read_text()


def test_networks_of_several_machines_are_counted_below_the_table(tmp_path):
    write(tmp_path, trials(), benchmark() | {"machines": {"one": 3, "two": 1}})
    assert (
        "Made on 2 machines, whose rounding differs: 3 networks on one; 1 network on two."
        in (tmp_path / "table.md").read_text()
    )


@pytest.mark.parametrize(
    ("machine", "named"), [("Linux, beads, AVX2", "Linux, beads, AVX2"), ("Linux, abacus, AVX2", "cores 2, cpu abacus")]
)
def test_the_caption_names_the_machine_that_made_the_networks_that_a_run_found_in_its_store(tmp_path, machine, named):
    write(tmp_path, trials(), benchmark() | {"machines": {machine: 25}})
    assert f"split seed 0. Hardware: {named}. torch 2.13.0. 2026-11-25." in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("options", [["--check"], ["--format", "csv"], []])
def test_every_report_of_changed_rows_warns(tmp_path, options):
    write(tmp_path, trials(), benchmark())
    path = tmp_path / "trials.csv"
    path.write_text(path.read_text().replace(",0.5,", ",0.75,", 1))
    shown = CliRunner().invoke(command, [str(tmp_path), *options])
    assert (shown.exit_code, shown.stderr.strip()) == (0, f"Note: {path} was changed: it is not what the run wrote")
