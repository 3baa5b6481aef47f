"""The processors and GPUs of this machine, found without importing torch."""

from __future__ import annotations

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
def _torch_is(what: str) -> bool:
    """Say whether the installed torch was built for `cuda` or `hip`, read from its version file."""
    found = importlib.util.find_spec("torch")
    path = Path(found.origin).parent / "version.py" if found and found.origin else Path()
    text = path.read_text() if path.is_file() else ""
    return bool(re.search(rf"^{what}\b[^=\n]*= *'", text, re.MULTILINE))


@cache
def gpus() -> tuple[int, ...]:
    """List the NVIDIA or AMD GPUs that torch could use here."""
    if not (_torch_is("cuda") or _torch_is("hip")):
        return ()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    command = ["nvidia-smi", "--list-gpus"] if _torch_is("cuda") else ["rocm-smi", "--showid"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    count = len(re.findall(r"^GPU ?\[?\d+", answer.stdout, re.MULTILINE))
    if shown is not None:
        count = min(count, len([s for s in shown.split(",") if s.strip() not in ("", "-1")]))
    return tuple(range(count))


def has_mps() -> bool:
    """Say whether this is a Mac whose GPU torch can use."""
    return platform.system() == "Darwin" and platform.machine() == "arm64"


def cores() -> int:
    """Count the CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Let this process use its freed memory again instead of giving each block back to the system; glibc only.

    Training frees and takes the same blocks in every step. Dask's nannies fix one of glibc's thresholds, which turns
    off the other one's adjustment: every block above 128 KiB then costs a system call and a fault per page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if platform.system() == "Linux" else None
    if mallopt is not None:
        mallopt(-3, 1 << 25)  # M_MMAP_THRESHOLD, at the largest value that glibc takes
        mallopt(-1, 1 << 28)  # M_TRIM_THRESHOLD: so much may lie idle


def suitable_precision(present: Sequence[int]) -> str:
    """Choose `bf16` on GPUs, `fp32` on CPUs: there bf16 costs small networks more than it brings.

    Measured on one thread of an AVX512-BF16 processor: 1.01 to 1.10 times the time of fp32 at width 8, 2.2 to 2.7
    times for depthwise networks; only wider networks on larger images gain (0.85), for which `--set
    recipe.precision=bf16` asks.
    """
    return "bf16" if present else "fp32"


def hardware() -> dict[str, object]:
    """Describe this machine for `run.json`."""
    model = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        model = found.group(1) if found else model
    except OSError:
        pass
    return {"cpu": model, "cores": cores(), "gpus": len(gpus()), "system": f"{platform.system()} {platform.machine()}"}
