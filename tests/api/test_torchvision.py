"""torchvision beside a CPU build of torch: what the import does before and after `prepare_torchvision`."""

import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

import bench
from bench.api.torchvision import prepare_torchvision

USE = """
import torchvision
from torchvision.transforms import v2
assert torchvision.datasets.CIFAR10 and torchvision.datasets.FashionMNIST
logits = torchvision.models.resnet18(num_classes=10).eval()(torch.zeros(2, 3, 32, 32))
assert logits.shape == (2, 10)
image = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
assert torch.equal(v2.RandomHorizontalFlip(p=1.0)(image), image.flip(2))
"""

BARE = """
import torch
try:
    import torchvision
except RuntimeError as error:
    assert "torchvision::nms" in str(error), error
    print("fails")
else:
    print("works")
"""


def python(code, *options):
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_after_preparing_torchvision_works_and_operators_are_declared_only_where_it_did_not():
    outcome = python(f"""{BARE}
from bench.api import torchvision as module
module.prepare_torchvision()
module.prepare_torchvision()
print(module._declare() is not None)
{USE}""")
    assert outcome.split() in (["fails", "True"], ["works", "False"])


def test_preparing_does_not_import_torchvision_and_suffices_without_a_first_attempt():
    python(f"""
import sys, torch
from bench import prepare_torchvision
prepare_torchvision()
assert "torchvision" not in sys.modules
{USE}""")


def test_importing_the_module_imports_neither_torch_nor_torchvision():
    python("import sys, bench.api.torchvision; assert not {'torch', 'torchvision'} & set(sys.modules)")


@pytest.mark.parametrize("name", ["_C.so", "_C_stable.so", "_C" + EXTENSION_SUFFIXES[0]])
def test_nothing_is_declared_where_the_c_part_loads(name, tmp_path):
    import torch

    from bench.api import torchvision

    assert not torchvision._loads(tmp_path)
    (tmp_path / name).write_bytes(b"no library")
    (tmp_path / "_C_notes.txt").touch()
    assert not torchvision._loads(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(torch._C.__file__)  # any shared library that loads will do
    assert torchvision._loads(tmp_path)


def test_a_missing_torchvision_is_one_clear_line():
    hidden = """
import importlib.util, sys
find = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name == "torchvision" else find(name, package)
from bench import BenchError, prepare_torchvision
for attempt in range(2):
    try:
        prepare_torchvision()
    except BenchError as error:
        print(error)
"""
    assert python(hidden).splitlines() == 2 * [
        "torchvision is not installed. Type: pip install -c constraints.txt torchvision"
    ]


def test_plugins_get_it_from_bench():
    assert bench.prepare_torchvision is prepare_torchvision


def test_in_this_process_it_may_be_called_often():
    for _ in range(3):
        prepare_torchvision()
    import torchvision

    assert torchvision.models.list_models()
