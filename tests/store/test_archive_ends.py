"""An archive is imported whole or refused, exported whole or not at all, whatever disks and other processes do."""

import tarfile

import pytest
import torch

from bench import BenchError
from bench.core.canonical import digest
from bench.store.archive import export, import_archive
from bench.store.store import Store

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
