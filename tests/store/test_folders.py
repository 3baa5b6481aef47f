"""Where the store and the data are, with and without a home folder."""

import os
import pwd
from pathlib import Path

import pytest

from bench import BenchError
from bench.datasets.files import data_root
from bench.store.folders import default_root
from bench.store.store import Store


def test_tests_have_a_data_folder_that_need_not_be_the_users_own():
    """Image folders that a user has added would be among the components that tests count."""
    assert os.environ["BENCH_DATA"]


@pytest.fixture
def homeless(monkeypatch):
    """Be a user without a home folder, as in a container that was started with a number for a user."""

    def fail(user):
        raise KeyError(user)

    for name in ("HOME", "XDG_CACHE_HOME", "BENCH_STORE", "BENCH_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", fail)


def test_without_a_home_folder_the_error_names_the_way_out(homeless, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for find, option in ((default_root, "--store or $BENCH_STORE"), (data_root, "--data or $BENCH_DATA")):
        with pytest.raises(BenchError) as caught:
            find()
        assert str(caught.value) == f"No home folder is known for this user: set HOME, or use {option}"
    assert list(tmp_path.iterdir()) == []  # no folder of the name ~


def test_without_a_home_folder_a_named_one_will_do(homeless, tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "store"))
    assert default_root() == tmp_path / "store"
    assert data_root(str(tmp_path / "data")) == tmp_path / "data"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root() == tmp_path / "fingerprint-bench" / "data"


@pytest.mark.parametrize("find", [data_root, Store])
def test_the_home_of_a_user_who_does_not_exist_is_one_line(find):
    with pytest.raises(BenchError, match=r"^No home folder is known for ~no_such_user/x: set HOME, or use --"):
        find("~no_such_user/x")


def test_the_users_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setenv("BENCH_STORE", "~/store")
    assert default_root() == Path("/somewhere/store")
