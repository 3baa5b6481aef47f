"""How the failure of a task is classified: what the scheduler does depends on it."""

import errno
import os
import resource

import pytest
import torch

from bench.core.errors import StoreError
from bench.core.kinds import FailureCause
from bench.execution.failures import classify_failure
from bench.execution.retry_policy import OPEN_FILES
from bench.store.folders import translated_errors, translated_read_errors
from bench.store.locks import Claims
from bench.store.store import Store

ASSERT = "CUDA error: device-side assert triggered\nCUDA kernel errors might be reported at some other call"


@pytest.fixture
def gpu(monkeypatch):
    """Return a function that lets every later call on the GPU raise an error; without one, the GPU works."""

    def later(error=None):
        def synchronize(device):
            if error:
                raise RuntimeError(error)

        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)

    return later


FULL = [
    "CUDA error: out of memory\nCUDA kernel errors might be reported at some other call",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
]


@pytest.mark.parametrize("text", FULL)
def test_a_full_gpu_is_no_lost_one(gpu, text):
    for later in (None, "CUDA error: out of memory"):  # memory may be too little for the first call of the process
        gpu(later)
        line, cause = classify_failure(RuntimeError(text), "cuda:0")
        assert cause == FailureCause.MEMORY
        assert line == f"out of memory: RuntimeError: {text.splitlines()[0]}"


@pytest.mark.parametrize("text", FULL)
def test_the_same_texts_are_of_a_lost_gpu_if_every_later_call_fails(gpu, text):
    """As after a label out of range: the kernel fails later, in the call that makes a handle."""
    gpu(ASSERT)
    assert classify_failure(RuntimeError(text), "cuda:0")[1] == FailureCause.DEVICE


def test_a_failed_assertion_on_a_gpu_loses_it(gpu):
    gpu()
    line, cause = classify_failure(RuntimeError(ASSERT), "cuda:0")
    assert cause == FailureCause.DEVICE
    assert line.endswith("device-side assert triggered; its process could not use the device any more")
    gpu(ASSERT)
    assert classify_failure(ValueError("the plugin raised this instead"), "cuda:0")[1] == FailureCause.DEVICE
    assert classify_failure(ValueError("no"), "cpu") == ("ValueError: no", FailureCause.NONE)


@pytest.mark.parametrize("translated", [translated_errors, translated_read_errors])
@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EMFILE, FailureCause.DEVICE),
        (errno.ENFILE, FailureCause.DEVICE),
        (errno.ENOSPC, FailureCause.STORE),
        (errno.EIO, FailureCause.STORE),
    ],
)
def test_a_process_without_a_free_file_is_no_fault_of_the_store(tmp_path, translated, number, cause):
    with pytest.raises(StoreError) as failure, translated(tmp_path):
        raise OSError(number, os.strerror(number))
    line, found = classify_failure(failure.value, "cpu")
    assert found == cause
    assert (line == OPEN_FILES) == (cause == FailureCause.DEVICE)


@pytest.mark.parametrize(
    "failure",
    [
        OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/a/file"),
        RuntimeError("unable to open file </a/file> in read-only mode: Too many open files (24)"),  # torch's
    ],
)
def test_torch_and_plugins_may_meet_it_as_well(failure):
    assert classify_failure(failure, "cpu") == (OPEN_FILES, FailureCause.DEVICE)


def test_a_task_that_cannot_open_its_lock_costs_the_process_and_not_the_run(tmp_path):
    store, opened = Store(tmp_path / "store"), []
    store.subfolder("locks")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                opened.append(os.open(os.devnull, os.O_RDONLY))
        with pytest.raises(StoreError) as failure:
            Claims(store).add("0" * 64)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
        for number in opened:
            os.close(number)
    assert classify_failure(failure.value, "cpu") == (OPEN_FILES, FailureCause.DEVICE)
