"""GPUs, cores and precision of this machine, with a fake nvidia-smi: no GPU is needed."""

import math
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


@pytest.mark.parametrize(
    ("listed", "precision"),
    [
        ("8.0\\n9.0\\n", "bf16"),
        ("12.0\\n", "bf16"),
        ("7.5\\n", "fp32"),  # a T4
        ("8.6\\n7.5\\n", "fp32"),
        ("[N/A]\\n", "bf16"),
        (TWO, "bf16"),
    ],
)
def test_gpus_without_bf16_compute_in_fp32(smi, listed, precision):
    smi(listed)
    assert suitable_precision((0,)) == precision
    assert suitable_precision(()) == "fp32"
    smi("", code=2)  # an old driver, which knows no compute capability
    assert suitable_precision((0,)) == "bf16"


@pytest.mark.parametrize(
    ("shown", "count"),
    [
        ("", 0),
        ("-1", 0),
        ("NoDevFiles", 0),
        ("none", 0),
        (" ", 0),
        (",0", 0),
        ("1", 1),
        ("0,1", 2),
        ("0,1,2,3", 2),
        ("0, -1, 1", 1),
        ("5,0", 0),
        ("GPU-1,MIG-2", 2),
        ("GPU-1,none,GPU-2", 1),
    ],
)
def test_hidden_gpus_do_not_count(smi, monkeypatch, shown, count):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    smi(TWO)
    assert hardware.gpus() == tuple(range(count))


SLICED = (
    "GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aa11)\\n"
    "  MIG 3g.20gb     Device  0: (UUID: MIG-5c2a)\\n"
    "  MIG 3g.20gb     Device  1: (UUID: MIG-5d3b)\\n"
    "GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bb22)\\n"
)
"""What nvidia-smi prints of a GPU that MIG divides in two, and of a whole one."""
OLD = "GPU 0: A100 (UUID: GPU-aa11)\\n  MIG 1g.5gb Device 0: (UUID: MIG-GPU-aa11/7/0)\\n"


@pytest.mark.parametrize(
    ("listing", "shown", "names"),
    [
        (SLICED, None, ("MIG-5c2a", "MIG-5d3b", "1")),
        (SLICED, "MIG-5c2a,MIG-5d3b", ("MIG-5c2a", "MIG-5d3b")),
        (SLICED, "MIG-5d3b", ("MIG-5d3b",)),
        (SLICED, "MIG-5d", ("MIG-5d",)),  # an ID may be shortened
        (SLICED, "MIG-5d3b,MIG-0000,MIG-5c2a", ("MIG-5d3b",)),
        (SLICED, "0", ("MIG-5c2a", "MIG-5d3b")),
        (SLICED, "1", ("1",)),
        (SLICED, "1,0", ("1", "MIG-5c2a", "MIG-5d3b")),
        (SLICED, "GPU-aa", ("MIG-5c2a", "MIG-5d3b")),
        (SLICED, "GPU-bb22", ("GPU-bb22",)),
        (OLD, "MIG-GPU-aa11/7/0", ("MIG-GPU-aa11/7/0",)),
        (OLD, None, ("MIG-GPU-aa11/7/0",)),
        ("GPU 0: A100 (UUID: GPU-aa11)\\n", "MIG-5c2a,MIG-5d3b", ("MIG-5c2a", "MIG-5d3b")),  # slices not shown
        (TWO, None, ("0", "1")),
        (TWO, "GPU-2,GPU-1", ("GPU-2", "GPU-1")),
        (TWO, " 1 , 0 ", ("1", "0")),
        (TWO, "0,-1,1", ("0",)),
        (TWO, "7,0", ()),
        (TWO, "NoDevFiles", ()),
        (TWO, "none", ()),
        (TWO, "void", ()),
        (TWO, ",0", ()),
        (TWO, "MIG-5c2a", ("MIG-5c2a",)),
        ("", "MIG-5c2a", ()),
        ("", "0", ()),
        ("GPU[0]\\t: Device Name: MI300X\\n", "", ()),  # rocm-smi shows no ID
        ("GPU[0]\\t: Device Name: MI300X\\n", "0", ("0",)),
    ],
)
def test_slices_of_mig_are_gpus_of_their_own(smi, monkeypatch, listing, shown, names):
    if shown is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
    smi(listing)
    assert hardware.gpus() == tuple(range(len(names)))
    assert hardware.gpu_names() == names


