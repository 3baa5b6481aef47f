"""Splits of arrays, lists and tensors."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from bench import BenchError, Split

IMAGES = np.arange(4 * 1 * 3 * 5, dtype=np.uint8).reshape(4, 1, 3, 5)
LABELS = [0, 1, 1, 0]
FORMS = {
    "array": (IMAGES, np.array(LABELS)),
    "read_only": (np.frombuffer(IMAGES.tobytes(), np.uint8).reshape(IMAGES.shape), np.array(LABELS)),
    "int32": (IMAGES, np.array(LABELS, np.int32)),
    "uint8": (IMAGES, np.array(LABELS, np.uint8)),
    "big_endian": (IMAGES, np.array(LABELS, ">i8")),
    "bool": (IMAGES, np.array(LABELS, bool)),
    "list": (IMAGES.tolist(), LABELS),
    "array_and_list": (IMAGES, LABELS),
    "reversed": (IMAGES[:, :, ::-1][:, :, ::-1], np.array(LABELS[::-1])[::-1]),
    "transposed": (IMAGES.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2), LABELS),
    "list_of_arrays": (list(IMAGES), [np.int64(label) for label in LABELS]),
    "tensor_and_array": (torch.from_numpy(IMAGES), np.array(LABELS)),
}


@pytest.mark.parametrize("form", FORMS)
def test_arrays_and_lists_become_tensors(form):
    images, labels = FORMS[form]
    split = Split(images, labels, labels)
    assert split.labels.dtype == split.origin.dtype == torch.int64
    assert split.labels.tolist() == split.origin.tolist() == LABELS
    assert torch.equal(split.images.to(torch.uint8), torch.from_numpy(IMAGES))
    assert split.images.dtype == (torch.int64 if form == "list" else torch.uint8)
    assert len(split) == 4


def test_a_memory_map_is_read_and_an_array_is_shared(tmp_path):
    np.save(tmp_path / "images.npy", IMAGES)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r+")
    split = Split(mapped, LABELS)
    mapped[:] = 0
    assert torch.equal(split.images, torch.from_numpy(IMAGES))
    own = IMAGES.copy()
    assert Split(own, LABELS).images.data_ptr() == own.ctypes.data


def test_tensors_stay_as_they_are():
    images, labels = torch.from_numpy(IMAGES), torch.tensor(LABELS).int()
    split = Split(images, labels)
    assert split.images is images and split.labels is labels and split.origin is None


@pytest.mark.parametrize(
    "images", [None, "digits.npy", [[1, 2], [3]], np.array([object()]), [torch.zeros(2).numpy(), "x"], {1: 2}]
)
def test_what_is_no_array_is_one_line(images):
    with pytest.raises(BenchError, match=r"^Split: images must be a tensor or an array, and a [a-zA-Z]+ is no array"):
        Split(images, LABELS)


def test_listing_imports_no_torch():
    code = "import sys, bench.api.data; assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
