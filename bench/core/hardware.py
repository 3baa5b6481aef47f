"""Processors and GPUs of this machine, found without importing torch."""

import ctypes
import importlib.util
import itertools
import math
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
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return bool(re.search(rf"^{backend}\b[^=\n]*= *'", text, re.MULTILINE))


@cache
def gpus() -> tuple[int, ...]:
    """Return the indices of the visible NVIDIA or AMD GPUs that torch can use; empty if the vendor's tool fails."""
    if not (_torch_has("cuda") or _torch_has("hip")):
        return ()
    command = ["nvidia-smi", "--list-gpus"] if _torch_has("cuda") else ["rocm-smi", "--showid"]
    try:
        listing = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    count = len(re.findall(r"^GPU ?\[?\d+", listing.stdout, re.MULTILINE))
    names = visible_gpus()
    if names is not None:
        count = min(count, len(list(itertools.takewhile(lambda name: not name.isdigit() or int(name) < count, names))))
    return tuple(range(count))


def visible_gpus() -> list[str] | None:
    """Return the entries of CUDA_VISIBLE_DEVICES; None if it is not set.

    CUDA ignores the first entry that is neither a number nor an identifier, such as -1 or NoDevFiles, and all after it.
    """
    text = os.environ.get("CUDA_VISIBLE_DEVICES")
    if text is None:
        return None
    entries = (entry.strip() for entry in text.split(","))
    return list(itertools.takewhile(re.compile(r"\d+|(GPU|MIG)-.+").fullmatch, entries))


def has_mps() -> bool:
    """Return True on a Mac whose GPU torch can use."""
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def cores() -> int:
    """Return the number of CPU cores that this process may use: those it may run on, at most its quota, at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)
    counted = getattr(os, "process_cpu_count", None)  # it knows PYTHON_CPU_COUNT, too
    count = counted() if counted else len(affinity(0)) if affinity else os.cpu_count()
    return int(max(1, min(count or 1, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """Return how many CPUs the control groups of this process, a container's, may use at once; infinity: no limit.

    `root` is the folder that holds `proc` and `sys`. Both versions of control groups are read.
    """
    found, mounts = [math.inf], root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        controllers, path = [*line.split(":", 2), "", ""][1:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for mount in (mounts / "unified", mounts) if not controllers else (mounts / controllers, mounts / "cpu"):
            group = mount / path.strip("/")
            for folder in (f for f in (group, *group.parents) if f.is_relative_to(mount)):
                quota, period = [*_read(folder / "cpu.max").split(), "", ""][:2]
                quota = quota or _read(folder / "cpu.cfs_quota_us").strip()
                period = period or _read(folder / "cpu.cfs_period_us").strip()
                if quota.isdigit() and period.isdigit() and int(period):
                    found.append(int(quota) / int(period))
    return min(found)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""


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
    found = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return found.group(1) if found else model


def hardware() -> dict[str, object]:
    """Return the description of this machine in `run.json`: processor, cores, GPUs, operating system."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "gpus": len(gpus()),
        "system": f"{platform.system()} {platform.machine()}",
    }
