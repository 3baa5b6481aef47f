"""A store remembers who uses it: one small file per results folder, which survives whatever happens to the folder."""

import json
import os
import platform
import threading

import pytest

from bench.core.canonical import digest
from bench.core.errors import StoreError
from bench.store.store import Store
from bench.store.uses import USES, forget, remember, remembered, uses

KEYS = [digest(n) for n in range(5)]


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def digits(keys):
    return {key[:16] for key in keys}


def names(store):
    return sorted(use.name for use in uses(store).values())


def test_a_folder_and_what_it_needs_are_remembered(store, tmp_path, monkeypatch):
    assert uses(store) == {}
    assert not store.root.exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path)
    for path in ("out", "link", "./out/../out", tmp_path / "out"):
        remember(store, type(tmp_path)(path), "spec", KEYS)
    (use,) = uses(store).values()
    assert (use.path, use.name, use.machine, use.content) == (
        str(tmp_path / "out"), str(tmp_path / "out"), platform.node(), "spec",
    )  # fmt: skip
    assert use.keys == digits(KEYS)
    assert remembered(store, tmp_path / "out", "spec") == use
    assert remembered(store, tmp_path / "out", "another spec") is None
    assert use.is_found
    (tmp_path / "out").rename(tmp_path / "moved")
    assert not use.is_found
    assert names(store) == [str(tmp_path / "out")]
    forget(store, uses(store))
    forget(store, [store.root / USES / "nothing.json"])
    assert uses(store) == {}


def test_the_same_again_is_not_written_again(store, tmp_path):
    for _ in range(2):
        remember(store, tmp_path, "spec", KEYS, goes_on=True)
        (file,) = uses(store)
        os.utime(file, (0, 0))
    remember(store, tmp_path, "spec", reversed(KEYS))
    assert file.stat().st_mtime == 0


def test_the_same_results_replace_what_they_needed_and_others_are_added(store, tmp_path):
    """A plugin's version may have been raised since; a folder may have been renamed since."""
    remember(store, tmp_path, "spec", KEYS[:2])
    remember(store, tmp_path, "spec", KEYS[1:3], goes_on=True)
    assert remembered(store, tmp_path, "spec").keys == digits(KEYS[1:3])
    remember(store, tmp_path, "spec", KEYS[3:4])
    assert remembered(store, tmp_path, "spec").keys == digits(KEYS[1:4])
    remember(store, tmp_path, "another spec", KEYS[4:])
    assert len(uses(store)) == 2


def test_the_same_path_on_another_machine_loses_nothing(store, tmp_path, monkeypatch):
    remember(store, tmp_path, "spec", KEYS[:2])
    monkeypatch.setattr(platform, "node", lambda: "elsewhere")
    assert names(store)[0].endswith(f":{tmp_path}")
    remember(store, tmp_path, "spec", KEYS[2:], goes_on=True)
    (use,) = uses(store).values()
    assert (use.name, use.keys) == (str(tmp_path), digits(KEYS))


@pytest.mark.parametrize("name", [b"na\xefve", "naïve".encode(), b"new\nline", b" ", b"=1+1", b'"', b"%s" + b"x" * 200])
def test_folders_of_any_name_are_remembered(store, tmp_path, name):
    folder = tmp_path / os.fsdecode(name)
    folder.mkdir()
    remember(store, folder, "spec", KEYS)
    (use,) = uses(store).values()
    assert use.is_found
    assert os.fsencode(use.path) == os.fsencode(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "7", '{"path": 3}', '{"path": "x"}', "[" * 100_000, "\0"])
def test_a_damaged_record_is_never_taken_for_none(store, tmp_path, text):
    remember(store, tmp_path, "spec", KEYS)
    (file,) = uses(store)
    file.write_text(text)
    with pytest.raises(StoreError, match="is damaged: it records which artifacts are needed"):
        uses(store)
    remember(store, tmp_path, "spec", KEYS)
    assert len(uses(store)) == 1


def test_many_runs_that_begin_at_once_are_all_remembered(store, tmp_path):
    def begin(number):
        remember(Store(store.root), tmp_path / str(number % 4), "spec", KEYS)

    threads = [threading.Thread(target=begin, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(store) == [str(tmp_path / str(n)) for n in range(4)]
    assert all(p.suffix == ".json" and json.loads(p.read_text()) for p in (store.root / USES).iterdir())


def test_what_another_user_keeps_for_himself_is_never_taken_for_nothing(store, tmp_path, monkeypatch):
    remember(store, tmp_path, "spec", KEYS)
    listed = os.listdir, os.scandir

    def refuse(path="."):
        raise PermissionError(13, "Permission denied", str(path))

    for name in ("listdir", "scandir"):
        monkeypatch.setattr(os, name, refuse)
    with pytest.raises(StoreError, match="cannot read"):
        uses(store)
    os.listdir, os.scandir = listed
    monkeypatch.setattr(type(tmp_path), "read_bytes", refuse)
    with pytest.raises(StoreError, match="cannot read"):
        uses(store)
