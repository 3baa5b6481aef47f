"""A file is the old one or the whole new one, and is synced together with its folder."""

import errno
import os
import stat

import pytest

from bench.core.errors import BenchError
from bench.results.writer import partials
from bench.store.atomic import new_folder, sync, temporary_file, write_atomically


@pytest.fixture
def synced(monkeypatch):
    """Return the kinds (file or folder) of what was synced, in order."""
    kinds, fsync = [], os.fsync

    def record(handle):
        kinds.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", record)
    return kinds


@pytest.mark.parametrize("content", ["text\nä\r\n", b"\x00\xff"])
def test_content_is_written_as_it_is_and_synced(tmp_path, synced, content):
    for _ in range(2):
        write_atomically(tmp_path / "file", content)
    assert (tmp_path / "file").read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert synced == ["file", "folder"] * 2
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_an_error_leaves_the_old_file_and_no_temporary_one(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(ZeroDivisionError), temporary_file(tmp_path / "file") as temporary:
        temporary.write_text("half")
        assert partials(tmp_path) == [temporary], "what a killed run leaves is recognised"
        raise ZeroDivisionError
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "nowhere" / "file", "new")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"file": "old"}


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_only_a_folder_that_cannot_be_synced_is_left_alone(tmp_path, monkeypatch, code):
    def refuse(handle):
        raise OSError(code, os.strerror(code))

    (tmp_path / "file").write_text("")
    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(OSError, match=os.strerror(code)):
        sync(tmp_path / "file")
    if code == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(code)):
            sync(tmp_path)
    else:
        sync(tmp_path)


def fill(folder):
    with new_folder(folder, "last") as new:
        (new / "last").write_text("z")
        (new / "part").mkdir()
        (new / "part" / "file").write_text("a")


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}


WHOLE = {"last": "z", "part/file": "a"}


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("renamed", [True, False])
def test_a_new_folder_is_whole_and_an_empty_one_stays_the_same(tmp_path, exists, renamed, monkeypatch):
    folder = tmp_path / "here" / "new"
    if exists:
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)  # it may be a working directory, or a mount point
    if not renamed:  # as into a mount point

        def refuse(self, target):
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

        monkeypatch.setattr(type(folder), "rename", refuse)
    number = folder.stat().st_ino if exists else 0
    fill(folder)
    assert content(folder) == WHOLE
    assert not exists or folder.stat().st_ino == number
    assert [p.name for p in folder.parent.iterdir()] == ["new"]


def test_the_name_of_a_new_folder_is_synced(tmp_path, synced):
    fill(tmp_path / "new")
    assert synced == ["folder"]


def test_a_new_folder_whose_parent_cannot_be_written(tmp_path, monkeypatch):
    folder = tmp_path / "new"
    folder.mkdir()
    make = type(folder).mkdir

    def mkdir(self, *arguments, **options):
        if self.parent == tmp_path and self.name != "new":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(self))
        return make(self, *arguments, **options)

    monkeypatch.setattr(type(folder), "mkdir", mkdir)
    fill(folder)
    assert content(folder) == WHOLE
    with pytest.raises(BenchError, match=r"other cannot be written: Read-only file system\. Choose another folder"):
        fill(tmp_path / "other")


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("when", [0, 1, 2])
def test_a_new_folder_that_fails_leaves_nothing(tmp_path, monkeypatch, exists, when):
    folder = tmp_path / "new"
    if exists:
        folder.mkdir()
    rename, done = type(folder).rename, []

    def fail(self, target):
        done.append(self)
        if len(done) == when:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return rename(self, target)

    monkeypatch.setattr(type(folder), "rename", fail)
    with pytest.raises(BenchError, match="new cannot be written: No space"), new_folder(folder, "last") as new:
        (new / "last").write_text("z")
        (new / "first").write_text("a")
        if when == 0 or (when == 2 and not exists):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*")] == ["new"] * exists
