"""A store on a disk without room for more files: it can be read, and space can be freed."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bench.cli import main
from bench.core.canonical import digest
from bench.core.errors import StoreError
from bench.store.locks import claim
from bench.store.maintenance import sweep
from bench.store.store import Store
from bench.store.uses import remember, uses

KEYS = sorted(digest(n) for n in range(6))
DAMAGED, NEEDED = KEYS[4], KEYS[:2]


def fill(root):
    """Make a store with a damaged artifact; it has no folder `damaged` yet."""
    store = Store(root)
    for key in KEYS:
        store.save(key, "train", {}, {"weights": {"w": torch.ones(9)}}, {"name": "train source", "inputs": {}})
    with claim(store, KEYS[0]):
        pass
    remember(store, root, "spec", NEEDED)
    (store.folder(DAMAGED) / "artifact.json").write_text("{")
    return store


def mounted(tmp_path, monkeypatch):
    """Yield a store on a disk of so many files and no more."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m,nr_inodes=80", "none", disk]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        store = fill(disk / "store")
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            for number in range(100):
                (disk / str(number)).touch()
        yield store
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def simulated(number):
    """Return a function that yields a store on a disk where every new file and folder fails."""

    def disk(tmp_path, monkeypatch):
        store = fill(tmp_path / "store")
        mkdir, opened = os.mkdir, os.open

        def refuse(path):
            if str(path).startswith(str(store.root)) and not os.path.lexists(path):
                raise OSError(number, os.strerror(number), str(path))

        def no_mkdir(path, *rest, **named):
            refuse(path)
            return mkdir(path, *rest, **named)

        def no_open(path, flags, *rest, **named):
            if flags & os.O_CREAT:
                refuse(path)
            return opened(path, flags, *rest, **named)

        def no_write(self, mode="r", *rest, **named):
            if set(mode) & set("wxa"):
                refuse(self)
            return path_open(self, mode, *rest, **named)

        path_open = Path.open
        monkeypatch.setattr(os, "mkdir", no_mkdir)
        monkeypatch.setattr(os, "open", no_open)
        monkeypatch.setattr(Path, "open", no_write)
        yield store

    return disk


@pytest.fixture(params=[mounted, simulated(errno.ENOSPC), simulated(errno.EDQUOT)], ids=["tmpfs", "ENOSPC", "EDQUOT"])
def full(request, tmp_path, monkeypatch):
    yield from request.param(tmp_path, monkeypatch)


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Run `bench store`; return its exit code, output and errors."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", "store", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err
        return end.value.code, printed.out, printed.err

    return run


def test_a_damaged_artifact_that_cannot_be_moved_is_reported_and_counts_as_missing(full, command):
    """Before, it stopped every command."""
    assert full.record(DAMAGED) is None
    assert not full.is_complete(DAMAGED)
    assert full.quarantined == [DAMAGED]
    stays = f"damaged, but may not be moved: {DAMAGED}"
    for words, code, last in (
        (("list",), 0, stays),
        (("verify",), 1, "5 artifacts are valid, 1 were damaged"),
        (("export", "all.tar"), 1, "5 artifacts written to all.tar"),
        (("size",), 0, ""),
    ):
        found, out, err = command(*words, "--store", full.root)
        assert (found, err) == (code, "")
        assert words == ("size",) or stays in out.splitlines()
        assert out.splitlines()[-1].startswith(last)


@pytest.mark.parametrize("tmp", [True, False])
def test_gc_frees_space_on_a_full_disk(full, command, monkeypatch, tmp):
    if not tmp:
        (full.root / "tmp").rmdir()
        if os.path.ismount(full.root.parent):
            (full.root.parent / "another").touch()
    code, out, err = command("gc", "--all", "--yes", "--store", full.root)
    assert (code, err) == (0, "")
    assert "2 artifacts are kept" in out
    assert "removed 4 artifacts" in out
    assert [*full.all_keys()] == NEEDED
    assert sorted(p for p in (full.root / "artifacts").rglob("*") if p.is_file()) == sorted(
        path for key in NEEDED for path in full.folder(key).iterdir()
    )
    code, _, err = command("gc", "--all", "--yes", "--store", full.root, "--forget", full.root)
    assert (code, err, uses(full)) == (0, "", {})
    assert [*full.all_keys()] == []


def test_what_was_moved_aside_by_a_killed_gc_is_swept(tmp_path, monkeypatch):
    store = fill(tmp_path / "store")
    (store.root / "tmp").rmdir()
    mkdir = os.mkdir

    def refuse(path, *rest, **named):
        if not str(path).endswith("tmp"):
            return mkdir(path, *rest, **named)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with monkeypatch.context() as patch:
        patch.setattr(os, "mkdir", refuse)
        patch.setattr("bench.store.folders.shutil.rmtree", lambda *path, **options: None)
        assert store.forget(KEYS[0])
    assert KEYS[0] not in [*store.all_keys()]
    (left,) = (store.root / "artifacts").glob("*/.*")
    sweep(store)
    assert left.exists()
    os.utime(left, (1, 1))
    sweep(store)
    assert not left.exists()


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_disk_that_fails_is_not_taken_for_a_full_one(tmp_path, monkeypatch, number):
    store = fill(tmp_path / "store")

    def fail(*arguments, **named):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(StoreError, match="cannot be used"):
        store.record(DAMAGED)
    with pytest.raises(StoreError, match="cannot be used"):
        store.forget(KEYS[0])
    assert [*store.all_keys()] == KEYS
