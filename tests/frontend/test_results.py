"""`bench.load_results`: the figures as DataFrames, the tables as text, a table in a notebook."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from toy_runs import here

import bench
from bench.reporting.formats import FORMATS

PUBLISHED = Path(__file__).parents[2] / "results" / "noisy_digits"


@pytest.fixture(scope="module")
def results():
    return bench.load_results(PUBLISHED)


def lines(name):
    with (PUBLISHED / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_trials_are_the_rows(results):
    rows = lines("trials.csv")
    assert len(results.trials) == len(rows)
    assert results.trials.score.dropna().tolist() == [float(r["score"]) for r in rows if r["score"]]
    assert results.trials.source_seed.tolist() == [int(r["source_seed"]) for r in rows]
    assert results.trials.budget.isna().tolist() == [not r["budget"] for r in rows]


def test_cells_are_the_lines_of_the_table(results):
    rows = [r for r in lines("table.csv") if r["status"] != "mean"]
    cells = results.cells
    assert cells[["method", "attack"]].values.tolist() == [[r["method"], r["attack"]] for r in rows]
    for column in ("auc", "low", "high"):
        assert cells[column].dropna().tolist() == [float(r[column]) for r in rows if r[column]]
    assert cells.stolen.dropna().tolist() == [int(r["stolen"]) for r in rows if r["stolen"]]
    assert cells.baseline.tolist() == [r["baseline"] == "1" for r in rows]
    assert cells.beats_baselines.isna().any()


def test_frames_can_be_used_as_such(results):
    best = results.cells.groupby("method").auc.mean().sort_values()
    assert 0 <= best.iloc[0] <= best.iloc[-1] <= 1
    assert results.cells.query("attack == 'extract_l' and not baseline").method.tolist()
    assert results.accuracies["mean"].between(0, 1).all()
    assert list(results.budgets.columns)[:4] == ["dataset", "source_architecture", "method", "budget"]
    assert isinstance(results.cells, pd.DataFrame)


@pytest.mark.parametrize(
    "format", [pytest.param(f, marks=[] if f in ("txt", "md") else [pytest.mark.slow]) for f in FORMATS]
)
def test_the_text_in_every_format_is_what_the_command_prints(results, format, tmp_path):
    shutil.copytree(PUBLISHED, tmp_path / PUBLISHED.name)
    done = here(["report", tmp_path / PUBLISHED.name, "--format", format])
    assert done.code == 0, done.err
    assert results.table(format) == done.out
    assert bench.load_results(tmp_path / PUBLISHED.name).table(format) == done.out  # from the files


def test_an_unknown_format_names_those_there_are(results):
    with pytest.raises(
        bench.BenchError, match=r"no format 'txtt'. Did you mean 'txt'\? There are txt, md, tex, csv, bib"
    ):
        results.table("txtt")


def test_a_notebook_shows_the_table(results):
    html = results._repr_html_()
    assert html.count("<table>") == html.count("</table>") == 2
    assert "AUC" in html
    assert "<script" not in html
    assert "sac_m" in html


def test_what_others_wrote_is_escaped(tmp_path):
    for name in ("run.json", "trials.csv"):
        shutil.copy(PUBLISHED / name, tmp_path)
    run = (tmp_path / "run.json").read_text().replace('"sac_m"', '"<b>x</b>"')
    (tmp_path / "run.json").write_text(run)
    (tmp_path / "trials.csv").write_text((tmp_path / "trials.csv").read_text().replace("sac_m,", "<b>x</b>,"))
    html = bench.load_results(tmp_path)._repr_html_()
    assert "&lt;b&gt;x" in html
    assert "<b>x" not in html


def test_loading_writes_nothing_and_works_where_nothing_can_be_written(tmp_path):
    for name in ("run.json", "trials.csv"):
        shutil.copy(PUBLISHED / name, tmp_path)
    tmp_path.chmod(0o500)
    try:
        loaded = bench.load_results(tmp_path)
        assert loaded.table("md").startswith("# Results")
        assert loaded.outcome is None
        assert {p.name for p in tmp_path.iterdir()} == {"run.json", "trials.csv"}
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_by_its_name(results, tmp_path, monkeypatch):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine").symlink_to(PUBLISHED)
    monkeypatch.chdir(tmp_path)
    assert bench.load_results("mine").spec == results.spec
    with pytest.raises(bench.BenchError, match=r"no results folder 'mime'.*Did you mean 'mine'"):
        bench.load_results("mime")


@pytest.mark.parametrize("what", [None, 3, ["a"]])
def test_something_that_is_no_folder(what):
    with pytest.raises(bench.BenchError, match="load_results takes a folder"):
        bench.load_results(what)


def test_a_damaged_folder_is_refused_when_it_is_loaded(tmp_path):
    for name in ("run.json", "trials.csv"):
        shutil.copy(PUBLISHED / name, tmp_path)
    run = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps({**run, "format": 99}))
    with pytest.raises(bench.BenchError, match=r"run\.json is no run\.json that bench wrote"):
        bench.load_results(tmp_path)


def test_the_shown_text_is_short(results):
    assert repr(results).startswith(f"Results('{PUBLISHED}'")
    assert "done" in repr(results)
    assert len(repr(results)) < 300


def test_loading_needs_no_torch():
    code = (
        "import sys, bench\n"
        f"r = bench.load_results({str(PUBLISHED)!r})\n"
        "r.trials, r.cells, r.table('md'), r._repr_html_()\n"
        "assert 'torch' not in sys.modules and 'distributed' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
