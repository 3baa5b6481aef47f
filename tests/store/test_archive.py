"""Artifacts are exported to a tar and imported: complete, checked, and never over a complete artifact."""

import io
import shutil
import tarfile

import pytest
import torch

from bench import BenchError
from bench.core.errors import StoreError
from bench.store.archive import export, import_archive
from bench.store.record_schema import FILES
from bench.store.store import Store, write_record


@pytest.fixture(scope="module")
def archive(toy_run, tmp_path_factory):
    """Everything that the toy run made: artifacts of every kind."""
    path = tmp_path_factory.mktemp("archive") / "toy.tar"
    assert export(toy_run.store, toy_run.store.all_keys(), path) == len(toy_run.plan.tasks)
    return path


@pytest.fixture
def own(toy_run, tmp_path):
    """A store with a few of the toy run's artifacts, to be spoilt."""
    store = Store(tmp_path / "own")
    for key in [k for k, t in toy_run.plan.tasks.items() if t.kind in ("data", "train", "embed")][:4]:
        shutil.copytree(toy_run.store.folder(key), store.folder(key))
    return store


def content(store):
    """Every byte of a store's artifacts."""
    return {p.relative_to(store.root): p.read_bytes() for p in sorted((store.root / "artifacts").rglob("*.*"))}


def spoil(path):
    text = bytearray(path.read_bytes())
    text[-1] ^= 1
    path.write_bytes(text)


# --- there and back -----------------------------------------------------------------------------------------------


def test_every_kind_of_artifact_arrives_as_it_was(toy_run, archive, tmp_path):
    other = Store(tmp_path)
    done = import_archive(other, archive)
    assert (done.added, done.known, done.refused) == (len(toy_run.plan.tasks), 0, ())
    assert {other.record(key)["kind"] for key in other.all_keys()} == set(FILES)
    assert content(other) == content(toy_run.store)
    assert all(other.verify(key) for key in other.all_keys())
    assert list((other.root / "tmp").iterdir()) == []


def test_what_is_there_already_is_not_taken_again(archive, tmp_path):
    other = Store(tmp_path)
    first = import_archive(other, archive)
    inodes = {p: p.stat().st_ino for p in (other.root / "artifacts").rglob("*")}
    again = import_archive(other, archive)
    assert (again.added, again.known, again.refused) == (0, first.added, ())
    assert {p: p.stat().st_ino for p in (other.root / "artifacts").rglob("*")} == inodes


def test_the_same_artifacts_are_the_same_archive(own, tmp_path):
    for name in ("one.tar", "two.tar"):
        assert export(own, own.all_keys(), tmp_path / name) == 4
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


def test_an_archive_is_a_plain_tar_that_names_nobody(archive):
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    assert all(m.isreg() and (m.uid, m.gid, m.uname, m.gname, m.mtime) == (0, 0, "", "", 0) for m in members)


def test_only_what_was_asked_for_is_written(own, tmp_path):
    key = next(own.all_keys())
    assert export(own, [key, key, "0" * 64], tmp_path / "one.tar") == 1
    other = Store(tmp_path / "other")
    assert import_archive(other, tmp_path / "one.tar").added == 1
    assert list(other.all_keys()) == [key]


def test_facts_without_their_weights_travel_too_and_never_replace_weights(own, tmp_path):
    key = next(k for k in own.all_keys() if own.record(k)["kind"] == "train")
    whole, facts = tmp_path / "whole.tar", tmp_path / "facts.tar"
    export(own, [key], whole)
    own.drop(key, "weights")
    export(own, [key], facts)
    other = Store(tmp_path / "other")
    assert import_archive(other, facts).added == 1
    assert other.has(key) and not other.is_complete(key)
    assert import_archive(other, facts).known == 1
    assert import_archive(other, whole).added == 1
    assert other.is_complete(key)
    assert import_archive(other, facts).known == 1
    assert other.is_complete(key)
    assert other.quarantined == []


# --- what is not written ------------------------------------------------------------------------------------------


def test_damaged_artifacts_are_quarantined_and_left_out(own, tmp_path):
    key = next(k for k in own.all_keys() if own.record(k)["kind"] == "train")
    spoil(own.folder(key) / "weights.safetensors")
    assert export(own, own.all_keys(), tmp_path / "rest.tar") == 3
    assert own.quarantined == [key]
    assert not own.has(key)


def test_an_archive_never_replaces_a_file(own, tmp_path):
    (tmp_path / "there.tar").write_text("mine")
    (tmp_path / "link.tar").symlink_to(tmp_path / "nowhere")
    for name in ("there.tar", "link.tar"):
        with pytest.raises(BenchError, match=f"{name} exists: name a file that does not"):
            export(own, own.all_keys(), tmp_path / name)
    assert (tmp_path / "there.tar").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_an_archive_that_cannot_be_written_leaves_nothing(own, tmp_path):
    with pytest.raises(BenchError, match="cannot be written: No such file or directory"):
        export(own, own.all_keys(), tmp_path / "nowhere" / "a.tar")
    assert not (tmp_path / "nowhere").exists()


