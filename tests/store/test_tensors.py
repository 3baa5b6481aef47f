"""Tensors are read into memory aligned as torch's own, whatever the length of their file's header."""

import json
import resource
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch.nn.functional import linear

from bench.store.archive import export, import_archive
from bench.store.store import Store, write_record
from bench.store.tensors import ALIGNMENT, read_tensors


@pytest.mark.parametrize("length", range(0, 64, 8))
def test_a_networks_answers_do_not_depend_on_its_files_header(tmp_path, length):
    generator = torch.Generator().manual_seed(0)
    weight, x = torch.randn(7, 50, generator=generator), torch.randn(1, 50, generator=generator)
    save_file({"weight": weight}, tmp_path / "a.safetensors", metadata={"note": "x" * length})
    read = read_tensors(tmp_path / "a.safetensors")["weight"]
    assert read.data_ptr() % ALIGNMENT == 0
    assert torch.equal(read, weight)
    assert torch.equal(linear(x, read), linear(x, weight))


def test_artifacts_are_read_so(tmp_path):
    store = Store(tmp_path)
    store.save("ab" * 32, "train", {}, {"weights": {f"w{n}": torch.ones(n) for n in range(1, 9)}}, {})
    found = store.load("ab" * 32, "weights")
    assert all(tensor.data_ptr() % ALIGNMENT == 0 for tensor in found.values())


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="Linux lists what a process has mapped")
@pytest.mark.parametrize("length", range(0, 64, 8))
def test_no_tensor_keeps_the_whole_file_in_memory_beside_the_copies_of_others(tmp_path, length):
    tensors = {f"w{n}": torch.full((n,), float(n)) for n in (1, 15, 17, 300)}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"note": "x" * length})
    found = read_tensors(tmp_path / "a.safetensors")
    assert "a.safetensors" not in Path("/proc/self/maps").read_text()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())


# --- headers that promise what is not there -----------------------------------------------------------------------


def tensor(*shape, end=4, start=0, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


HOSTILE = {
    "huge": {"w": tensor(1 << 50)},
    "a huge product": {"w": tensor(1 << 20, 1 << 20, 1 << 20)},
    "a product that is 1 modulo 2**64": {"w": tensor((1 << 64) - 1, (1 << 64) - 1)},
    "bytes that are 4 modulo 2**64": {"w": tensor((1 << 62) + 1)},
    "no element of a dimension beyond int64": {"w": tensor(0, 1 << 63, end=0)},
    "no element before one beyond int64": {"w": tensor((1 << 64) - 1, 0, end=0)},
    "a dimension beyond uint64": {"w": tensor(1 << 64)},
    "negative": {"w": tensor(-1)},
    "more than there is": {"w": tensor(4, end=16)},
    "less than there is": {"w": tensor(0, end=0)},
    "more than its part": {"w": tensor(2)},
    "less than its part": {"w": tensor(1, dtype="F16")},
    "backwards": {"w": tensor(1, start=4, end=0)},
    "twice the same": {"w": tensor(1), "v": tensor(1)},
    "a gap": {"w": tensor(0, start=1, end=1), "v": tensor(3, start=1, dtype="U8")},
    "an unknown type": {"w": tensor(1, dtype="F1024")},
    "no table": [1],
}


def hostile(case):
    """Return a file of four bytes of data, or none for tensors without elements."""
    header = json.dumps(HOSTILE[case]).encode()
    return len(header).to_bytes(8, "little") + header + bytes(0 if case.startswith("no element") else 4)


LENGTHS = {f"a header of {n} bytes": n.to_bytes(8, "little") + b"{}" for n in (0, 3, 1 << 31, 1 << 63, (1 << 64) - 1)}
FILES = {**LENGTHS, **{case: hostile(case) for case in HOSTILE}}


@pytest.mark.parametrize("case", FILES)
def test_a_hostile_header_is_refused_before_memory_is_taken(tmp_path, case):
    (tmp_path / "a.safetensors").write_bytes(FILES[case])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (1 << 28), limits[1]))
    try:
        with pytest.raises(SafetensorError):
            read_tensors(tmp_path / "a.safetensors")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize("case", ["a huge product", "no element of a dimension beyond int64", "more than its part"])
def test_an_artifact_with_a_hostile_header_is_refused_by_import(tmp_path, case):
    key, store, content = "ab" * 32, Store(tmp_path / "store"), FILES[case]
    facts = {"notes": {}, "networks": 0, "helper_seconds": 0}
    made = {"name": "", "seconds": 0, "device": "", "threads": 1, "torch": "", "machine": ""}
    made |= {"inputs": {}, "sources": {}}
    record = store.save(key, "fingerprint", facts, {"fingerprint": {"w": torch.ones(1)}}, made)
    record["files"]["fingerprint.safetensors"] = {"sha256": sha256(content).hexdigest(), "bytes": len(content)}
    (store.folder(key) / "fingerprint.safetensors").write_bytes(content)
    write_record(store.folder(key), record)
    assert export(store, [key], tmp_path / "a.tar") == 1
    done = import_archive(Store(tmp_path / "other"), tmp_path / "a.tar")
    assert done.refused == (f"{key[:12]}: fingerprint.safetensors is no safetensors file",)
