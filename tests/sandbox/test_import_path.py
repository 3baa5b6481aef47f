"""Files of the working folder hide no module from any process of bench."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.sandbox.child_processes import SAFE_PATH, safe_start
from bench.sandbox.import_path import is_working_folder, without_working_folder, working_folder_last
from bench.sandbox.supervised_process import SupervisedProcess

LIBRARY = str(Path(os.__file__).parent)
SCRIPT = Path(sys.executable).with_name("bench")
LOUD = "import sys\nsys.stderr.write('a file of the user was imported: ' + __name__)\nraise SystemExit(77)\n"
LIBRARIES = ("numpy", "torch", "pluggy", "click", "rich", "dask", "distributed", "yaml", "cupy", "numba", "uvloop")
LATE = (
    "random",
    "queue",
    "csv",
    "inspect",
    "dataclasses",
    "tempfile",
    "logging",
    "ssl",
    "secrets",
    "statistics",
    "uuid",
)
"""Modules that neither Python nor the script `bench` itself imports at its start."""


def hide(folder, names):
    for name in names:
        (folder / f"{name}.py").write_text(LOUD)


def environment(**changes):
    return {**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **changes}


def ran(folder, *words, **changes):
    return subprocess.run([*map(str, words)], cwd=folder, env=environment(**changes), capture_output=True, text=True)


def test_the_working_folder_comes_last_or_is_left_out(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    here, site = str(tmp_path), f"{LIBRARY}/site-packages"
    for entry in ("", ".", here, f"{here}/"):
        assert working_folder_last([entry, "/other", LIBRARY, site], keep=False) == ["/other", LIBRARY, site]
        assert working_folder_last([entry, entry, LIBRARY], keep=True) == [LIBRARY, here]
    assert working_folder_last(["/other", LIBRARY, here], keep=True) == ["/other", LIBRARY, here]
    link = tmp_path.parent / f"{tmp_path.name}-link"
    link.symlink_to(tmp_path)
    assert is_working_folder(str(link))
    assert without_working_folder(os.pathsep.join(["", "/other", str(link), "."])) == "/other"


def test_installed_packages_are_found_from_within_their_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert working_folder_last([str(tmp_path), LIBRARY, str(tmp_path)], keep=False) == [LIBRARY, str(tmp_path)]


def test_a_working_folder_that_was_removed_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    try:
        assert working_folder_last(["/other", LIBRARY], keep=True) == ["/other", LIBRARY]
    finally:
        monkeypatch.undo()


def test_python_m_bench_imports_nothing_of_the_users(tmp_path):
    hide(tmp_path, {*sys.stdlib_module_names, *LIBRARIES} - {"bench"})
    done = ran(tmp_path, sys.executable, "-m", "bench", "--version")
    assert (done.returncode, done.stderr) == (0, "")
    done = ran(tmp_path, sys.executable, "-mbench", "--version")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("entries", ["", ":", f"{os.pathsep}/nonexistent", ".", "HERE"])
@pytest.mark.parametrize(
    "command", [("-m", "bench"), (Path(sys.executable).with_name("bench"),)], ids=["module", "script"]
)
def test_an_entry_of_pythonpath_hides_nothing_either(tmp_path, command, entries):
    hide(tmp_path, (*LATE, *LIBRARIES))
    entries = entries.replace("HERE", str(tmp_path))
    done = ran(tmp_path, sys.executable, *command, "list", "--help", PYTHONPATH=entries)
    assert (done.returncode, done.stderr) == (0, "")


def test_other_programs_keep_their_path(tmp_path):
    (tmp_path / "program.py").write_text("import sys, bench\nprint(sys.path[0])\n")
    (tmp_path / "random.py").write_text("mine = True\n")
    done = ran(tmp_path, sys.executable, "-m", "program")
    assert Path(done.stdout.strip()).samefile(tmp_path)
    done = ran(tmp_path, sys.executable, "-m", "program", "bench")
    assert Path(done.stdout.strip()).samefile(tmp_path)


def seen(send):
    send((sys.path, os.environ.get("PYTHONPATH"), os.environ.get("PYTHONSAFEPATH"), sys.flags.safe_path))


@pytest.mark.parametrize("chosen", ["", "1"])
def test_a_process_that_is_started_finds_installed_packages_first(tmp_path, monkeypatch, chosen):
    hide(tmp_path, (*LATE, "threading", "types", "signal", "struct", *LIBRARIES))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}/nonexistent")
    monkeypatch.setenv("PYTHONSAFEPATH", chosen)
    path = sys.path.copy()
    process = SupervisedProcess(60.0)
    try:
        ((found, entries, safe, flag),) = process.submit(seen)
    finally:
        process.close()
    assert found[-1] == str(tmp_path)  # as the parent, but last
    assert str(tmp_path) not in found[:-1]
    assert (entries, safe or "", flag) == ("/nonexistent", chosen, True)  # others are started as the user chose
    assert (sys.path, os.environ["PYTHONPATH"]) == (path, f"{os.pathsep}/nonexistent")


def test_a_safe_start_leaves_nothing_behind(monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    before = dict(os.environ)
    with safe_start():
        assert os.environ["PYTHONSAFEPATH"] == SAFE_PATH
        assert "PYTHONPATH" not in os.environ
        os.environ["LEFT_BY_DASK"] = "1"
    assert dict(os.environ) == before
