"""Artifacts that are copied since they cannot be renamed: no other process takes what is half copied for damaged."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import pytest
import torch

from bench.core.canonical import digest
from bench.core.errors import StoreError
from bench.store import atomic
from bench.store.maintenance import quarantined_folders, sweep
from bench.store.store import Store

KEY = digest("a task")
FILES = {"weights": {"w": torch.ones(900)}, "answers": {"a": torch.ones(9)}}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def save(store, key=KEY):
    return store.save(key, "train", {}, FILES, {"name": "train source"})


def top(path):
    """Return the folder below the store in which something is."""
    parts = Path(path).parts
    return parts[parts.index("store") + 1]


def other_disk(patch):
    """Let folders of a store be renamed inside one of its folders only: the others are links to other disks."""
    rename = os.rename

    def between(source, target, **named):
        if Path(source).is_dir() and top(source) != top(target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(source, target, **named)

    patch.setattr(os, "rename", between)


def no_folder_moves(patch):
    rename = os.rename

    def refuse(source, target, **named):
        if Path(source).is_dir():
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
        return rename(source, target, **named)

    patch.setattr(os, "rename", refuse)


class Reader:
    """Another process, which looks at an artifact at any moment; what it finds is in `found`."""

    def __init__(self, store):
        self.store, self.found, self.threads = Store(store.root), [], []

    def look(self):
        self.found.append(self.store.record(KEY))

    def start(self):
        """Look while the writer goes on."""
        self.threads.append(threading.Thread(target=self.look))
        self.threads[-1].start()
        time.sleep(0.1)

    def check(self, record):
        for thread in self.threads:
            thread.join()
        assert self.store.quarantined == []
        assert quarantined_folders(self.store) == []
        assert all(found in (None, record) for found in self.found)
        assert self.store.is_whole(KEY)


@pytest.mark.parametrize("break_it", [other_disk, no_folder_moves])
def test_nobody_sees_an_artifact_that_is_half_copied(store, monkeypatch, break_it):
    """Before, each look at it quarantined what was there."""
    reader, copyfile = Reader(store), shutil.copyfile
    break_it(monkeypatch)

    def copy(source, target):
        copyfile(source, target)
        reader.look()

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", copy)
        record = save(store)
    assert reader.found == [None] * 3
    reader.check(record)
    assert [*store.all_keys()] == [KEY]
    assert [*(store.root / "tmp").iterdir()] == []
    assert [p.name for p in store.folder(KEY).parent.iterdir()] == [KEY]


def test_where_no_folder_can_be_renamed_others_wait_for_the_last_file(store, monkeypatch):
    reader = Reader(store)
    no_folder_moves(monkeypatch)
    rename = os.rename

    def slow(source, target, **named):
        if Path(target).parent == store.folder(KEY):
            reader.start()
        return rename(source, target, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", slow)
        record = save(store)
    assert len(reader.threads) == 3
    reader.check(record)
    assert record in reader.found


def test_a_record_that_is_copied_over_the_old_one_is_waited_for(store, monkeypatch):
    """As where no file can replace another one."""
    save(store)
    reader, copyfile = Reader(store), shutil.copyfile

    def refuse(source, target):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    def slow(source, target):
        Path(target).write_bytes(Path(source).read_bytes()[:90])
        reader.start()
        copyfile(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        patch.setattr(shutil, "copyfile", slow)
        assert store.drop(KEY, "weights")
    (thread,) = reader.threads
    thread.join()
    assert reader.found == [store.record(KEY)]
    assert reader.store.quarantined == []
    assert reader.found[0]["dropped"] == ["weights.safetensors"]


def test_a_record_that_stays_half_written_is_quarantined(store):
    save(store)
    folder = store.folder(KEY)
    (folder / ".artifact.json.0.part").write_bytes(b"")
    (folder / "artifact.json").write_bytes((folder / "artifact.json").read_bytes()[:90])
    assert store.record(KEY) is None
    assert store.quarantined == [KEY]


@pytest.mark.parametrize("move", ["save", "forget", "quarantine"])
def test_what_a_killed_process_left_half_copied_is_swept(store, monkeypatch, move):
    if move != "save":
        save(store)
    copyfile, done = shutil.copyfile, []

    def dying(source, target):
        copyfile(source, target)
        done.append(target)
        if len(done) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        other_disk(patch)
        patch.setattr(shutil, "copyfile", dying)
        patch.setattr(atomic, "_remove", lambda path: None)
        with pytest.raises(StoreError):
            save(store) if move == "save" else getattr(store, move)(KEY)
    left = done[0].parent
    assert left.name.startswith(f".{KEY}") and left.is_dir()
    assert [*store.all_keys()] == ([] if move == "save" else [KEY])
    sweep(store)
    assert left.is_dir()
    os.utime(left, (1, 1))
    if move != "quarantine":  # in `damaged` it is quarantined, like what is whole
        sweep(store)
        assert not left.is_dir()
    assert (left in quarantined_folders(store)) == (move == "quarantine")
    save(store)
    assert store.is_whole(KEY)
