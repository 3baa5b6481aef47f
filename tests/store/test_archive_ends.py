"""An archive is imported whole or refused, exported whole or not at all, whatever disks and other processes do."""

import errno
import os
import sys
import tarfile

import pytest
import torch

from bench import BenchError
from bench.cli import main
from bench.core.canonical import digest
from bench.store.archive import export, import_archive
from bench.store.store import Store
from bench.store.uses import DIGITS, remember, uses

KEYS = sorted(digest(n) for n in range(8))
MADE = {"name": "fingerprint toy", "seconds": 1.5, "device": "cpu", "threads": 1, "torch": "2", "machine": "here"}


def save(store, key, value=1.0):
    files = {"fingerprint": {"f": torch.full((700,), value)}}
    facts = {"notes": {}, "networks": 0, "helper_seconds": 0}
    return store.save(key, "fingerprint", facts, files, {**MADE, "inputs": {}, "sources": {}})


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    for key in KEYS:
        save(store, key)
    return store


@pytest.fixture
def archive(store, tmp_path):
    assert export(store, KEYS, tmp_path / "all.tar") == len(KEYS)
    return tmp_path / "all.tar"


@pytest.fixture
def other(tmp_path):
    return Store(tmp_path / "other")


# --- archives that were not copied whole --------------------------------------------------------------------------


def zeroed(text, start, end=None):
    """Put zeros in place of a part."""
    end = len(text) if end is None else end
    return text[:start] + bytes(end - start) + text[end:]


DAMAGE = {
    "one header": lambda text, at: zeroed(text, at, at + 512),
    "one header and the next block": lambda text, at: zeroed(text, at, at + 1024),
    "all that a download did not reach": lambda text, at: zeroed(text, at),
    "another archive after it": lambda text, at: text + text,
    "text after it": lambda text, at: text + b"x",
    "zeros after it": lambda text, at: text + bytes(512),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_an_archive_that_goes_on_after_its_end_is_refused_and_nothing_is_imported(archive, other, case):
    """tarfile, and bench before, take a block of zeros for the end."""
    with tarfile.open(archive) as tar:
        at = tar.getmembers()[5].offset
    archive.write_bytes(DAMAGE[case](archive.read_bytes(), at))
    with pytest.raises(BenchError, match=r"^[^\n]* is damaged or incomplete after its last whole member[^\n]*$"):
        import_archive(other, archive)
    assert not other.root.exists()


def test_an_archive_whose_end_was_cut_is_refused(archive, other):
    text = archive.read_bytes()
    with tarfile.open(archive) as tar:
        last = tar.getmembers()[-1]
    end = last.offset_data + -(-last.size // 512) * 512
    for length in (end + 1, end + 512, end + 1023):
        archive.write_bytes(text[:length])
        with pytest.raises(BenchError, match="ends early"):
            import_archive(other, archive)
    archive.write_bytes(text[: end + 1024])  # padding has nothing to say
    assert import_archive(other, archive).added == len(KEYS)


def test_an_archive_of_no_artifacts_has_an_end_too(store, other, tmp_path):
    assert export(store, [], tmp_path / "none.tar") == 0
    assert import_archive(other, tmp_path / "none.tar").added == 0
    (tmp_path / "none.tar").write_bytes(bytes(1 << 20))
    with pytest.raises(BenchError, match="damaged or incomplete"):
        import_archive(other, tmp_path / "none.tar")


# --- who needs what was imported ----------------------------------------------------------------------------------


@pytest.fixture
def command(monkeypatch, capfd, tmp_path):
    """Run `bench store` in a folder without results; return its exit code, output and errors."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["bench", "store", *map(str, arguments)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capfd.readouterr()
        assert "Traceback" not in printed.err
        return end.value.code, printed.out, printed.err

    return run


class Killed(BaseException):
    """The end of a process."""


@pytest.mark.parametrize("after", range(3))
def test_a_killed_import_leaves_nothing_that_gc_would_remove(archive, other, command, monkeypatch, after):
    commit, done = Store.commit, []

    def dying(self, staged):
        commit(self, staged)
        done.extend(staged)
        if len(done) > after:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", dying)
        patch.setattr(sys, "argv", ["bench", "store", "import", str(archive), "--store", str(other.root)])
        with pytest.raises(Killed):
            main()
    assert [*other.all_keys()] == done
    code, out, _ = command("gc", "--store", other.root, "--all", "--yes")
    assert (code, [*other.all_keys()]) == (0, done)
    assert f"{len(done)} artifacts are kept ({archive}); 0 to remove" in out
    assert command("import", archive, "--store", other.root)[0] == 0
    (use,) = uses(other).values()
    assert use.keys == {key[:DIGITS] for key in KEYS}


def test_an_archive_of_which_nothing_is_imported_needs_nothing(archive, other, command):
    archive.write_bytes(archive.read_bytes().replace(b'"kind":"fingerprint"', b'"kind":"fingerprimt"'))
    code, _, err = command("import", archive, "--store", other.root)
    assert (code, err.count("refused")) == (1, len(KEYS))
    assert uses(other) == {}


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC])
def test_an_import_that_cannot_be_recorded_is_noted(archive, other, command, monkeypatch, number):
    mkdir = os.mkdir

    def refuse(path, *rest, **named):
        if str(path).endswith("uses"):
            raise OSError(number, os.strerror(number), str(path))
        return mkdir(path, *rest, **named)

    monkeypatch.setattr(os, "mkdir", refuse)
    code, out, err = command("import", archive, "--store", other.root)
    assert (code, out) == (0, f"{len(KEYS)} artifacts imported, 0 existed already, 0 refused\n")
    why = {errno.EACCES: "permission is denied", errno.ENOSPC: "the disk is full"}[number]
    assert err == (
        f"Note: the store {other.root} cannot record that {archive} uses it ({why}): `bench store gc` may remove its "
        "artifacts\n"
    )
    monkeypatch.undo()
    remember(other, archive, "archive", KEYS)
    assert command("import", archive, "--store", other.root)[2] == ""
