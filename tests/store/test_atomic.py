"""A file is the old one or the whole new one, and is synced together with its folder."""

import errno
import os
import stat

import pytest

from bench.results.writer import partials
from bench.store.atomic import sync, temporary_file, write_atomically


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
