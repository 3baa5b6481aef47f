"""`bench replicate` in the toy world: a run made again in a store of its own, and what is refused before it."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from toy_runs import here

from bench.cli.commands.replicate import NOT_JUDGED, _default_name, command
from bench.core.errors import BenchError
from bench.core.spec import Spec
from bench.results.run_schema import load_run
from bench.testing import toy_plugins

TOY = [
    *("--plugin", toy_plugins.__file__, "--datasets", "toy", "--architectures", "toy_net", "--preset", "smoke"),
    *("--attacks", "toy_copy", "--methods", "toy_match", "--no-baselines", "--set", "recipe.epochs=40"),
]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """The results of a small run of two sources, made by the command line."""
    place = tmp_path_factory.mktemp("published")
    more = ("--seeds", "2", "--workers", "0", "--quiet", "--store", place / "store", "--out", place / "toy")
    done = here(["run", *TOY, *more])
    assert done.code == 0, done.err
    return place / "toy"


def replicate(published, tmp_path, *more):
    words = [str(published), "--plugin", toy_plugins.__file__, "--workers", "0", "--quiet"]
    words += ["--store", str(tmp_path / "store"), "--out", str(tmp_path / "again"), *more]
    return CliRunner().invoke(command, words, standalone_mode=False)


def refused(published, tmp_path, *more):
    done = replicate(published, tmp_path, *more)
    assert isinstance(done.exception, BenchError), done.output
    assert not (tmp_path / "again").exists() and not (tmp_path / "store").exists()
    assert "\n" not in str(done.exception)
    return str(done.exception)


def test_the_same_seeds_on_the_same_machine_give_the_same_scores(published, tmp_path):
    done = replicate(published, tmp_path)
    assert done.return_value == 0, done.exception
    trials = len((published / "trials.csv").read_text().splitlines()) - 1
    assert done.output.splitlines()[-1] == f"Reproduced: the scores of all {trials} trials are equal."
    assert {"trials.csv", "run.json", "index.html"} <= {p.name for p in (tmp_path / "again").iterdir()}
    assert load_run(tmp_path / "again" / "run.json")["spec"] == load_run(published / "run.json")["spec"]


def test_results_about_described_networks_name_what_repeats_them(published, tmp_path):
    shutil.copytree(published, tmp_path / "about")
    run = json.loads((tmp_path / "about" / "run.json").read_text())
    run["spec"]["models"] = [{"name": "mine", "role": "source", "format": "onnx", "sha256": "0" * 64}]
    (tmp_path / "about" / "run.json").write_text(json.dumps(run))
    message = refused(tmp_path / "about", tmp_path)
    assert f"is about described networks: bench run --spec {tmp_path}/about/run.json --models FILE" in message


def test_other_seeds_are_judged_by_tests(published, tmp_path):
    done = replicate(published, tmp_path, "--seeds", "7,8,9")
    assert done.return_value in (0, 1), done.exception
    assert "figures" in done.output.splitlines()[-1] and "toy_copy" in done.output
    assert load_run(tmp_path / "again" / "run.json")["spec"]["seeds"] == [7, 8, 9]


def test_one_other_source_is_not_judged_and_the_exit_code_shows_it(published, tmp_path):
    done = replicate(published, tmp_path, "--seeds", "7,")
    assert done.return_value == NOT_JUDGED, done.exception
    assert done.output.splitlines()[-1] == "Not judged: no figure has 2 sources in both runs."


def copied(published, tmp_path):
    return shutil.copytree(published, tmp_path / "copy")


@pytest.mark.parametrize(
    ("kind", "field", "value", "reason"),
    [
        ("dataset", "version", 9, "version of dataset toy 9 / 1"),
        ("architecture", "params", {"width": 3}, "toy_net.width 3 / "),
    ],
)
def test_other_plugins_than_the_published_ones_are_refused(published, tmp_path, kind, field, value, reason):
    folder = copied(published, tmp_path)
    run = json.loads((folder / "run.json").read_text())
    run["components"][kind]["toy" if kind == "dataset" else "toy_net"][field] = value
    (folder / "run.json").write_text(json.dumps(run))
    text = refused(folder, tmp_path)
    assert "other plugins than those installed here" in text and reason in text


def test_damaged_and_edited_files_are_refused(published, tmp_path):
    folder = copied(published, tmp_path)
    text = (folder / "trials.csv").read_text()
    (folder / "trials.csv").write_text(re.sub(r",done,[^,]*,", ",done,0.123,", text, count=1))
    assert "trials.csv is not what the run wrote" in refused(folder, tmp_path)
    (folder / "trials.csv").write_text(text[:-20])
    assert "trials.csv" in refused(folder, tmp_path)
    (folder / "run.json").write_text("{")
    assert "run.json" in refused(folder, tmp_path)


def test_a_method_that_was_not_published_is_refused(published, tmp_path):
    text = refused(published, tmp_path, "--methods", "toy_mach")
    assert "no method 'toy_mach'. Did you mean 'toy_match'?" in text


def test_results_of_another_spec_are_not_overwritten(published, tmp_path):
    shutil.copytree(published, tmp_path / "again")
    before = (tmp_path / "again" / "trials.csv").read_bytes()
    done = replicate(published, tmp_path, "--seeds", "3")
    assert isinstance(done.exception, BenchError) and "choose another folder" in str(done.exception)
    assert (tmp_path / "again" / "trials.csv").read_bytes() == before


def test_the_store_of_the_published_run_is_refused(published, tmp_path):
    """All of it would be found there, and be called reproduced."""
    store = published.parent / "store"
    message = refused(published, tmp_path, "--store", str(store))
    assert message == f"{store} has the artifacts of {published}: nothing would be made again. Name another: --store"


def test_the_published_folder_itself_is_not_written(published):
    before = (published / "run.json").read_bytes()
    words = [str(published), "--plugin", toy_plugins.__file__, "--out", str(published)]
    done = CliRunner().invoke(command, words, standalone_mode=False)
    assert isinstance(done.exception, BenchError) and "is the published folder itself" in str(done.exception)
    assert (published / "run.json").read_bytes() == before


def test_repetitions_with_other_seeds_or_methods_have_folders_of_their_own(published, tmp_path, monkeypatch):
    """Without --out: each is named by what differs from the published run, and none meets another one's folder."""
    monkeypatch.chdir(tmp_path)
    words = [str(published), "--plugin", toy_plugins.__file__, "--workers", "0", "--quiet", "--store", "store"]
    for seeds in ((), ("--seeds", "7,8,9"), ("--seeds", "3,7,8"), ("--seeds", "7,8,9")):
        done = CliRunner().invoke(command, [*words, *seeds], standalone_mode=False)
        assert done.exception is None, done.output
    assert {p.name for p in (tmp_path / "results").iterdir()} == {
        "toy-replicate",
        "toy-replicate-seeds-7-9",
        "toy-replicate-seeds-3+7-8",
    }


@pytest.mark.parametrize(
    "seeds, methods, name",
    [
        ((0, 1), ("a", "b"), "x-replicate"),
        ((1, 0), ("a", "b"), "x-replicate-seeds-1+0"),
        (tuple(range(20, 40)), ("a", "b"), "x-replicate-seeds-20-39"),
        ((0, 1), ("a",), "x-replicate-a"),
        ((5,), ("b",), "x-replicate-seeds-5-b"),
    ],
)
def test_the_default_folder_says_what_differs(seeds, methods, name):
    published = Spec(("d",), ("s",), ("s",), ("t",), ("a", "b"), seeds=(0, 1))
    changed = dataclasses.replace(published, seeds=seeds, methods=methods)
    assert _default_name(Path("x"), published, changed) == name


def test_many_seeds_have_a_short_name_of_their_own():
    published = Spec(("d",), ("s",), ("s",), ("t",), ("a",))
    names = {
        _default_name(Path("x"), published, dataclasses.replace(published, seeds=tuple(range(n, 200 + n, 2))))
        for n in (1, 3)
    }
    assert len(names) == 2
    assert all(len(n) < 40 for n in names)