def test_an_amd_gpu_counts_once_however_many_lines_describe_it(tmp_path, monkeypatch):
    listing = "GPU[0]\t\t: Device Name: MI300X\nGPU[0]\t\t: GUID: 1\nGPU[1]\t\t: Device Name: MI300X\n"
    program = tmp_path / "rocm-smi"
    program.write_text(f"#!/bin/sh\ncat <<'E'\n{listing}E\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(hardware, "_torch_has", lambda what: what == "hip")
    hardware.gpus.cache_clear()
    assert hardware.gpus() == (0, 1) and hardware.gpu_names() == ("0", "1")
    hardware.gpus.cache_clear()


def groups(root, own, **files):
    """Write files of control groups below a folder of our own; `__` stands for a slash."""
    files = {"proc/self/cgroup": own, **{f"sys/fs/cgroup/{k.replace('__', '/')}": v for k, v in files.items()}}
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.with_name(path.name.replace("cpu_", "cpu.")) if path.name != "cgroup" else path).write_text(text)
    return hardware.cpu_quota(root)


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu_max": "150000 100000\n"}, 1.5),  # a container with a name space of its own
        ("0::/\n", {"cpu_max": "max 100000\n"}, math.inf),
        ("0::/\n", {}, math.inf),
        ("0::/a/b\n", {"a__b__cpu_max": "max 100000", "a__cpu_max": "50000 100000"}, 0.5),  # the parent's counts
        ("0::/a/b\n", {"a__b__cpu_max": "200000 100000", "a__cpu_max": "400000 100000"}, 2),
        ("0::/docker/elsewhere\n", {"cpu_max": "100000 100000"}, 1),  # a path of the host
        (
            "4:cpu,cpuacct:/\n",
            {"cpu,cpuacct__cpu_cfs_quota_us": "300000", "cpu,cpuacct__cpu_cfs_period_us": "100000"},
            3,
        ),
        (
            "2:cpu:/x\n1:name=systemd:/y\n",
            {"cpu__x__cpu_cfs_quota_us": "-1", "cpu__x__cpu_cfs_period_us": "100000"},
            math.inf,
        ),
        ("2:cpu:/x\n0::/\n", {"cpu__x__cpu_cfs_quota_us": "50000", "cpu__x__cpu_cfs_period_us": "50000"}, 1),
        ("7:cpuset:/\n", {"cpuset__cpu_cfs_quota_us": "1", "cpuset__cpu_cfs_period_us": "1"}, math.inf),
        ("nonsense", {"cpu_max": "a b"}, math.inf),
        ("0::/\n", {"cpu_max": ""}, math.inf),
        ("0::/\n", {"unified__cpu_max": "200000 100000"}, 2),
    ],
)
def test_the_quota_of_control_groups_is_read(tmp_path, own, files, quota):
    assert groups(tmp_path, own, **files) == quota


@pytest.mark.parametrize(
    ("usable", "quota", "count"), [(4, math.inf, 4), (4, 1.5, 1), (4, 0.5, 1), (4, 2.0, 2), (1, 8, 1)]
)
def test_cores_are_those_that_this_process_may_use(monkeypatch, usable, quota, count):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(usable)), raising=False)
    monkeypatch.setattr(os, "process_cpu_count", lambda: usable, raising=False)
    monkeypatch.setattr(hardware, "cpu_quota", lambda: quota)
    assert cores() == count


@pytest.mark.skipif(sys.version_info < (3, 13), reason="Python 3.13 has the option")
def test_cores_may_be_named_to_python():
    code = "from bench.core.hardware import cores; print(cores())"
    done = subprocess.run([sys.executable, "-X", "cpu_count=1", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


@pytest.mark.parametrize(
    ("listed", "name"),
    [
        ("flags\t\t: fpu sse2 avx avx2 fma", "AVX2"),
        ("flags\t\t: fpu avx2 avx512f avx512bw", "AVX-512"),
        ("processor\t: 0\nflags\t\t: avx2 avx512f avx512_bf16 xsave\nbogomips\t: 1", "AVX-512 bf16"),
        ("flags\t\t: avx2 avx512f avx512_bf16 amx_bf16 amx_tile", "AMX bf16"),
        ("Features\t: fp asimd crc32", "NEON"),
        ("Features\t: fp asimd sve bf16", "Arm bf16"),
        ("flags\t\t: fpu sse2", "a machine"),
        ("", "a machine"),
    ],
)
def test_the_instruction_set_is_the_strongest_of_the_flags(tmp_path, monkeypatch, listed, name):
    monkeypatch.setattr(hardware.platform, "machine", lambda: "a machine")
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(listed)
    assert hardware.instruction_set(tmp_path) == name


@pytest.mark.parametrize(
    ("listed", "cap", "answer"),
    [
        ("flags : avx2 avx512f avx512_bf16", "", True),
        ("flags : avx2 avx512f avx512_bf16 amx_bf16", "", True),
        ("flags : avx2 avx512f", "", False),
        ("Features : fp asimd sve bf16", "", False),
        ("", "", False),
        ("flags : avx2 avx512f avx512_bf16", "AVX512_CORE", False),
    ],
)
def test_bf16_needs_instructions_that_torch_may_use(tmp_path, monkeypatch, listed, cap, answer):
    for name in hardware.CAPS:
        monkeypatch.delenv(name, raising=False)
    if cap:
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text(listed)
    assert hardware.computes_bf16(tmp_path) is answer


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


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator is not glibc's")
def test_freed_memory_is_used_again_where_a_nanny_has_set_the_thresholds():
    def faults_per_page(*words):
        environment = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "65536"}
        command = [sys.executable, "-c", TAKING_AND_FREEING, *words]
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    assert faults_per_page() > 0.9
    assert faults_per_page("keep") < 0.1
