"""Describe the machine on which a task runs, as far as it decides the last digits of a result."""

import os
import platform
import re
import subprocess
from functools import cache

import numpy as np
import torch

from bench.core.hardware import CAPS, cpu_model

VARIABLES = (
    *CAPS,
    "ONEDNN_CPU_ISA_HINTS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "MKL_ENABLE_INSTRUCTIONS",
    "MKL_CBWR",
    "OPENBLAS_CORETYPE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUBLAS_WORKSPACE_CONFIG",
)
"""Environment variables that cap the instruction set, or choose the precision or the order of additions."""


@cache
def machine(device: str) -> str:
    """Return a line: system, processor, instruction set, libraries of linear algebra, GPU and driver, variables.

    Equal seeds give equal networks where this line and the number of threads are equal; elsewhere rounding differs.
    """
    config = torch.__config__.show()
    parts = [f"{platform.system()} {platform.machine()}", cpu_model(), torch.backends.cpu.get_cpu_capability()]
    parts += [f"oneDNN {v}" for v in re.findall(r"MKL-DNN v(\S+)", config)]
    parts += [f"MKL {v}" for v in re.findall(r"Math Kernel Library Version (\S+)", config)[:1]]
    blas = np.__config__.show(mode="dicts")["Build Dependencies"]["blas"]
    parts.append(f"numpy with {blas.get('name')} {blas.get('version')}")
    if device.startswith("cuda"):
        parts += [torch.cuda.get_device_name(device), f"driver {_driver()}", f"CUDA {torch.version.cuda}"]
        parts.append(f"cuDNN {torch.backends.cudnn.version()}")
    parts += [f"{name}={os.environ[name][:40]}" for name in VARIABLES if os.environ.get(name)]
    return "".join(c if c.isprintable() else " " for c in ", ".join(parts))[:900]


def _driver() -> str:
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        listing = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return (listing.split() or ["unknown"])[0]
