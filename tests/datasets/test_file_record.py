"""Data files that changed after a run used them are noticed; absent files, and touched ones, are no change."""

import hashlib
import json
import os
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file

from bench import BenchError, Split
from bench.core.errors import StoreError
from bench.datasets import file_record
from bench.datasets.observation import observed
from bench.execution.benchmark import run_benchmark
from bench.execution.preparation import BenchmarkRequest
from bench.planning.declarations import declare
from bench.store.archive import export, import_archive
from bench.store.record_schema import is_valid
from bench.store.store import Store
from bench.testing.toy_plugins import ToyImages
from bench.testing.toy_run import toy_registry, toy_spec


def array(path, *values):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(values, dtype=np.int64))
    return "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest()


class Stored(ToyImages):
    """Toy images that are changed by what files hold."""

    def load(self, root, train):
        split = super().load(root, train)
        return Split((split.images // 2 + self.shift(root)).to(torch.uint8), split.labels)


@dataclass(frozen=True)
class Checked(Stored):
    """One file with a published checksum, and one without."""

    name: str = "checked"
    published: str = ""

    @property
    def checksums(self):
        return {"checked/a.npy": self.published, "checked/b.npy": ""}

    def shift(self, root):
        return int(np.load(root / "checked/a.npy").sum() + np.load(root / "checked/b.npy").sum()) % 3


@dataclass(frozen=True)
class Silent(Stored):
    """A file and a folder that it does not declare."""

    name: str = "silent"

    def shift(self, root):
        numbers = [int(path.read_text()) for path in (root / "silent/many").glob("[0-9]*")]
        return (int(np.load(root / "silent/a.npy").sum()) + sum(numbers)) % 3


class World:
    """A data folder, a store, and runs of one dataset."""

    def __init__(self, folder):
        self.root, self.folder, self.store = folder / "data", folder, Store(folder / "store")
        published = [array(self.root / f"{name}.npy", 1, 2, 3) for name in ("checked/a", "checked/b", "silent/a")]
        self.registry = toy_registry(Checked(published=published[0]), Silent())
        (self.root / "silent/many").mkdir()
        for number in range(3):
            (self.root / f"silent/many/{number}.txt").write_text(str(number))

    def run(self, dataset, root=None, store=None, **options):
        recipe = {"epochs": 0.5}
        small = {"suspects": ("toy_net",), "attacks": ("toy_tune",), "methods": ("toy_match",), "copies": 1}
        spec = toy_spec(datasets=(dataset,), replicates=1, **small, **recipe)
        where = (self.registry, store or self.store, root or self.root, self.folder / dataset)
        return run_benchmark(BenchmarkRequest(spec, declare(spec, self.registry), *where, inline=True, **options))

    def data_key(self):
        (key,) = [key for key in self.store.all_keys() if self.store.record(key)["kind"] == "data"]
        return key


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.fixture
def digested(monkeypatch):
    """List the names of the data files that are digested."""
    names, digest = [], file_record.file_digest

    def count(path):
        if path.suffix != ".safetensors":
            names.append(path.name)
        return digest(path)

    monkeypatch.setattr(file_record, "file_digest", count)
    return names


def overwrite(path, keep_times=False):
    """Write other content of the same size."""
    before = path.stat()
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


# --- changed --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep_times", [False, True], ids=["", "times kept"])
@pytest.mark.parametrize(
    "name", ["checked/a.npy", "checked/b.npy", "silent/a.npy"], ids=["checksum", "declared", "undeclared"]
)
def test_a_file_that_changed_is_an_error_that_names_the_way_out(world, name, keep_times):
    dataset = name.partition("/")[0]
    first = world.run(dataset)
    assert first.complete
    overwrite(world.root / name, keep_times)
    with pytest.raises(BenchError, match=rf"{name} changed\. Put the old files back.*--refresh {dataset}$") as error:
        world.run(dataset)
    assert "\n" not in str(error.value) and "use another store (--store)" in str(error.value)
    if name == "checked/a.npy":
        with pytest.raises(BenchError, match=r"a.npy: damaged"):
            world.run(dataset, refresh=(dataset,))
    else:
        assert world.run(dataset, refresh=(dataset,)).executed == first.executed
        assert world.run(dataset).executed == 0


def test_a_replaced_file_of_another_size_and_the_old_time_is_an_error(world):
    world.run("silent")
    path = world.root / "silent/a.npy"
    before = path.stat()
    array(path, *range(9))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BenchError, match=r"silent/a.npy changed"):
        world.run("silent")


def test_a_file_that_joins_or_leaves_a_listed_folder_is_an_error_and_others_are_not(world):
    world.run("silent")
    many = world.root / "silent/many"
    (many / "README.md").write_text("nothing that load reads")
    (many / "notes").write_text("without a suffix")
    (world.root / "silent/b.npy").write_text("in a folder that nobody listed")
    assert world.run("silent").executed == 0
    (many / "3.txt").write_text("3")
    with pytest.raises(BenchError, match=r"silent/many/3.txt was added\. Put"):
        world.run("silent")
    (many / "3.txt").unlink()
    (many / "0.txt").unlink()
    with pytest.raises(BenchError, match=r"silent/many/0.txt was removed\. Put"):
        world.run("silent")


def test_many_changes_are_one_line(world):
    world.run("silent")
    for number in range(3):
        (world.root / f"silent/many/{number}.txt").write_text("7")
    with pytest.raises(BenchError, match=r"silent/many/0.txt changed \(and 2 more\)\. Put"):
        world.run("silent")


def test_pictures_without_a_suffix_are_compared_too(world):
    folder = world.root / "silent/many"
    for path in folder.iterdir():
        path.rename(path.with_suffix(""))
    world.run("silent")
    (folder / "3").write_text("3")
    with pytest.raises(BenchError, match=r"silent/many/3 was added"):
        world.run("silent")


# --- no change ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dataset", ["checked", "silent"])
def test_absent_files_do_not_stop_a_run_that_needs_none(world, dataset):
    first = world.run(dataset)
    shutil.rmtree(world.root)
    again = world.run(dataset)
    assert (again.executed, again.cached, again.complete) == (0, first.executed, True)
    (world.root / "silent/many").mkdir(parents=True)
    assert world.run(dataset).executed == 0, "an empty folder"


def test_unchanged_files_are_not_digested_and_touched_ones_once(world, digested):
    world.run("silent")
    assert sorted(digested) == ["0.txt", "1.txt", "2.txt", "a.npy"]
    digested.clear()
    world.run("silent")
    assert digested == []
    (world.root / "silent/many/1.txt").touch()
    for _ in range(2):
        assert world.run("silent").executed == 0
        assert digested == ["1.txt"]
    overwrite(world.root / "silent/a.npy", keep_times=True)
    with pytest.raises(BenchError, match=r"silent/a.npy changed"):
        world.run("silent")


def test_a_store_of_another_machine_is_compared_once_and_remembered_beside_the_data(world, digested):
    """The other machine has the same files with other times; its key and so its artifacts are the same."""
    first = world.run("silent")
    export(world.store, world.store.all_keys(), world.folder / "all.tar")
    other, root = Store(world.folder / "other"), world.folder / "copy"
    assert import_archive(other, world.folder / "all.tar").added == first.executed
    for path in sorted(p for p in world.root.rglob("*") if p.is_file() and p.name != ".verified.json"):
        (root / path.relative_to(world.root)).parent.mkdir(parents=True, exist_ok=True)
        (root / path.relative_to(world.root)).write_bytes(path.read_bytes())
    digested.clear()
    for _ in range(2):
        assert world.run("silent", root, other).executed == 0
        assert sorted(digested) == ["0.txt", "1.txt", "2.txt", "a.npy"]
    overwrite(root / "silent/a.npy", keep_times=True)
    with pytest.raises(BenchError, match=r"silent/a.npy changed"):
        world.run("silent", root, other)


def test_an_old_artifact_without_a_record_is_used(world):
    """A data artifact of a dataset without files is exactly what bench wrote before: one file."""
    world.run("toy")
    record = world.store.record(world.data_key())
    assert list(record["files"]) == ["data.safetensors"]
    assert is_valid(record)
    assert world.run("toy").executed == 0


def test_a_damaged_record_quarantines_the_artifact(world):
    first = world.run("silent")
    key = world.data_key()
    overwrite(world.store.folder(key) / "files.safetensors")
    again = world.run("silent")
    assert (again.executed, again.complete, world.store.quarantined) == (0, True, [key])
    assert world.run("silent", refresh=("toy_net",)).executed == first.executed, "with the data"
    assert world.store.is_complete(key)


def test_the_record_is_read_where_files_cannot_be_mapped(world, monkeypatch):
    def fail(*arguments, **named):
        raise SafetensorError("No such device (os error 19)")

    world.run("silent")
    key = world.data_key()
    monkeypatch.setattr(safetensors.numpy, "load_file", fail)
    assert world.run("silent").executed == 0
    assert world.store.quarantined == []
    assert world.store.is_complete(key)


def test_a_record_that_may_not_be_read_is_not_taken_for_damaged(world, monkeypatch):
    world.run("silent")
    path, read = world.store.folder(world.data_key()) / "files.safetensors", Path.open

    def refuse(self, *arguments, **named):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return read(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreError, match=f"^The store cannot read {path}: Permission denied"):
        world.run("silent")
    assert world.store.quarantined == []
    assert path.is_file()


# --- the record -----------------------------------------------------------------------------------------------------


def test_the_record_holds_size_times_and_digest_of_each_file_and_no_absolute_path(world):
    world.run("silent")
    key = world.data_key()
    found = json.loads(load_file(world.store.folder(key) / "files.safetensors")["json"].tobytes())
    path = world.root / "silent/a.npy"
    stat, digest = path.stat(), hashlib.sha256(path.read_bytes()).hexdigest()
    assert found["files"]["silent/a.npy"] == [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, digest]
    assert found["folders"] == {"silent/many": ["0.txt", "1.txt", "2.txt"]}
    assert len(found["files"]) == 4
    assert is_valid(world.store.record(key))


@pytest.mark.parametrize("path", ["/etc/hostname", "../secret.npy", "a/../../b", "new\nline"])
def test_a_record_from_elsewhere_leads_to_no_file_outside(world, path):
    key, content = "ab" * 32, json.dumps({"files": {path: [1, 2, 3, "0"]}, "folders": {}}).encode()
    tensor = torch.frombuffer(bytearray(content), dtype=torch.uint8)
    stored = world.store.save(key, "data", {}, {"files": {"json": tensor}}, {})
    (world.root.parent / "secret.npy").write_text("x")
    assert file_record.changes(world.store, key, stored, world.root) == []
    assert world.store.quarantined == [key]


# --- what is observed -----------------------------------------------------------------------------------------------


def test_files_are_observed_however_python_opens_them(tmp_path):
    for name in "abcdef":
        array(tmp_path / f"x/{name}.npy", 1)
    (tmp_path / "x/code.py").write_text("")
    with observed() as seen:
        (tmp_path / "x/a.npy").read_bytes()
        np.load(tmp_path / "x/b.npy", mmap_mode="r")
        os.close(os.open(tmp_path / "x/c.npy", os.O_RDONLY))
        thread = threading.Thread(target=lambda: (tmp_path / "x/d.npy").open().close())
        thread.start()
        thread.join()
        (tmp_path / "x/code.py").read_text()
        (tmp_path / "x/written").write_text("")
        list((tmp_path / "x").iterdir())
        with pytest.raises(FileNotFoundError):
            (tmp_path / "x/none").read_text()
    (tmp_path / "x/e.npy").read_bytes()
    assert seen.files(tmp_path) == {f"x/{name}.npy" for name in "abcd"}
    assert seen.folders(tmp_path) == {"x"}
    assert seen.files(tmp_path / "elsewhere") == set()


def test_links_and_relative_roots_lead_to_the_same_names(tmp_path, monkeypatch):
    array(tmp_path / "real/x/a.npy", 1)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    monkeypatch.chdir(tmp_path)
    for opened, root in (("link/x/a.npy", "link"), ("real/x/a.npy", "link"), ("real/x/../x/a.npy", "real")):
        with observed() as seen:
            Path(opened).read_bytes()
        assert seen.files(Path(root)) == seen.files(Path(root).absolute()) == {"x/a.npy"}
