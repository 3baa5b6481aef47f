"""Processors and GPUs of this machine, found without importing torch."""

import ctypes
import importlib.util
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


_names: list[str] = []
"""What selects each of the `gpus` in `CUDA_VISIBLE_DEVICES`."""


@cache
def gpus() -> tuple[int, ...]:
    """Return numbers of the visible GPUs that torch can use, from 0; empty if the vendor's tool fails.

    A GPU that is divided by MIG counts as its slices.
    """
    _names.clear()
    for backend, command in (("cuda", ["nvidia-smi", "--list-gpus"]), ("hip", ["rocm-smi", "--showid"])):
        if _torch_has(backend):
            _names.extend(_visible(_devices(_printed(command)), os.environ.get("CUDA_VISIBLE_DEVICES")))
            break
    return tuple(range(len(_names)))


def _printed(command: Sequence[str]) -> str:
    """Return what a vendor's tool prints; nothing if it fails."""
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def gpu_names() -> tuple[str, ...]:
    """Return the value of `CUDA_VISIBLE_DEVICES` that selects each of the `gpus`: a number, or the ID of a slice."""
    gpus()
    return tuple(_names)


def is_slice(name: str) -> bool:
    """Return True if a value of `CUDA_VISIBLE_DEVICES` is a MIG slice, of which a process sees one only."""
    return name.startswith("MIG-")


def _devices(listing: str) -> list[tuple[str, list[str]]]:
    """Return the ID and the MIG slices of each GPU in the output of the vendor's tool; an empty ID if it shows none."""
    devices: dict[str, tuple[str, list[str]]] = {}
    for line in listing.splitlines():
        found = re.search(r"\(UUID: ([^)]+)\)", line)
        name = found.group(1) if found else ""
        if number := re.match(r"GPU ?\[?(\d+)", line):
            devices.setdefault(number.group(1), (name, []))
        elif devices and is_slice(name):
            [*devices.values()][-1][1].append(name)
    return [*devices.values()]


def _visible(devices: Sequence[tuple[str, list[str]]], variable: str | None) -> list[str]:
    """Return what selects each visible device. As in CUDA, the first entry of the variable that is none ends it."""
    if variable is None or not devices:
        return [name for number, (_, slices) in enumerate(devices) for name in slices or [str(number)]]
    visible: list[str] = []
    for entry in (e.strip() for e in variable.split(",")):
        if is_slice(entry):
            known = [s for _, slices in devices for s in slices]
            named = [entry] if not known or any(s.startswith(entry) for s in known) else []
        else:
            numbers = [n for n, (name, _) in enumerate(devices) if entry == str(n) or _begins(name, entry)]
            named = devices[numbers[0]][1] or [entry] if numbers else []
        if not named:
            break
        visible += named
    return visible


def _begins(name: str, entry: str) -> bool:
    return entry.startswith("GPU-") and name.startswith(entry)


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


WITH_BF16 = 8.0
"""The compute capability from which on NVIDIA's GPUs have bf16. On others torch convolves it without cuDNN, image by
image (`slow_conv2d`)."""


def suitable_precision(devices: Sequence[int]) -> str:
    """Return `bf16` for GPUs that all have it, else `fp32`, as for CPUs, where bf16 slows small networks down.

    All of NVIDIA's GPUs that the driver lists count; those whose capability is not known have it.

    Measured on one thread of an AVX512-BF16 processor: bf16 takes 1.01 to 1.10 times as long as fp32 at width 8, and
    2.2 to 2.7 times as long for depthwise networks. Only wider networks on larger images gain (0.85):
    `--set recipe.precision=bf16`.
    """
    query = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    listing = _printed(query) if devices and _torch_has("cuda") else ""
    oldest = min(map(float, re.findall(r"^\d+\.\d+", listing, re.MULTILINE)), default=WITH_BF16)
    return "bf16" if devices and oldest >= WITH_BF16 else "fp32"


def cpu_model() -> str:
    """Return the name of the processor."""
    model = platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return found.group(1) if found else model


INSTRUCTIONS = {
    "amx_bf16": "AMX bf16",
    "avx512_bf16": "AVX-512 bf16",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "bf16": "Arm bf16",
    "sve": "SVE",
    "asimd": "NEON",
}
"""By flag of the processor, the strongest first: the instructions that decide how fast networks are trained on it."""


def instruction_set(root: Path = Path("/")) -> str:
    """Return the strongest of `INSTRUCTIONS` that the processor has; where Linux lists none, the machine's kind.

    `root` is the folder that holds `proc`.
    """
    listed = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read(root / "proc/cpuinfo"), re.MULTILINE)
    flags = {*listed.group(1).split()} if listed else set[str]()
    return next((name for flag, name in INSTRUCTIONS.items() if flag in flags), platform.machine())


CAPS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Environment variables that confine torch and oneDNN to fewer instructions than the processor has."""


def computes_bf16(root: Path = Path("/")) -> bool:
    """Return True if the processor has x86 instructions for bf16, and no variable of `CAPS` is set.

    Arm's are left out, because nobody measured what they gain. `root` is the folder that holds `proc`.
    """
    return instruction_set(root) in ("AMX bf16", "AVX-512 bf16") and not any(os.environ.get(name) for name in CAPS)


def hardware() -> dict[str, object]:
    """Return the description of this machine in `run.json`: processor, cores, GPUs, operating system."""
    return {
        "cpu": cpu_model(),
        "cores": cores(),
        "gpus": len(gpus()),
        "system": f"{platform.system()} {platform.machine()}",
    }
