"""Artifacts are complete or absent, checked when read, and safe with several writers."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from remote_disk import unlisted_is_absent
from torch import nn

from bench import BenchError
from bench.core.canonical import digest
from bench.core.errors import DamagedArtifact, StoreError
from bench.store.folders import default_root
from bench.store.locks import claim
from bench.store.maintenance import DAY, size_of, sweep, with_dependencies
from bench.store.store import Store, content_digest, write_record
from bench.store.tensors import savable, tensor_digest

KEY, OTHER = digest("a task"), digest("another task")
OTHER = digest("another task")
WEIGHTS = {"w": torch.arange(6.0).reshape(2, 3), "b": torch.tensor([True, False])}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def save(store, key=KEY, facts=None, files=None, made=None):
    return store.save(key, "train", facts or {"accuracy": 0.5}, files or {"weights": WEIGHTS}, made or {"seconds": 1.5})


def leftovers(store):
    return list((store.root / "tmp").iterdir())


def test_what_was_saved_is_read_back(store):
    record = save(store)
    assert store.record(KEY) == record
    assert store.facts(KEY) == {"accuracy": 0.5}
    assert store.has(KEY)
    assert store.is_complete(KEY)
    loaded = store.load(KEY, "weights")
    assert all(torch.equal(loaded[k], v) and loaded[k].dtype == v.dtype for k, v in WEIGHTS.items())
    assert list(store.all_keys()) == [KEY]
    assert size_of(store, KEY) > 0
    assert leftovers(store) == []


def test_artifacts_written_together_are_published_together(store):
    other = Store(store.root)
    with store.together():
        record = save(store)
        save(store, OTHER, facts={"accuracy": 1.0})
        assert store.record(KEY) == record
        assert store.is_complete(KEY)
        assert torch.equal(store.load(KEY, "weights")["w"], WEIGHTS["w"])
        assert not other.has(KEY)
        assert list(other.all_keys()) == []
        store.publish()
        assert other.facts(OTHER) == {"accuracy": 1.0}
        assert other.verify(KEY)
        assert leftovers(store) == []
        third = digest("a third task")
        save(store, third)
    assert not store.has(third), "it was not published"
    assert leftovers(store) == []
    save(store, third)
    assert other.has(third), "outside, each is published at once"


def test_no_artifact_gets_its_name_before_all_are_on_the_disk(store, monkeypatch):
    keys, events = [digest(n) for n in range(9)], []
    with store.together():
        for key in keys:
            save(store, key)
        monkeypatch.setattr(os, "fsync", lambda handle: events.append(str(Path(f"/proc/self/fd/{handle}").readlink())))
        rename = os.rename
        monkeypatch.setattr(os, "rename", lambda a, b, **_: (events.append(f"rename {b}"), rename(a, b)))
        store.publish()
    renames = [i for i, e in enumerate(events) if e.startswith("rename")]
    synced = {*events[: renames[0]]}
    assert len(renames) == len(keys)
    for key in keys:
        (folder,) = {e for e in synced if Path(e).name.startswith(key)}
        assert {f"{folder}/artifact.json", f"{folder}/weights.safetensors"} <= synced
    assert {*events[renames[-1] + 1 :]} == {str(store.folder(key).parent) for key in keys}


def test_a_damaged_or_foreign_artifact_is_replaced_when_others_are_published(store):
    save(store)
    (store.folder(KEY) / "weights.safetensors").write_bytes(
        b"x" * (store.folder(KEY) / "weights.safetensors").stat().st_size
    )
    other = Store(store.root)
    with store.together():
        save(store, facts={"accuracy": 0.7})
        save(store, OTHER, facts={"accuracy": 0.8})
        save(other, OTHER, facts={"accuracy": 0.9})
        store.publish()
    assert other.facts(KEY) == {"accuracy": 0.7}
    assert other.facts(OTHER) == {"accuracy": 0.9}, "the first one stays"
    assert other.verify(KEY)
    assert leftovers(store) == []


def test_artifacts_can_be_listed_while_another_run_begins(store, monkeypatch):
    """It writes a folder among them and removes it at once, which may be between two steps of the listing."""
    save(store)
    listed, rename = [], os.rename

    def renamed(source, target, **more):
        rename(source, target, **more)
        if Path(target).parent.name == "artifacts":
            monkeypatch.setattr(Path, "iterdir", gone_after_the_listing(Path(target)))
            listed.extend(store.all_keys())

    monkeypatch.setattr(os, "rename", renamed)
    Store(store.root).check_writable()
    assert listed == [KEY]


def gone_after_the_listing(folder):
    """Return `Path.iterdir` for which a folder is there in its parent's list, and is gone when it is listed itself."""
    iterdir = Path.iterdir

    def listing(path):
        if path == folder:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        return iterdir(path)

    return listing


