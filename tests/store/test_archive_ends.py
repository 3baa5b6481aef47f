"""An archive is imported whole or refused, exported whole or not at all, whatever disks and other processes do."""

import errno
import os
import sys
import tarfile
from pathlib import Path

import pytest
import torch

from bench import BenchError
from bench.cli import main
from bench.core.canonical import digest
from bench.core.errors import StoreError
from bench.store import archive as archive_module
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


# --- what is exported ---------------------------------------------------------------------------------------------


def linked(store, tmp_path):
    """Make files of a store hard links of each other and of a copy, and symbolic ones, as tools that save space do."""
    files = [store.folder(key) / "fingerprint.safetensors" for key in KEYS]
    for file in files[1:4]:
        file.unlink()
        os.link(files[0], file)
    os.link(store.folder(KEYS[4]) / "artifact.json", tmp_path / "record")
    files[5].rename(tmp_path / "elsewhere")
    files[5].symlink_to(tmp_path / "elsewhere")


def test_links_are_exported_as_the_files_that_they_name(store, archive, other, tmp_path):
    linked(store, tmp_path)
    assert export(store, KEYS, tmp_path / "linked.tar") == len(KEYS)
    assert (tmp_path / "linked.tar").read_bytes() == archive.read_bytes()
    assert import_archive(other, tmp_path / "linked.tar").added == len(KEYS)


def meanwhile(monkeypatch, what):
    """Let another process do something after each check of an artifact, before it is read."""
    record = Store.record

    def read(self, key):
        found = record(self, key)
        what(key)
        return found

    monkeypatch.setattr(Store, "record", read)


def test_what_another_process_removes_during_an_export_is_left_out_and_named(store, other, command, monkeypatch):
    another = Store(store.root)
    with monkeypatch.context() as patch:
        meanwhile(patch, lambda key: another.forget(key) if key == KEYS[3] else None)
        code, out, err = command("export", "some.tar", "--store", store.root)
    assert (code, out) == (1, f"{len(KEYS) - 1} artifacts written to some.tar\n")
    assert err == f"Note: {KEYS[3][:12]} is left out: another process removed or replaced it\n"
    assert import_archive(other, Path("some.tar")).added == len(KEYS) - 1


def test_an_artifact_is_exported_as_it_is_before_or_after_it_is_replaced(store, other, tmp_path, monkeypatch):
    """Before, its record could be the old one and its tensors the new ones: `import` refused it."""
    another, times = Store(store.root), iter(range(1))

    def replace(key):
        if key == KEYS[3] and next(times, None) is not None:
            another.forget(key)
            save(another, key, 2.0)

    with monkeypatch.context() as patch:
        meanwhile(patch, replace)
        assert export(store, KEYS, tmp_path / "all.tar") == len(KEYS)
    assert import_archive(other, tmp_path / "all.tar").refused == ()
    assert other.load(KEYS[3], "fingerprint")["f"].unique().tolist() == [2.0]
    assert store.quarantined == []


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_during_an_export_is_not_replaced(store, tmp_path, monkeypatch, links):
    path = tmp_path / "mine.tar"
    meanwhile(monkeypatch, lambda key: path.write_text("mine"))
    if not links:

        def refuse(*arguments, **named):
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))

        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(BenchError, match=r"mine\.tar was written by another process meanwhile: name another file$"):
        export(store, KEYS, path)
    assert path.read_text() == "mine"
    monkeypatch.undo()
    path.unlink()
    assert [p.name for p in tmp_path.iterdir()] == ["store"]


@pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP])
def test_an_archive_is_written_where_files_have_one_name_only(store, other, tmp_path, monkeypatch, number):
    def refuse(*arguments, **named):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    assert export(store, KEYS, tmp_path / "all.tar") == len(KEYS)
    assert import_archive(other, tmp_path / "all.tar").added == len(KEYS)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["all.tar", "other", "store"]


def test_a_disk_that_fails_is_the_stores_or_the_archives(store, archive, other, tmp_path, monkeypatch):
    """Before, a store that could not be read was an archive that cannot be written, and the other way round."""

    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def failing(self, mode="r", *rest, **named):
        if self.name == "fingerprint.safetensors" and mode == "rb":
            fail()
        return opened(self, mode, *rest, **named)

    opened = Path.open
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        with pytest.raises(StoreError, match=r"^The store cannot read .*fingerprint\.safetensors: Input/output error$"):
            export(store, KEYS, tmp_path / "new.tar")
    with monkeypatch.context() as patch:
        patch.setattr(archive_module.tarfile.TarFile, "addfile", fail)
        with pytest.raises(BenchError, match=r"^The archive .*new\.tar cannot be written: Input/output error$"):
            export(store, KEYS, tmp_path / "new.tar")
    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", fail)
        with pytest.raises(StoreError, match=r"^The store .* cannot be used: the disk reports an error"):
            import_archive(other, archive)
    assert not (tmp_path / "new.tar").exists()


class Failing:
    """An archive of which the tensors of the third artifact cannot be read."""

    def __init__(self, file):
        self.file, self.name, self.left = file, file.name, 2

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def seek(self, *to):
        return self.file.seek(*to)

    def read(self, size):
        if 2800 < size < 5000:
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self.file.read(size)


def test_an_archive_that_cannot_be_read_any_further_is_not_the_stores_fault(archive, other, monkeypatch):
    opened = Path.open

    def failing(self, *arguments, **named):
        file = opened(self, *arguments, **named)
        return Failing(file) if self == archive else file

    monkeypatch.setattr(Path, "open", failing)
    with pytest.raises(BenchError, match=r"^[^ ]*all\.tar cannot be read: Input/output error$"):
        import_archive(other, archive)
    assert [*other.all_keys()] == KEYS[:2]
    assert all(other.verify(key) for key in KEYS[:2])
    monkeypatch.undo()
    assert import_archive(other, archive).added == len(KEYS) - 2
