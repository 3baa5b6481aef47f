"""What the shell and the machine set is checked before anything is trained."""

import os
import re
import tempfile

import pytest

from bench import BenchError
from bench.execution import environment
from bench.execution.environment import INTEGERS, check_environment
from bench.reporting.html.svg import drawing


@pytest.fixture(autouse=True)
def clean(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (*INTEGERS, "GOMP_CPU_AFFINITY", "MATPLOTLIBRC", "MPLCONFIGDIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_nothing_is_wrong_where_nothing_is_set():
    check_environment()


@pytest.mark.parametrize("name", INTEGERS)
@pytest.mark.parametrize("value", ["", "two", "1.5"])
def test_a_number_that_is_none_is_refused(monkeypatch, name, value):
    monkeypatch.setenv(name, "2")
    check_environment()
    monkeypatch.setenv(name, value)
    with pytest.raises(BenchError, match=f"^The variable {name} is '{value}', not an integer: correct or unset it$"):
        check_environment()


@pytest.mark.parametrize("value", ["0", "0-3", "0 2-6:2,7"])
def test_a_list_of_processors_is_accepted(monkeypatch, value):
    monkeypatch.setenv("GOMP_CPU_AFFINITY", value)
    check_environment()


def test_what_is_no_list_of_processors_is_refused(monkeypatch):
    monkeypatch.setattr(environment, "AFFINITY", re.compile("0"))  # so that a value which libraries read is refused
    monkeypatch.setenv("GOMP_CPU_AFFINITY", "0-3")
    with pytest.raises(BenchError, match=r"^The variable GOMP_CPU_AFFINITY is '0-3', no list such as 0-3: correct or"):
        check_environment()


def test_no_folder_for_temporary_files_is_refused(monkeypatch):
    def fail():
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", fail)
    with pytest.raises(BenchError, match="no folder for temporary files: set TMPDIR"):
        check_environment()


@pytest.mark.parametrize("place", ["matplotlibrc", "named", "named/matplotlibrc", ".config/matplotlib/matplotlibrc"])
@pytest.mark.parametrize("variable", ["MATPLOTLIBRC", "MPLCONFIGDIR", "XDG_CONFIG_HOME"])
def test_a_configuration_that_matplotlib_cannot_read_is_refused(tmp_path, monkeypatch, place, variable):
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("lines.linewidth: 2\n")
    monkeypatch.setenv(variable, str(tmp_path / "named"))
    check_environment()
    path.write_bytes(b"\xff\xfe\x00: 2\n")
    for check in (check_environment, drawing().__enter__):
        with pytest.raises(
            BenchError, match=r"matplotlib cannot read its configuration .*: .*Correct or remove the file"
        ):
            check()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_configuration_that_may_not_be_read_is_refused(tmp_path):
    (tmp_path / "matplotlibrc").touch(mode=0)
    with pytest.raises(BenchError, match="matplotlib cannot read its configuration"):
        check_environment()
