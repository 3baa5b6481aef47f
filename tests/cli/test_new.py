"""`bench new`: what it makes is installed by pip, listed, sound and runs; bad names are refused in one line."""

import ast
import configparser
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from toy_runs import here

from bench import cli
from bench.cli.commands.new import rendered
from bench.core.kinds import ComponentKind

NAMES = {kind: f"new_{kind}" for kind in ComponentKind}


@pytest.fixture
def new(capsys, monkeypatch, tmp_path):
    """Run the command in this process, in an empty folder; give its exit code, what it printed and complained."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", "new", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return call


# --- what it makes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ComponentKind)
def test_it_makes_a_complete_distribution(new, kind):
    code, out, err = new(kind, "my_own_idea")
    assert (code, err) == (0, "")
    assert f"bench run --{kind}s my_own_idea --preset smoke" in out
    folder = Path("bench-my-own-idea")
    files = {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}
    assert set(files) == {
        "my_own_idea.py",
        "test_my_own_idea.py",
        "pyproject.toml",
        "README.md",
        "CITATION.cff",
        "tox.ini",
        ".github/workflows/test.yml",
    }
    for name, text in files.items():
        assert not re.search(r"my_idea|MyIdea|my-idea|KIND", text), name
        assert text.endswith("\n")
    project = tomllib.loads(files["pyproject.toml"])["project"]
    assert project["name"] == "bench-my-own-idea"
    assert project["entry-points"]["bench"] == {"my_own_idea": "my_own_idea"}
    parser = configparser.ConfigParser()
    parser.read_string(files["tox.ini"])
    assert "bench check my_own_idea" in parser["testenv"]["commands"]
    assert parser["tox"]["env_list"] == "py"  # the Python that is there, from the oldest supported one on
    tree = ast.parse(files["my_own_idea.py"])
    assert ast.get_docstring(tree)
    assert "class MyOwnIdea(" in files["my_own_idea.py"]
    assert len(files["my_own_idea.py"].splitlines()) <= 45
    assert [line for line in files["test_my_own_idea.py"].splitlines() if line] == [
        "from bench.testing import contract",
        'test_contract = contract("my_own_idea")',
    ]


def test_it_goes_where_it_is_told_to(new, tmp_path):
    code, out, _ = new("attack", "my_own_idea", "--into", tmp_path / "some where")
    folder = tmp_path / "some where" / "bench-my-own-idea"
    assert code == 0 and (folder / "my_own_idea.py").is_file()
    assert f"\n    cd '{folder}'\n" in out


def test_a_plugin_file_of_that_name_may_lie_here_already(new, tmp_path):
    """The first ten minutes before there is a distribution."""
    (tmp_path / "my_own_idea.py").write_text("")
    assert new("method", "my_own_idea")[0] == 0


@pytest.mark.parametrize("kind", ComponentKind)
def test_plugin_files_are_written_as_ours_are(kind):
    pytest.importorskip("ruff", reason="ruff is not installed here: tox -e lint has it")
    for command in (["check", "--select", "E,F,W,I,B,UP,SIM,C4,D1", "--ignore", "D105,D107"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *command, "--isolated", "--line-length", "120", "-"]
        text = rendered(kind, "my_own_idea")["my_own_idea.py"]
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


# --- installed ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """One of each kind, made by the command and installed by pip, with nobody's help."""
    place = tmp_path_factory.mktemp("new")
    for kind, name in NAMES.items():
        assert here(["new", kind, name, "--into", place]).code == 0
    folders = [f"./bench-{name.replace('_', '-')}" for name in NAMES.values()]
    options = [
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--no-compile",
        "--disable-pip-version-check",
    ]
    run(place, "pip", "install", *options, "--target", place / "there", *folders)
    return place


def run(place, module, *arguments, code=0):
    environment = {
        **os.environ,
        "PYTHONPATH": str(place / "there"),
        "OMP_NUM_THREADS": "1",
        "BENCH_STORE": str(place / "store"),
        "BENCH_DATA": str(place / "data"),
    }
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def test_they_are_listed(installed, monkeypatch):
    monkeypatch.syspath_prepend(installed / "there")

    def listed(*words):
        done = here(["list", *words])
        assert done.code == 0, done.err
        return done.out

    told = listed()
    for kind, name in NAMES.items():
        assert re.search(rf"^  {name} +v1  ", told.split(f"{kind}s:\n")[1].split("\n\n")[0], re.MULTILINE)
        assert f"from bench-{name.replace('_', '-')} 0.1" in listed(name)


