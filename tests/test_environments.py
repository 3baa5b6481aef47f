"""The environments of tox.ini: documents, CI and packaging mean the same ones."""

import configparser
import itertools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PYTHONS = ("311", "312", "313", "314")
MATRIX = {f"py{python}-{versions}" for python, versions in itertools.product(PYTHONS, ("latest", "lowest"))}
OTHERS = {
    "fast",
    "fix",
    "lint",
    "type",
    "docs",
    "outsider",
    "faults",
    "faults-short",
    "coverage",
    "slow",
    "gpu",
    "wheel",
    "lowest-torch",
}
DOORS = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    ROOT / "tox.ini",
    ROOT / ".ci/run",
    *ROOT.glob(".github/workflows/*.yml"),
]


def ini(name):
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / name)
    return parser


def pins():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def named(text):
    """List the environments that a text calls by `tox ... -e`."""
    calls = re.findall(r"tox(?: run-parallel)? -e ([\w,-]+)", text)
    return {name for call in calls for name in call.split(",")}


def test_tox_has_the_matrix_and_nothing_else():
    sections = {s.removeprefix("testenv:") for s in ini("tox.ini").sections() if s.startswith("testenv:")}
    assert sections == (OTHERS | {"{py311,py312,py313,py314}-lowest"})
    assert ini("tox.ini")["tox"]["env_list"].split(", ") == ["py311-latest", "faults-short", "lint", "type", "outsider"]


@pytest.mark.parametrize("path", DOORS, ids=lambda p: str(p.relative_to(ROOT)))
def test_whatever_is_called_is_an_environment(path):
    text = path.read_text().replace("${{ matrix.environment }}", "lint")
    assert named(text) - {"py"} <= MATRIX | OTHERS


def test_every_environment_is_told_to_contributors():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for name in OTHERS | {"py311-latest", "py314-latest", "py311-lowest", "py314-lowest"}:
        assert f"`{name}`" in text, name


def test_ci_runs_all_of_them():
    text = (ROOT / ".github/workflows/ci.yml").read_text()
    listed = {
        n
        for names in re.findall(r"(?:environment|python|versions): \[(.+)\]", text)
        for n in re.findall(r"[\w-]+", names)
    }
    assert listed | named(text) - {"py"} == OTHERS - {"fix"} | {*PYTHONS, "latest", "lowest"}


def test_other_systems_run_no_tests_since_these_ask_for_linux():
    job = (ROOT / ".github/workflows/ci.yml").read_text().split("  other-systems:")[1].split("\n\n")[0]
    assert "windows-latest" in job and named(job) == {"wheel"}
    assert "pytest" not in ini("tox.ini")["testenv:wheel"]["commands"]


def test_lowest_versions_of_compiled_packages_are_those_with_a_wheel():
    taken = set(re.findall(r"--only-binary ([\w-]+)", ini("tox.ini")["lowest"]["wheels"]))
    assert taken >= {"numpy", "pandas", "pillow", "onnx", "onnxruntime", "msgspec", "greenlet"}


def test_lowest_versions_stand_beside_the_tested_torch():
    asked = re.findall(r"-P (torch\w*)==([\d.]+)", ini("tox.ini")["lowest"]["torch"])
    assert dict(asked) == {name: pins()[name] for name in ("torch", "torchvision")}


def test_every_supported_python_is_in_the_matrix():
    listed = re.findall(r"Python :: (3\.\d+)$", ini("setup.cfg")["metadata"]["classifiers"], re.MULTILINE)
    assert [v.replace(".", "") for v in listed] == [*PYTHONS]


def test_everything_that_is_installed_is_pinned():
    setup = ini("setup.cfg")
    asked = [setup["options"]["install_requires"], *setup["options.extras_require"].values()]
    asked += [s["deps"] for s in ini("tox.ini").values() if "deps" in s]
    names = {
        re.split(r"[\[><=]", line)[0] for text in asked for line in text.splitlines() if line.strip() and line[0] != "#"
    }
    assert names - {"fingerprint-bench"} <= set(pins())
