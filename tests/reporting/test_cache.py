"""A report is made again whenever something that its bytes depend on has changed."""

import shutil
import subprocess
import sys

import pytest
from test_build import benchmark, trials

from bench.reporting import cache
from bench.results.writer import save

CHANGED = [
    "core/spec.py",
    "stats/intervals.py",
    "results/reader.py",
    "analysis/cells.py",
    "reporting/build.py",
    "reporting/tables/auc.py",
    "reporting/html/page.py",
    "reporting/html/templates/page.css",
]


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Copy the code of the report, and let the stamp be made from the copy."""
    for name in cache.PACKAGES:
        shutil.copytree(cache.HOST / name, tmp_path / "bench" / name)
    monkeypatch.setattr(cache, "HOST", tmp_path / "bench")
    return tmp_path / "bench"


@pytest.fixture
def report(host, tmp_path):
    folder = tmp_path / "report"
    save(folder, trials(), benchmark())
    (folder / "table.txt").write_text("a table")
    cache.write_stamp(folder, ["table.txt"])
    assert cache.is_current(folder)
    return folder


@pytest.mark.parametrize("name", CHANGED)
def test_a_changed_file_of_the_code_makes_a_report_stale(host, report, name):
    path = host / name
    path.write_bytes(path.read_bytes() + b"\n")
    assert not cache.is_current(report)


@pytest.mark.parametrize("name", cache.PACKAGES)
def test_a_new_file_deep_in_a_package_makes_a_report_stale(host, report, name):
    (host / name / "new" / "deeper").mkdir(parents=True)
    assert cache.is_current(report)
    (host / name / "new" / "deeper" / "module.py").write_text("")
    assert not cache.is_current(report)


def test_compiled_code_does_not_make_a_report_stale(host, report):
    (host / "core" / "__pycache__").mkdir(exist_ok=True)
    (host / "core" / "__pycache__" / "x.pyc").write_bytes(b"")
    assert cache.is_current(report)


@pytest.mark.parametrize("name", [*cache.SOURCES, "table.txt"])
def test_a_changed_file_of_the_folder_makes_a_report_stale(report, name):
    (report / name).write_bytes((report / name).read_bytes() + b"\n")
    assert not cache.is_current(report)


def test_another_version_of_a_library_makes_a_report_stale(report, monkeypatch):
    monkeypatch.setattr(cache, "_version", lambda library: "99")
    assert not cache.is_current(report)


IMPORTED = """
import sys
from bench.reporting.build import render
render(sys.argv[1])
print(*sorted({name.split(".")[1] for name in sys.modules if name.startswith("bench.")}))
"""


def test_the_stamp_covers_every_package_that_makes_a_report(tmp_path):
    save(tmp_path, trials(), benchmark())
    words = [sys.executable, "-c", IMPORTED, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    # they check the types of run.json and where matplotlib may write, and write files; no byte comes from them
    others = {"api", "registry", "store", "execution", "sandbox"}
    assert set(done.stdout.split()) - others == set(cache.PACKAGES)
