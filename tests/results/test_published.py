"""The published results folders are what today's code makes of their Spec and rows, byte for byte."""

import csv
import functools
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bench.core.renamed import RENAMED
from bench.core.spec import Spec
from bench.planning.declarations import Declarations, MethodVersion, declare
from bench.planning.planner import plan
from bench.registry.discovery import load_registry
from bench.reporting.build import render
from bench.reporting.csv_files import CELL_COLUMNS
from bench.results.columns import COLUMNS, TRIAL_COLUMNS
from bench.results.reader import load
from bench.results.run_schema import load_run
from bench.results.writer import save

RESULTS = Path(__file__).parents[2] / "results"


def published_in(results):
    """List the folders that README.md names: beside them are runs that only this checkout has."""
    named = re.findall(r"`([\w-]+)`", (results / "README.md").read_text())
    return sorted(path.parent.name for path in results.glob("*/run.json") if path.parent.name in named)


FOLDERS = published_in(RESULTS)


def test_there_are_published_results():
    assert {"noisy_digits", "field", "cifar10-cpu", "cifar10-cpu-1", "adversarial-1", "variations"} <= {*FOLDERS}
    assert {*ALIKE, *ALIKE.values()} <= {*FOLDERS}


def test_runs_that_were_only_made_here_are_not_published(tmp_path):
    (tmp_path / "README.md").write_text("`one` is published.\n")
    for name in ("one", "first"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "run.json").touch()
    assert published_in(tmp_path) == ["one"]


@pytest.fixture(params=FOLDERS, scope="module")
def published(request):
    return RESULTS / request.param


@functools.lru_cache(maxsize=1)
def loaded(folder):
    """Read a folder once for all tests of it; they do not change what it holds."""
    return load(folder)


ALIKE = {
    "adversarial-0": "adversarial-1",
    "cifar10-weak_vgg": "cifar10-probes",
    "fashion_mnist-half_trained": "fashion_mnist-small",
}
"""Folders that hold what another does, of which the fast tests rebuild the tables."""


def of_one_source(name):
    """Return True for a part of merged results: their tables are made by the same code from the same rows."""
    return re.fullmatch(r"(cifar10|fashion_mnist)-cpu-\d.*", name) is not None


def known(run):
    """Return today's components with the versions, params and attributes of run.json, where a version may be older."""

    def published(declaration):
        entry = run["components"][declaration.kind][declaration.name]
        attributes = {**declaration.attributes, **entry["attributes"]}
        return replace(declaration, version=entry["version"], params=entry["params"], attributes=attributes)

    spec = Spec.from_json(run["spec"])
    assert not spec.budgets, "run.json describes a method with one of its budgets only"
    entries = (entry for group in run["components"].values() for entry in group.values())
    files = {entry["distribution"] for entry in entries if entry["distribution"].endswith(".py")}
    now = declare(spec, load_registry(tuple(str(RESULTS.parent / file) for file in sorted(files))))
    return Declarations(
        *({name: published(one) for name, one in group.items()} for group in (now.datasets, now.architectures)),
        {name: published(one) for name, one in now.attacks.items()},
        {
            name: tuple(MethodVersion(v.budget, published(v.method), published(v.fingerprint)) for v in versions)
            for name, versions in now.methods.items()
        },
    )


def header(folder):
    return (folder / "trials.csv").read_text().partition("\n")[0].split(",")


def test_the_planner_makes_the_published_keys(published):
    if "draw" not in header(published):
        pytest.skip("it was made when sources shared their irrelevant models, under other keys")
    frame, run = loaded(published)
    made = plan(Spec.from_json(run["spec"]), known(run))
    assert [trial.score or "" for trial in made.trials] == frame.key.tolist()


def test_rows_and_run_are_written_as_they_were_read(published, tmp_path):
    frame, run = loaded(published)
    rows = [{c: None if v != v else v for c, v in row.items()} for row in frame[list(COLUMNS)].to_dict("records")]
    save(tmp_path, rows, run)
    read, written = (json.loads((folder / "run.json").read_text()) for folder in (published, tmp_path))
    digest = hashlib.sha256((tmp_path / "trials.csv").read_bytes()).hexdigest()
    assert written == {**read, "format": 3, "trials_sha256": digest}
    if read["format"] == 3:
        assert (tmp_path / "run.json").read_bytes() == (published / "run.json").read_bytes()
    texts = ((folder / "trials.csv").read_text() for folder in (published, tmp_path))
    read, written = (list(csv.DictReader(text.splitlines())) for text in texts)
    later = {c.name: c.absent for c in TRIAL_COLUMNS if c.name not in header(published)}
    assert written == [line | later for line in read]


def aucs(folder):
    """Return what has not changed since the first results: AUCs, numbers of models, and the papers' figures."""
    names = ("method", "attack", "status", "auc", "stolen", "irrelevant", "same_architecture_auc", "suspects_only_auc",
             "tpr_at_5", "accused_at_5", "paper_auc")  # fmt: skip
    return [[r[n] for n in names] for r in csv.DictReader((folder / "table.csv").read_text().splitlines())]


@pytest.mark.parametrize(
    "published",
    [pytest.param(name, marks=[pytest.mark.slow] if of_one_source(name) or name in ALIKE else []) for name in FOLDERS],
    indirect=True,
)
def test_the_tables_are_rebuilt_byte_for_byte(published, tmp_path):
    """A report with other columns was made by older code: then its AUCs are rebuilt, from the same two files."""
    folder = tmp_path / published.name  # labels of LaTeX have the folder's name
    folder.mkdir()
    for name in ("run.json", "trials.csv"):
        (folder / name).write_bytes((published / name).read_bytes())
    render(folder)
    for name in ("run.json", "trials.csv"):
        assert (folder / name).read_bytes() == (published / name).read_bytes(), name
    assert aucs(folder) == aucs(published)
    if (published / "table.csv").read_text().partition("\n")[0].split(",") != [c.name for c in CELL_COLUMNS]:
        return
    for name in (p.relative_to(folder) for p in folder.rglob("*") if p.is_file() and p.name != ".report"):
        assert (folder / name).read_bytes() == (published / name).read_bytes(), f"{name}: bench report {published}"


def test_a_run_of_format_1_is_read_with_the_new_words(published, tmp_path):
    run = json.loads((published / "run.json").read_text())
    old_words = {new: old for old, new in RENAMED.items()}

    def old(record):
        return {old_words.get(name, name): value for name, value in record.items()}

    for entries in run["components"].values():
        for entry in entries.values():
            entry["attributes"] = old(entry["attributes"])
    before = run | {"format": 1, "spec": old(run["spec"])}
    assert "floors" in before["spec"]
    assert any("lands_on" in entry["attributes"] for entry in before["components"]["attack"].values())
    (tmp_path / "run.json").write_text(json.dumps(before))
    assert load_run(tmp_path / "run.json") == load_run(published / "run.json")