def test_what_is_not_there_is_absent(store):
    assert store.record(KEY) is None
    assert store.facts(KEY) is None
    assert not store.has(KEY)
    assert not store.is_complete(KEY)
    assert size_of(store, KEY) == 0
    assert not store.forget(KEY)
    assert list(store.all_keys()) == []
    with pytest.raises(DamagedArtifact, match="has no weights"):
        store.load(KEY, "weights")


def test_reading_writes_nothing(tmp_path):
    store = Store(tmp_path / "nowhere")
    store.has(KEY), store.facts(KEY), list(store.all_keys())
    assert not (tmp_path / "nowhere").exists()


@settings(max_examples=30, deadline=None)
@given(
    st.dictionaries(
        st.text(min_size=1, max_size=6),
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=9)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.lists(st.integers(), max_size=3),
        max_size=5,
    )
)
def test_facts_come_back_as_they_were(tmp_path_factory, facts):
    store = Store(tmp_path_factory.mktemp("store"))
    save(store, facts={"x": facts})
    assert store.facts(KEY) == {"x": facts}


def test_the_default_folder_is_the_environments(monkeypatch, tmp_path):
    monkeypatch.setenv("BENCH_STORE", str(tmp_path / "there"))
    assert default_root() == tmp_path / "there"
    monkeypatch.delenv("BENCH_STORE")
    assert default_root().name == "store"
    assert "fingerprint-bench" in str(default_root())


# --- tensors as they come -----------------------------------------------------------------------------------------


def test_tied_weights_and_views_are_saved_each_for_itself(store):
    shared = torch.rand(4, 4)
    save(
        store,
        files={"weights": {"a": shared, "b": shared, "row": shared[1], "turned": shared.T, "part": shared[:, 1:]}},
    )
    loaded = store.load(KEY, "weights")
    assert torch.equal(loaded["a"], shared)
    assert torch.equal(loaded["b"], shared)
    assert torch.equal(loaded["row"], shared[1])
    assert torch.equal(loaded["turned"], shared.T)
    assert torch.equal(loaded["part"], shared[:, 1:])


def test_channels_last_parameters_and_gradients_are_no_matter(store):
    network = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    save(store, files={"weights": network.state_dict(keep_vars=True)})
    loaded = store.load(KEY, "weights")
    assert torch.equal(loaded["weight"], network.weight)
    assert loaded["weight"].is_contiguous()
    assert not loaded["weight"].requires_grad


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(0, 3),
        torch.tensor(7),
        torch.rand(3).bfloat16(),
        torch.rand(2).half(),
        torch.zeros(3, dtype=torch.uint8),
        torch.zeros(3, dtype=torch.int64),
        torch.tensor([float("nan"), float("inf")]),
    ],
)
def test_odd_tensors_survive(store, tensor):
    save(store, files={"x": {"t": tensor}})
    loaded = store.load(KEY, "x")["t"]
    assert loaded.dtype == tensor.dtype
    assert torch.equal(loaded.nan_to_num(), tensor.nan_to_num())


def test_the_caller_keeps_his_tensors(store):
    tensor = torch.rand(3, requires_grad=True)
    savable({"t": tensor}, "x")["t"].zero_()
    saved = savable({"t": tensor[:2]}, "x")["t"]
    assert saved.untyped_storage().nbytes() == saved.nbytes


