"""Tensors are read into memory aligned as torch's own, whatever the length of their file's header."""

import pytest
import torch
from safetensors.torch import save_file
from torch.nn.functional import linear

from bench.store.store import Store
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