# --- what is not taken --------------------------------------------------------------------------------------------


def test_a_damaged_artifact_is_refused_and_the_others_are_taken(archive, tmp_path):
    text = bytearray(archive.read_bytes())
    with tarfile.open(archive) as tar:
        hit = next(m for m in tar if m.name.endswith("weights.safetensors"))
    text[hit.offset_data + hit.size - 1] ^= 1
    (tmp_path / "damaged.tar").write_bytes(text)
    other, reported = Store(tmp_path / "other"), []
    done = import_archive(other, tmp_path / "damaged.tar", reported.append)
    key = hit.name[:64]
    assert done.refused == (f"{key[:12]}: weights.safetensors is damaged: its digest differs",)
    assert tuple(reported) == done.refused
    assert not other.has(key)
    assert done.added == len(list(other.all_keys())) > 1
    assert import_archive(other, archive).added == 1
    assert other.verify(key)


def test_an_archive_that_was_not_copied_whole_is_refused(archive, tmp_path):
    text = archive.read_bytes()
    with tarfile.open(archive) as tar:
        members = tar.getmembers()
    end = members[-1].offset_data + -(-members[-1].size // 512) * 512
    for length in (0, 1, 511, 512, members[3].offset, members[3].offset + 700, end - 512, end):
        (tmp_path / "part.tar").write_bytes(text[:length])
        with pytest.raises(BenchError, match=r"ends early\. Was it copied whole\?$"):
            import_archive(Store(tmp_path / "other"), tmp_path / "part.tar")
    assert not (tmp_path / "other").exists()


def test_what_is_no_archive_is_refused_in_one_line(tmp_path):
    (tmp_path / "text.tar").write_text("key,score\n" * 1000)
    for path in (tmp_path / "text.tar", tmp_path / "absent.tar", tmp_path):
        with pytest.raises(BenchError, match=r"^[^\n]*(no archive that|cannot be read)[^\n]*$"):
            import_archive(Store(tmp_path / "other"), path)


def test_a_store_that_cannot_be_written_stops_the_import(archive, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(StoreError, match="cannot be used"):
        import_archive(Store(tmp_path / "file"), archive)


def test_a_file_larger_than_eight_gibibytes_is_read_as_tar_writes_it(tmp_path):
    """The header of such a file has another form; the file itself is not there, so the archive ends early."""
    member = tarfile.TarInfo(f"{'a' * 64}/data.safetensors")
    for size, why in ((1 << 33, "ends early"), (1 << 37, "would take 137438953472 bytes")):
        member.size = size
        header = member.tobuf(tarfile.GNU_FORMAT)
        assert header[124] == 0x80
        (tmp_path / "large.tar").write_bytes(header + bytes(1024))
        with pytest.raises(BenchError, match=why):
            import_archive(Store(tmp_path / "other"), tmp_path / "large.tar")


def test_tensors_that_are_not_those_of_the_record_are_refused(tmp_path, own):
    """A record may not claim another network's identity."""
    key = next(k for k in own.all_keys() if own.record(k)["kind"] == "train")
    record = own.record(key)
    record["files"]["weights.safetensors"]["tensors"] = "0" * 64
    write_record(own.folder(key), record)
    export(own, [key], tmp_path / "archive.tar")
    refused = import_archive(Store(tmp_path / "other"), tmp_path / "archive.tar").refused
    assert refused == (f"{key[:12]}: weights.safetensors has other tensors than its record says",)


def test_tensors_are_read_but_never_run(tmp_path, own):
    """A pickle under a safetensors name is refused even where its record and its digest are right."""
    from hashlib import sha256

    from bench.core.canonical import canonical, digest
    from bench.store.store import RECORD

    key = next(k for k in own.all_keys() if own.record(k)["kind"] == "train")
    buffer = io.BytesIO()
    torch.save({"w": torch.zeros(3)}, buffer)
    record = own.record(key)
    (own.folder(key) / "weights.safetensors").write_bytes(buffer.getvalue())
    record["files"]["weights.safetensors"] = {
        "bytes": len(buffer.getvalue()),
        "sha256": sha256(buffer.getvalue()).hexdigest(),
    }
    (own.folder(key) / RECORD).write_text(canonical({**record, "digest": digest(record)}))
    assert export(own, [key], tmp_path / "pickle.tar") == 1
    done = import_archive(Store(tmp_path / "other"), tmp_path / "pickle.tar")
    assert done.refused == (f"{key[:12]}: weights.safetensors is no safetensors file",)