@pytest.mark.parametrize("value", [0.5, None, [1.0], "text", {"a": torch.zeros(1)}])
def test_what_is_no_tensor_is_named(store, value):
    with pytest.raises(BenchError, match=r"weights of train holds 'scale', a \w+: it must be a tensor"):
        save(store, files={"weights": {"w": torch.zeros(1), "scale": value}})
    assert not store.has(KEY)


@pytest.mark.parametrize("facts", [{"x": float("nan")}, {"x": float("inf")}, {"x": torch.zeros(1)}, {"x": {1, 2}}])
def test_facts_that_are_no_plain_data_are_refused(store, facts):
    with pytest.raises(BenchError, match="facts of a train task must be plain data"):
        save(store, facts=facts)
    assert not store.has(KEY)
    assert not (store.root / "tmp").exists() or leftovers(store) == []


# --- damage -------------------------------------------------------------------------------------------------------


def flip(path, at=-1):
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def grow(path):
    path.write_bytes(path.read_bytes() + b"x")


DAMAGE = {
    "truncated weights": lambda f: (f / "weights.safetensors").write_bytes(b"\x08"),
    "empty weights": lambda f: (f / "weights.safetensors").write_bytes(b""),
    "missing weights": lambda f: (f / "weights.safetensors").unlink(),
    "longer weights": lambda f: grow(f / "weights.safetensors"),
    "flipped bit in the weights": lambda f: flip(f / "weights.safetensors"),
    "flipped bit in their header": lambda f: flip(f / "weights.safetensors", 3),
    "missing record": lambda f: (f / "artifact.json").unlink(),
    "empty record": lambda f: (f / "artifact.json").write_bytes(b""),
    "truncated record": lambda f: (f / "artifact.json").write_bytes((f / "artifact.json").read_bytes()[:-9]),
    "flipped bit in the record": lambda f: flip(f / "artifact.json", 40),
    "another fact": lambda f: (f / "artifact.json").write_text((f / "artifact.json").read_text().replace("0.5", "0.6")),
    "no JSON": lambda f: (f / "artifact.json").write_text("accuracy: 0.5"),
    "no table": lambda f: (f / "artifact.json").write_text("[1, 2]"),
    "no text": lambda f: (f / "artifact.json").write_bytes(b"\xff\xfe{}"),
    "nested": lambda f: (f / "artifact.json").write_text("[" * 100_000),
    "NaN": lambda f: (f / "artifact.json").write_text('{"digest": "", "key": NaN}'),
    "nothing at all": lambda f: (shutil.rmtree(f), f.mkdir()),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_artifact_is_never_used_and_can_be_recomputed(store, case):
    save(store)
    DAMAGE[case](store.folder(KEY))
    with pytest.raises(DamagedArtifact, match="run the same command again"):
        store.load(KEY, "weights")
    assert not store.has(KEY)
    assert not store.is_complete(KEY)
    assert store.quarantined == [KEY]
    assert len(list((store.root / "damaged").iterdir())) == 1
    save(store)
    assert torch.equal(store.load(KEY, "weights")["w"], WEIGHTS["w"])


@pytest.mark.parametrize(
    "case", [c for c in DAMAGE if c not in ("flipped bit in the weights", "flipped bit in their header")]
)
def test_damage_that_shows_without_reading_the_weights_is_seen_when_planning(store, case):
    save(store)
    DAMAGE[case](store.folder(KEY))
    assert not store.is_complete(KEY)
    assert store.quarantined == [KEY]


def test_every_single_bit_of_an_artifact_matters(store):
    save(store)
    folder = store.folder(KEY)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for at in range(0, len(content), 7):
            flip(path, at)
            assert not store.verify(KEY), f"byte {at} of {path.name}"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.move(next((store.root / "damaged").iterdir()), folder)
            path.write_bytes(content)
    assert store.verify(KEY)


def test_the_artifact_of_another_key_does_not_pass_for_this_one(store):
    save(store)
    store.folder(OTHER).parent.mkdir(parents=True, exist_ok=True)
    shutil.copytree(store.folder(KEY), store.folder(OTHER))
    assert not store.has(OTHER)
    assert store.has(KEY)


def test_saving_over_a_damaged_artifact_replaces_it(store):
    save(store)
    (store.folder(KEY) / "weights.safetensors").write_bytes(b"")
    save(store)
    assert store.verify(KEY)
    assert leftovers(store) == []


def test_saving_over_a_whole_artifact_leaves_it(store):
    save(store, facts={"first": True})
    save(store, facts={"first": False})
    assert store.facts(KEY) == {"first": True}
    assert leftovers(store) == []


def test_what_another_machine_has_just_saved_stays(store, monkeypatch):
    """On NFS, a machine that had seen no artifact took it for an incomplete one, and replaced it."""
    save(store, facts={"first": True})
    unlisted_is_absent(monkeypatch)
    save(Store(store.root), facts={"first": False})
    assert store.facts(KEY) == {"first": True}


# --- dropping and forgetting --------------------------------------------------------------------------------------


def test_dropped_weights_leave_the_facts(store):
    save(store, files={"weights": WEIGHTS, "answers": {"test": torch.zeros(3)}})
    before = size_of(store, KEY)
    freed = store.drop(KEY, "weights")
    assert freed > 0
    assert size_of(store, KEY) < before
    assert store.facts(KEY) == {"accuracy": 0.5}
    assert store.has(KEY)
    assert not store.is_complete(KEY)
    assert store.verify(KEY)
    assert torch.equal(store.load(KEY, "answers")["test"], torch.zeros(3))
    assert store.drop(KEY, "weights") == 0
    assert store.drop(KEY, "nothing") == 0
    assert store.drop(OTHER, "weights") == 0
    assert store.quarantined == []


def test_dropped_weights_are_gone_but_not_damaged(store):
    save(store)
    store.drop(KEY, "weights")
    with pytest.raises(DamagedArtifact, match="has no weights"):
        store.load(KEY, "weights")
    assert store.facts(KEY) == {"accuracy": 0.5}
    assert store.quarantined == []


def test_dropped_weights_can_be_made_again(store):
    save(store)
    store.drop(KEY, "weights")
    save(store)
    assert store.is_complete(KEY)
    assert torch.equal(store.load(KEY, "weights")["w"], WEIGHTS["w"])


def test_a_forgotten_artifact_is_gone(store):
    save(store)
    assert store.forget(KEY)
    assert not store.has(KEY)
    assert list(store.all_keys()) == []
    assert leftovers(store) == []


def test_what_killed_writers_left_is_swept_after_a_day(store):
    save(store)
    stale = store.root / "tmp" / f"{OTHER}.0000"
    stale.mkdir()
    (stale / "weights.safetensors").write_bytes(b"half")
    sweep(store)
    assert stale.exists()
    os.utime(stale, (1, 1))
    sweep(store)
    assert not stale.exists()
    assert store.is_complete(KEY)


def test_the_objects_of_a_session_are_not_swept_while_a_run_may_need_them(store):
    """A run on a cluster may take days, and its workers read the file whenever they start."""
    save(store)
    file = store.root / "tmp" / f"session.{'ab' * 16}"
    file.write_bytes(b"objects")
    for days, is_kept in ((20, True), (31, False)):
        written = time.time() - days * DAY
        os.utime(file, (written, written))
        sweep(store)
        assert file.exists() is is_kept


# --- several writers ----------------------------------------------------------------------------------------------


def together(count, what):
    errors, barrier = [], threading.Barrier(count)

    def one(number):
        barrier.wait()
        try:
            what(number)
        except Exception as error:  # a thread's error has to reach the test
            errors.append(error)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return errors


@pytest.mark.parametrize("before", ["nothing", "damaged", "dropped", "whole"])
def test_losing_the_race_to_save_is_success(store, before):
    for _ in range(4):
        if before != "nothing":
            save(store)
        if before == "damaged":
            (store.folder(KEY) / "weights.safetensors").write_bytes(b"")
        if before == "dropped":
            store.drop(KEY, "weights")
        errors = together(6, lambda n: save(Store(store.root), facts={"writer": n}))
        assert errors == []
        assert store.is_complete(KEY)
        assert store.verify(KEY)
        assert leftovers(store) == []
        store.forget(KEY)


def test_readers_see_a_whole_artifact_or_none_while_writers_come_and_go(store):
    stop = threading.Event()

    def work(number):
        mine = Store(store.root)
        try:
            for _ in range(25):
                if number == 0:
                    save(mine)
                    mine.forget(KEY)
                else:
                    facts = mine.facts(KEY)
                    assert facts in (None, {"accuracy": 0.5})
        finally:
            stop.set()

    assert together(4, work) == []


def test_a_task_is_claimed_by_one_at_a_time(store):
    with claim(store, KEY) as first:
        assert first
        with claim(Store(store.root), KEY) as second:
            assert not second
    with claim(store, KEY) as again:
        assert again


def test_a_claim_is_released_when_its_owner_fails(store):
    with pytest.raises(ZeroDivisionError), claim(store, KEY):
        raise ZeroDivisionError
    with claim(store, KEY) as again:
        assert again


DYING = """
import os, sys
from bench.store.locks import claim
from bench.store.store import Store, content_digest, write_record
with claim(Store(sys.argv[1]), sys.argv[2]) as claimed:
    print(claimed, flush=True)
    os._exit(1)
"""


def test_a_dead_owners_claim_is_released(store):
    store.check_writable()
    command = [sys.executable, "-c", DYING, store.root, KEY]
    assert subprocess.run(command, capture_output=True, text=True, check=False).stdout == "True\n"
    with claim(store, KEY) as ours:
        assert ours


# --- a store that cannot be used ----------------------------------------------------------------------------------


def test_a_store_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("no folder")
    store = Store(tmp_path / "file" / "store")
    for attempt in (store.check_writable, lambda: save(store)):
        with pytest.raises(StoreError, match=r"^The store .* cannot be used: .*Choose another with --store"):
            attempt()
    assert not store.has(KEY)


def test_a_writable_store_is_left_empty_by_the_check(store):
    store.check_writable()
    assert leftovers(store) == []
    assert list(store.all_keys()) == []


FULL = """
import resource, signal, sys, torch
from bench.core.errors import StoreError
from bench.store.store import Store, content_digest, write_record
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store(sys.argv[1])
store.check_writable()
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
try:
    store.save("ab" * 32, "train", {}, {"weights": {"w": torch.zeros(50000)}}, {})
except StoreError as error:
    print(error)
assert not store.has("ab" * 32)
assert not list((store.root / "tmp").iterdir())
"""


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"The store {tmp_path} cannot be used: the file would be too large. Choose another")


