"""Processors and GPUs of this machine, found without importing torch."""

import ctypes
import importlib.util
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path


@cache
def _torch_has(backend: str) -> bool:
    """Return True if the installed torch was built for `cuda` or `hip`, according to its version file."""
    found = importlib.util.find_spec("torch")
    path = Path(found.origin).parent / "version.py" if found and found.origin else Path()
    text = path.read_text() if path.is_file() else ""
    return bool(re.search(rf"^{backend}\b[^=\n]*= *'", text, re.MULTILINE))


@cache
def gpus() -> tuple[int, ...]:
    """Return the indices of the visible NVIDIA or AMD GPUs that torch can use; empty if the vendor's tool fails."""
    if not (_torch_has("cuda") or _torch_has("hip")):
        return ()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = ["nvidia-smi", "--list-gpus"] if _torch_has("cuda") else ["rocm-smi", "--showid"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    count = len(re.findall(r"^GPU ?\[?\d+", listing.stdout, re.MULTILINE))
    if visible is not None:
        count = min(count, len([s for s in visible.split(",") if s.strip() not in ("", "-1")]))
    return tuple(range(count))


def has_mps() -> bool:
    """Return True on a Mac whose GPU torch can use."""
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make glibc keep freed memory for this process instead of returning each block to the system.

    Every training step frees and allocates the same blocks. Dask's nannies set one of glibc's thresholds, which
    disables the automatic adjustment of the other: every block above 128 KiB then costs a system call, and a page
    fault per page. Does nothing with other C libraries.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if platform.system() == "Linux" else None
    if mallopt is not None:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD: the largest value that glibc accepts
        mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD: bytes that may stay unused


def suitable_precision(devices: Sequence[int]) -> str:
    """Return `bf16` for GPUs and `fp32` for CPUs, where bf16 slows small networks down.

    Measured on one thread of an AVX512-BF16 processor: bf16 takes 1.01 to 1.10 times as long as fp32 at width 8, and
    2.2 to 2.7 times as long for depthwise networks. Only wider networks on larger images gain (0.85):
    `--set recipe.precision=bf16`.
    """
    return "bf16" if devices else "fp32"


def cpu_model() -> str:
    """Return the name of the processor."""
    model = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        return model
    return found.group(1) if found else model


def hardware() -> dict[str, object]:
    """Return the description of this machine in `run.json`: processor, cores, GPUs, operating system."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "gpus": len(gpus()),
        "system": f"{platform.system()} {platform.machine()}",
    }
