"""An archive adds nothing to a store that was made from another network than the store has under the same key."""

import pytest
import torch
from click.testing import CliRunner

from bench.cli.commands.store import import_
from bench.core.canonical import digest
from bench.store.archive import export, import_archive
from bench.store.store import Store, write_record

SOURCE, COPY, SCORE, OTHER = sorted(digest(n) for n in range(4))
MADE = {"seconds": 1.5, "device": "cpu", "threads": 1, "torch": "2", "machine": "here", "sources": {}}


def save(store, key, value, name="made", **inputs):
    files = {"fingerprint": {"f": torch.full((7,), value)}}
    facts = {"notes": {}, "networks": 0, "helper_seconds": 0}
    store.save(key, "fingerprint", facts, files, {**MADE, "name": name, "inputs": inputs})


def finished(root, value):
    """Return a store with a source, a copy of it and a score of the copy, and something that needs none of them."""
    store = Store(root)
    save(store, SOURCE, value, "train source 0")
    save(store, COPY, value, source=SOURCE)
    save(store, SCORE, value, suspect=COPY)
    save(store, OTHER, 1.0)
    return store


@pytest.fixture
def archive(tmp_path):
    store = finished(tmp_path / "server", 2.0)
    assert export(store, store.all_keys(), tmp_path / "server.tar") == 4
    return tmp_path / "server.tar"


def test_copies_of_another_source_of_the_same_key_are_refused(tmp_path, archive):
    """A new method's fingerprint of the store's source would have judged them."""
    laptop = Store(tmp_path / "laptop")
    save(laptop, SOURCE, 1.0, "train source 0")
    done = import_archive(laptop, archive)
    reason = "it belongs to another 'train source 0' than this store has: import it into another store"
    assert (done.added, done.known, done.refused) == (1, 1, (f"{COPY[:12]}: {reason}", f"{SCORE[:12]}: {reason}"))
    assert {*laptop.all_keys()} == {SOURCE, OTHER}
    assert laptop.load(SOURCE, "fingerprint")["f"].unique().tolist() == [1.0]
    assert import_archive(Store(tmp_path / "another"), archive).added == 4


@pytest.mark.parametrize("value", [1.0, 2.0])
def test_a_source_whose_weights_were_removed_is_not_replaced_by_another_one(tmp_path, archive, value):
    laptop = Store(tmp_path / "laptop")
    save(laptop, SOURCE, value)
    laptop.drop(SOURCE, "fingerprint")
    done = import_archive(laptop, archive)
    assert (done.added, done.known) == ((1, 1) if value == 1.0 else (4, 0))
    assert laptop.is_complete(SOURCE) is (value == 2.0)


def test_an_archive_of_the_same_networks_is_taken_whole(tmp_path, archive):
    laptop = Store(tmp_path / "laptop")
    save(laptop, SOURCE, 2.0)
    done = import_archive(laptop, archive)
    assert (done.added, done.known, done.refused, done.others) == (3, 1, (), 0)


def test_networks_that_the_store_has_otherwise_are_counted(tmp_path, archive):
    laptop = Store(tmp_path / "laptop")
    for key, value in ((SOURCE, 1.0), (OTHER, 1.0)):
        save(laptop, key, value)
    assert import_archive(laptop, archive).others == 1
    done = CliRunner().invoke(import_, [str(archive), "--store", str(laptop.root)])
    assert f"Note: 1 of those that exist are others in {archive}: the store keeps its own\n" in done.stderr


def test_a_record_without_digests_of_tensors_is_compared_with_nothing(tmp_path, archive):
    laptop = Store(tmp_path / "laptop")
    save(laptop, SOURCE, 1.0)
    record = laptop.record(SOURCE)
    del record["files"]["fingerprint.safetensors"]["tensors"]
    write_record(laptop.folder(SOURCE), record)
    assert import_archive(laptop, archive).added == 3


def test_all_that_depends_on_the_source_of_a_run_is_refused_and_nothing_else(toy_run, tmp_path):
    """Irrelevant models and data are those of any source."""
    run, tasks = toy_run.store, toy_run.plan.tasks
    key = next(k for k, t in tasks.items() if t.name.startswith("train source"))
    record, weights = run.record(key), run.load(key, "weights")
    files = {"weights": {name: t + 1 for name, t in weights.items()}, "answers": run.load(key, "answers")}
    laptop = Store(tmp_path / "laptop")
    laptop.save(key, record["kind"], record["facts"], files, record["made"])
    dependent = {key}
    for task in tasks.values():  # inputs first
        if dependent & {*task.inputs.values()}:
            dependent.add(task.key)
    export(run, run.all_keys(), tmp_path / "all.tar")
    done = import_archive(laptop, tmp_path / "all.tar")
    assert len(done.refused) == len(dependent) - 1 > 10
    assert {*laptop.all_keys()} == {*tasks} - dependent | {key}
