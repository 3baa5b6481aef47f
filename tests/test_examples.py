"""The distributions in `examples/`, as their readers meet them: installed by pip, checked and run together.

They have to be installed; `tox -e outsider` does that. That they import public names only is seen without.
"""

import ast
import csv
import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import bench

EXAMPLES = Path(__file__).parent.parent / "examples"
FOLDERS = sorted(p.parent for p in EXAMPLES.glob("*/pyproject.toml"))
NAMES = {
    "csv_images": "dataset",
    "small_vit": "architecture",
    "warm_distil": "attack",
    "other_domain": "attack",
    "int8_static": "attack",
    "local_maps": "method",
    "shared_features": "method",
}


def project(folder):
    return tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def module(folder):
    """Return a distribution's plugin file."""
    (name,) = project(folder)["entry-points"]["bench"]
    file = folder / f"{name}.py"
    return file if file.is_file() else folder / name / "__init__.py"


# --- as they are written ------------------------------------------------------------------------------------------


def test_there_is_one_for_each_hook():
    hooks = [re.findall(r"^def (bench_\w+)\(\):", module(f).read_text(), re.MULTILINE) for f in FOLDERS]
    assert {hook for (hook,) in hooks} == {"bench_architectures", "bench_attacks", "bench_datasets", "bench_methods"}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_it_is_a_strangers(folder):
    """It says what it is and whose idea, uses public names only, and is complete."""
    tree = ast.parse(module(folder).read_text())
    assert ast.get_docstring(tree)
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "bench":
            assert node.module == "bench"
            assert {a.name for a in node.names} <= set(bench.__all__)
    (name,) = project(folder)["entry-points"]["bench"]
    assert project(folder)["name"] == folder.name
    assert f"bench check {name}" in (folder / "README.md").read_text()
    assert f'contract("{name}")' in (folder / f"test_{name}.py").read_text()
    assert f"({folder.name}/README.md)" in (EXAMPLES / "README.md").read_text()


def test_the_method_has_forty_lines():
    assert len(module(EXAMPLES / "bench-local-maps").read_text().splitlines()) <= 40


def test_the_shapes_are_what_their_script_draws(tmp_path, monkeypatch):
    folder = EXAMPLES / "bench-csv-images"
    (tmp_path / "csv_images").mkdir()
    text = (folder / "draw_shapes.py").read_text()
    (tmp_path / "draw_shapes.py").write_text(text)
    subprocess.run([sys.executable, tmp_path / "draw_shapes.py"], check=True)
    again = (tmp_path / "csv_images" / "shapes.csv").read_bytes()
    assert again == (folder / "csv_images" / "shapes.csv").read_bytes()


# --- installed ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    for folder in FOLDERS:
        try:
            importlib.metadata.distribution(folder.name)
        except importlib.metadata.PackageNotFoundError:
            pytest.skip(f"{folder.name} is not installed here: tox -e outsider")
    return tmp_path_factory.mktemp("examples")


def command(place, *arguments):
    environment = {**os.environ, "BENCH_STORE": str(place / "store"), "COLUMNS": "200"}
    line = [str(Path(sys.executable).with_name("bench")), *arguments]
    done = subprocess.run(line, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_each_is_listed_as_what_it_is(place):
    for folder in FOLDERS:
        (name,) = project(folder)["entry-points"]["bench"]
        assert f"{name}: {NAMES[name]}, version 1, from {folder.name} 1.0" in command(place, "list", name)


def test_they_give_a_table_together(place):
    """The command of their README, which they share with shipped components."""
    line = re.search(r"^    bench (run .*)$", (EXAMPLES / "README.md").read_text(), re.MULTILINE)[1]
    told = command(place, *shlex.split(line), "--no-baselines", "--workers", "2", "--out", "results")
    # at this scale the students may learn nothing: the table then says so instead of an AUC
    assert re.search(r"^local_maps +(not trained|[01]\.\d\d‡?) +[01]\.\d\d", told, re.MULTILINE), told
    with (place / "results" / "trials.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {r["status"] for r in rows} == {"done"}
    assert {(r["method"], r["attack"], r["suspect_architecture"]) for r in rows} >= {
        ("local_maps", "warm_distil", "small_vit"),
        ("sac_m", "warm_distil", "tiny_vgg"),
        ("local_maps", "finetune_l", "small_vit"),
    }
