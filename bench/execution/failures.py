"""Classify the failure of a task, and describe it in one line."""

import errno
import os
import traceback

import torch

from bench.core.errors import BenchError, DamagedArtifact, StoreError, first_line, printable
from bench.core.kinds import FailureCause
from bench.execution.retry_policy import OPEN_FILES

LONGEST_ERROR = 500
"""Characters of an error in an outcome; the log has all of it."""

MEMORY_ERRORS = (
    "can't allocate memory",
    "CUDA error: out of memory",
    "HIP error: out of memory",
    "_STATUS_ALLOC_FAILED",
    "cublasCreate(handle)",  # the handle of a library needs memory of the device, too
    "CUDNN_STATUS_NOT_INITIALIZED",
)
"""Texts of torch's errors for full memory that are not OutOfMemoryErrors, unless the device is lost."""

DEVICE_ERRORS = ("CUDA error", "HIP error", "device-side assert")
"""Texts of torch's errors after which a process cannot use the device any more."""

TOO_MANY_FILES = (errno.EMFILE, errno.ENFILE)
FULL = os.strerror(errno.EMFILE)
"""What is in torch's RuntimeErrors in their place."""


def classify_failure(failure: BaseException, device: str) -> tuple[str, FailureCause]:
    """Return one line that says why a task failed, and the cause that the scheduler has to act on."""
    full = any(getattr(error, "errno", None) in TOO_MANY_FILES for error in (failure, failure.__cause__))
    if isinstance(failure, StoreError) and not full:
        return str(failure), FailureCause.STORE
    if isinstance(failure, torch.OutOfMemoryError | MemoryError):
        traceback.clear_frames(failure.__traceback__)  # frees what filled the memory: reporting needs some
        return f"out of memory: {_line(failure)}", FailureCause.MEMORY
    line, kind = _line(failure), type(failure).__name__
    if full or FULL in line:
        return OPEN_FILES, FailureCause.DEVICE
    fails = _fails(device)
    if _is_full(line) and not fails:
        return f"out of memory: {kind}: {line}", FailureCause.MEMORY
    if fails or (isinstance(failure, RuntimeError) and any(text in line for text in DEVICE_ERRORS)):
        return f"{kind}: {line}; its process could not use the device any more", FailureCause.DEVICE
    if isinstance(failure, BenchError):
        return line, FailureCause.DAMAGED if isinstance(failure, DamagedArtifact) else FailureCause.NONE
    return f"{kind}: {line}", FailureCause.NONE


def _is_full(line: str) -> bool:
    return any(text in line for text in MEMORY_ERRORS)


def _fails(device: str) -> bool:
    """Return True if every later call on this device fails, as after a failed assertion on a GPU.

    The plugin may have raised something else instead.
    """
    try:
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
    except RuntimeError as error:
        return not _is_full(_line(error))
    return False


def check_device(device: str) -> None:
    """Raise BenchError if this process cannot use its device; one whose memory is full may be usable later."""
    try:
        torch.zeros(1, device=device)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        line, visible = _line(error), os.environ.get("CUDA_VISIBLE_DEVICES")
        if not isinstance(error, torch.OutOfMemoryError) and not _is_full(line):
            shown = f"{device} (CUDA_VISIBLE_DEVICES={visible})" if visible else device
            raise BenchError(f"its device {shown} cannot be used: {line}") from error


def _line(error: BaseException) -> str:
    return printable((first_line(error) or type(error).__name__)[:LONGEST_ERROR])