@pytest.mark.slow
def test_they_keep_the_contract(installed):
    assert " 0 failed, " in run(installed, "bench", "check", *NAMES.values())


@pytest.mark.slow
def test_their_own_tests_pass(installed):
    tests = [f"bench-{name.replace('_', '-')}/test_{name}.py" for name in NAMES.values()]
    told = run(installed, "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "--import-mode=importlib", *tests)
    assert re.search(r"\d+ passed", told)


def test_they_give_a_table(installed):
    names = [word for kind, name in NAMES.items() for word in (f"--{kind}s", name)]
    told = run(installed, "bench", "run", "--preset", "smoke", *names, "--no-baselines", "--workers", 0)
    assert re.search(rf"^{NAMES['method']} +[01]\.\d\d", told, re.MULTILINE), told


def test_the_command_that_is_printed_for_a_dataset_runs(installed, tmp_path, monkeypatch):
    name = NAMES[ComponentKind.DATASET]
    monkeypatch.delitem(sys.modules, name, raising=False)  # another test may have loaded the installed one
    made = here(["new", "dataset", name, "--into", tmp_path])
    assert made.code == 0, made.err
    last = made.out.splitlines()[-1]
    assert last.strip() in (tmp_path / "bench-new-dataset" / "README.md").read_text()
    less = ["--attacks", "finetune_a", "--no-baselines", "--replicates", 1, "--suspects", "tiny_vgg", "--workers", 0]
    less += ["--set", "recipe.epochs=1", "--set", "recipe.images=64"]
    run(installed, *shlex.split(last), *less, "--out", tmp_path / "out")


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("method", "MyIdea"), "'MyIdea' cannot be a component's name: .* such as 'my_idea'"),
        (("method", "my-idea"), "'my-idea' cannot be a component's name: .* such as 'my_idea'"),
        (("method", "9lives"), "'9lives' cannot be a component's name: .* such as 'lives'"),
        (("method", "../idea"), "'../idea' cannot be a component's name: .* such as 'idea'"),
        (("method", ""), "'' cannot be a component's name: it takes lower-case letters, digits and _, up to 64"),
        (("method", "i" * 65), "'i+' cannot be a component's name: .* up to 64"),
        (("method", "lambda"), "'lambda' has another meaning already: choose another name"),
        (("method", "recipe"), "'recipe' has another meaning already: choose another name"),
        (("attack", "source"), "'source' has another meaning already: choose another name"),
        (("method", "plain"), "'plain' has another meaning already: choose another name"),
        (("method", "setup"), "'setup' has another meaning already: choose another name"),
        (("dataset", "split"), "'split' has another meaning already: choose another name"),  # bench.Split
        (("method", "idea_"), "'idea_' cannot be the name of a distribution: choose one without _ at its end"),
        (("method", "akh"), "fingerprint-bench .* has the method 'akh' already: choose another name"),
        (("attack", "digits"), "fingerprint-bench .* has the dataset 'digits' already: choose another name"),
        (("method", "torch"), "Python has a module 'torch' already: choose another name"),
        (("method", "random"), "Python has a module 'random' already: choose another name"),
        (("watermark", "my_idea"), "Invalid value for .*'watermark' is not one of .*'method'.*"),
    ],
)
def test_a_name_that_cannot_be_is_refused_in_one_line(new, tmp_path, arguments, told):
    code, out, err = new(*arguments)
    assert (code, out) == (2, "")
    assert re.fullmatch(f"Error: {told}\n", err), err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(new, tmp_path):
    (tmp_path / "bench-my-own-idea").mkdir()
    code, _, err = new("method", "my_own_idea")
    assert code == 2
    assert err == "Error: bench-my-own-idea exists already: choose another name, or another parent folder with --into\n"
    assert list((tmp_path / "bench-my-own-idea").iterdir()) == []


def test_a_place_that_cannot_be_written_is_told(new, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = new("method", "my_own_idea", "--into", "file/below")
    assert code == 2
    assert re.fullmatch(
        "Error: file/below/bench-my-own-idea cannot be created: .*Choose another parent folder with --into\n", err
    )