def test_records_hold_what_was_made_of_what(store):
    save(store, made={"inputs": {}, "seconds": 1.0})
    save(store, OTHER, made={"inputs": {"source": KEY, "data": digest("absent")}})
    assert set(with_dependencies(store, [OTHER])) == {OTHER, KEY}
    assert set(with_dependencies(store, ["../../etc/passwd"])) == set()
    assert json.loads((store.folder(OTHER) / "artifact.json").read_text())["made"]["inputs"]["source"] == KEY


def test_the_digest_of_tensors_is_of_their_content_and_is_computed_for_an_old_record(tmp_path):
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(1)}
    store = Store(tmp_path)
    for key, tensors in ((KEY, weights), (OTHER, dict(reversed(weights.items())))):
        store.save(key, "train", {}, {"weights": tensors}, {})
    record = store.record(KEY)
    known = record["files"]["weights.safetensors"].pop("tensors")
    assert content_digest(store, OTHER, "weights") == known == tensor_digest(weights)
    write_record(store.folder(KEY), record)
    assert content_digest(store, KEY, "weights") == known
    changed = ({"a": weights["a"] + 1, "b": weights["b"]}, {"a": weights["a"].T, "b": weights["b"]},
               {"a": weights["a"], "c": weights["b"]}, {"a": weights["a"].double(), "b": weights["b"]})  # fmt: skip
    assert len({known, *map(tensor_digest, changed)}) == 5
