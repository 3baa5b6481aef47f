"""`benchmarks/gpu_machine.sh`: packed here, run on a bare machine; tried on a CPU, with tiny sizes."""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "benchmarks" / "gpu_machine.sh"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is a program for Linux")


def shell(*words, **variables):
    environment = {k: v for k, v in os.environ.items() if k != "BENCH_DATA"} | {"PYTHON": sys.executable} | variables
    return subprocess.run(
        ["bash", *map(str, words)], env=environment, capture_output=True, text=True, check=False, timeout=900
    )


def steps(out):
    """Return what steps.txt has of each step."""
    lines = [line.split(" ", 1)[1].partition(": ") for line in (out / "steps.txt").read_text().splitlines()]
    return {name: rest for name, _, rest in lines}


@pytest.fixture(scope="module")
def pack(tmp_path_factory):
    """Pack this checkout, without the wheels of others and without data."""
    if shutil.which("git") is None or subprocess.run(["git", "-C", ROOT, "rev-parse"], check=False).returncode:
        pytest.skip("this is no checkout")
    folder = tmp_path_factory.mktemp("pack")
    done = shell(SCRIPT, "pack", folder, NO_WHEELS="1")
    assert done.returncode == 0, done.stderr
    assert "missing: DATA/cifar-10-batches-py" in done.stdout
    return folder


def test_without_words_it_shows_how_it_is_used():
    done = shell(SCRIPT)
    assert done.returncode == 2
    assert "run PACK OUT" in done.stdout
    assert "set -u" not in done.stdout


def test_a_folder_that_is_no_pack_is_named_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    done = shell(SCRIPT, "run", tmp_path / "empty", tmp_path / "out")
    assert done.returncode == 2
    assert done.stdout.startswith("missing: ")
    assert len(done.stdout.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_machine_without_a_gpu_is_named_and_no_step_prevents_the_next(pack, tmp_path):
    done = shell(pack / "gpu_machine.sh", "run", pack, tmp_path / "out", ONLY="environment rows tests")
    assert done.returncode == 1
    found = steps(tmp_path / "out")
    assert "torch sees no GPU" in found["environment"]
    assert "no GPU" in found["rows"]
    assert found["tests"].startswith("done in")
    assert found["missing"].startswith("CIFAR") or "left out" in found["missing"]


@pytest.mark.slow
def test_a_python_without_torch_is_named(pack, tmp_path):
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise ImportError('no torch here')")
    words = ("run", pack, tmp_path / "out")
    done = shell(pack / "gpu_machine.sh", *words, ONLY="environment", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert "missing: torch (no torch here)" in steps(tmp_path / "out")["environment"]


@pytest.mark.slow
def test_all_of_it_runs_on_a_cpu_with_tiny_sizes(pack, tmp_path):
    out = tmp_path / "out"
    done = shell(pack / "gpu_machine.sh", "run", pack, out, TINY="1")
    assert done.returncode == 0, (out / "steps.txt").read_text()
    found = steps(out)
    assert all(found[name].startswith("done in") for name in ("environment", "rows", "tests", "medium"))
    assert "share of the peak, vgg16_bn" in (out / "RESULTS.md").read_text()
    assert "sac_m" in (out / "medium" / "table.csv").read_text()


@pytest.mark.slow
def test_a_step_that_takes_longer_than_what_is_left_is_stopped(pack, tmp_path):
    out = tmp_path / "out"
    done = shell(pack / "gpu_machine.sh", "run", pack, out, TINY="1", SECONDS_LEFT="12", ONLY="rows medium")
    assert done.returncode == 1
    found = steps(out)
    assert found["rows"].startswith("stopped after its 1")
    assert found["medium"] == "not begun, no time is left"


STUBBORN = """#!{python}
import signal, sys, time
pressed = []
signal.signal(signal.SIGINT, lambda *_: pressed.append(time.monotonic()))
print("it trains", flush=True)
while not pressed or pressed[-1] - pressed[0] < 5:
    time.sleep(0.1)
print("its tables are written", flush=True)
sys.exit(130)
"""
"""In place of a run whose tasks take minutes: it ends at a second Ctrl-C."""


@pytest.mark.slow
def test_a_run_that_is_stopped_writes_its_tables(tmp_path):
    pack, out, program = tmp_path / "pack", tmp_path / "out", tmp_path / "python"
    (pack / "data").mkdir(parents=True)
    tarfile.open(pack / "source.tar.gz", "w:gz").close()
    program.write_text(STUBBORN.format(python=sys.executable))
    program.chmod(0o755)
    done = shell(SCRIPT, "run", pack, out, PYTHON=str(program), ONLY="medium", SECONDS_LEFT="8")
    assert done.returncode == 1
    assert steps(out)["medium"].startswith("stopped after its ")
    assert (out / "medium.log").read_text() == "it trains\nits tables are written\n"
