"""GPUs, cores and precision of this machine, with a fake nvidia-smi: no GPU is needed."""

import os
import platform
import stat
import subprocess
import sys

import pytest

from bench.core import hardware
from bench.core.hardware import cores, suitable_precision


@pytest.fixture(autouse=True)
def visible_devices(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


def test_gpus_compute_in_bf16_and_this_machine_says_one_of_two():
    assert suitable_precision((0,)) == "bf16"
    assert suitable_precision(()) == "fp32"


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """Put an nvidia-smi of our own first in the path, and say that torch was built for CUDA."""

    def write(text, code=0):
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\nprintf '{text}'\nexit {code}\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        hardware.gpus.cache_clear()

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(hardware, "_torch_has", lambda what: what == "cuda")
    yield write
    hardware.gpus.cache_clear()


TWO = "GPU 0: NVIDIA H100 (UUID: GPU-1)\\nGPU 1: NVIDIA H100 (UUID: GPU-2)\\n"


def test_gpus_are_counted_without_torch(smi):
    smi(TWO)
    assert hardware.gpus() == (0, 1)
    smi("")
    assert hardware.gpus() == ()
    smi("no driver", code=9)
    assert hardware.gpus() == ()


@pytest.mark.parametrize(("shown", "count"), [("", 0), ("-1", 0), ("1", 1), ("0,1", 2), ("0,1,2,3", 2)])
def test_hidden_gpus_do_not_count(smi, monkeypatch, shown, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    smi(TWO)
    assert hardware.gpus() == tuple(range(count))


def test_hardware_is_described_without_importing_torch():
    found = hardware.hardware()
    assert found["cores"] == cores() >= 1
    assert found["cpu"]
    code = (
        "import sys, bench.core.hardware as d; d.gpus(), d.hardware(), d.suitable_precision(()); assert 'torch' not in "
    )
    code += "sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


TAKING_AND_FREEING = """
import mmap, os, resource, sys
import torch
from bench.core.hardware import keep_freed_memory
if "keep" in sys.argv:
    keep_freed_memory()
torch.zeros(1 << 20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    torch.zeros(1 << 20)
pages = 100 * (4 << 20) / mmap.PAGESIZE
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / pages)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_is_used_again_where_a_nanny_has_set_the_thresholds():
    def faults_per_page(*words):
        environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, "-c", TAKING_AND_FREEING, *words]
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert faults_per_page() > 0.9
    assert faults_per_page("keep") < 0.1
