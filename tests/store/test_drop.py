"""Files of an artifact are removed by several processes at once, and by one that is killed meanwhile."""

import os
import signal
import threading

import pytest
import torch

from bench.core.canonical import digest
from bench.store import store as store_module
from bench.store.maintenance import DAY, sweep
from bench.store.store import Store

KEY = digest("a task")


@pytest.fixture
def store(tmp_path):
    store = Store(tmp_path / "store")
    save(store)
    return store


def save(store, value=1.0):
    return store.save(KEY, "train", {"x": 1}, {"weights": {"w": torch.full((9,), value)}}, {})


def weights(store):
    return store.folder(KEY) / "weights.safetensors"


def age(store):
    for path in (*store.folder(KEY).iterdir(), store.folder(KEY)):
        os.utime(path, (1, 1))


@pytest.fixture
def before_record(monkeypatch):
    """Return a function that lets another process do something just before a record is written, or after it."""
    write = store_module.write_record

    def install(before=lambda: None, after=lambda: None):
        def interrupted(folder, record):
            monkeypatch.setattr(store_module, "write_record", write)
            before()
            write(folder, record)
            after()

        monkeypatch.setattr(store_module, "write_record", interrupted)

    return install


def test_two_processes_that_drop_the_same_file_free_it_once(store, before_record):
    freed = []
    before_record(lambda: freed.append(Store(store.root).drop(KEY, "weights")))
    freed.append(store.drop(KEY, "weights"))
    assert [n > 0 for n in freed] == [True, False]
    assert store.record(KEY)["dropped"] == ["weights.safetensors"]
    assert [p.name for p in store.folder(KEY).iterdir()] == ["artifact.json"]


def test_many_that_drop_at_once_raise_nothing(store):
    for _ in range(5):
        freed, barrier = [], threading.Barrier(6)

        def drop(freed=freed, barrier=barrier):
            mine = Store(store.root)
            barrier.wait()
            freed.append(mine.drop(KEY, "weights"))

        threads = [threading.Thread(target=drop) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(n > 0 for n in freed) == 1 and len(freed) == 6
        assert not weights(store).exists()
        assert store.has(KEY)
        save(store)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_an_artifact_that_is_removed_at_that_moment_is_no_error(store, before_record, moment):
    before_record(**{moment: lambda: Store(store.root).forget(KEY)})
    assert store.drop(KEY, "weights") == 0
    assert not store.has(KEY)
    assert store.quarantined == []


def test_weights_that_another_process_made_again_meanwhile_stay(store, before_record):
    """Before, its new weights were removed, and their artifact was damaged."""
    before_record(after=lambda: save(Store(store.root), 2.0))
    assert store.drop(KEY, "weights") == 0
    assert store.load(KEY, "weights")["w"].unique().tolist() == [2.0]


def killed_while_it_drops(store, patch_child):
    """Let a process be killed by the first call of a function."""
    child = os.fork()
    if not child:
        patch_child(lambda *arguments, **named: os.kill(os.getpid(), signal.SIGKILL))
        store.drop(KEY, "weights")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def test_weights_of_a_process_that_was_killed_while_it_dropped_them_are_swept(store):
    killed_while_it_drops(store, lambda kill: setattr(os, "unlink", kill))
    assert store.record(KEY)["dropped"] == ["weights.safetensors"]
    assert weights(store).exists()
    sweep(store)
    assert weights(store).exists(), "it may be working at this moment"
    age(store)
    sweep(store)
    assert not weights(store).exists()
    assert store.facts(KEY) == {"x": 1}
    assert store.quarantined == []


def test_weights_of_a_killed_process_are_removed_by_the_next_that_drops_them(store):
    killed_while_it_drops(store, lambda kill: setattr(os, "unlink", kill))
    assert store.drop(KEY, "weights") > 0
    assert not weights(store).exists()
    assert store.drop(KEY, "weights") == 0


def test_a_half_written_record_of_a_killed_process_is_swept(store):
    killed_while_it_drops(store, lambda kill: setattr(os, "replace", kill))
    assert [p.suffix for p in store.folder(KEY).iterdir()].count(".part") == 1
    assert store.is_whole(KEY)
    sweep(store, DAY)
    assert [p.suffix for p in store.folder(KEY).iterdir()].count(".part") == 1
    age(store)
    sweep(store, DAY)
    assert sorted(p.name for p in store.folder(KEY).iterdir()) == ["artifact.json", "weights.safetensors"]
    assert store.is_whole(KEY)
