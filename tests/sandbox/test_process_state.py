"""What third-party code may change in a process is put back."""

import gc
import locale
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import pytest
import torch

from bench.registry.discovery import load_registry
from bench.sandbox.process_state import SETTINGS, preserved_process_state

SPOIL = """
import gc, locale, logging, multiprocessing, os, signal, sys, warnings
import torch
multiprocessing.set_start_method("spawn", force=True)
os.umask(0o777)
os.environ["SPOILT"] = "yes"
os.chdir("/")
for name in ("C.UTF-8", "en_US.UTF-8", "C"):
    try:
        locale.setlocale(locale.LC_ALL, name)
    except locale.Error:
        pass
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
if signal.getitimer(signal.ITIMER_REAL)[0] == 0:  # else that of the tests' time limit
    signal.alarm(1000)
logging.basicConfig(level=logging.DEBUG, force=True)
logging.disable(logging.CRITICAL)
warnings.simplefilter("error")
sys.setrecursionlimit(5000)
sys.stdout = None
gc.disable()
torch.set_default_dtype(torch.float64)
torch.set_default_device("meta")
torch.set_num_threads(7)
torch.set_grad_enabled(False)
"""
PLUGIN = (
    SPOIL
    + """
from bench import hookimpl
from bench.testing.toy_plugins import ToyTune

@hookimpl
def bench_attacks():
    torch.set_default_dtype(torch.float64)
    os.umask(0o777)
    return [ToyTune()]
"""
)


def observed():
    return {
        "settings": [read() for read, _ in SETTINGS],
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "filters": list(warnings.filters),
        "method": multiprocessing.get_start_method(allow_none=True),
        "level": logging.root.level,
        "umask": oct(_umask()),
        "locale": locale.setlocale(locale.LC_ALL),
        "collects": gc.isenabled(),
        "folder": Path.cwd(),
    }


def _umask():
    value = os.umask(0)
    os.umask(value)
    return value


@pytest.mark.parametrize("raises", [None, KeyboardInterrupt])
def test_everything_is_put_back(raises):
    before = observed()
    try:
        with preserved_process_state():
            exec(SPOIL, {})
            assert observed() != before
            if raises:
                raise raises
    except KeyboardInterrupt:
        assert raises
    assert observed() == before


def test_the_import_of_a_plugin_changes_nothing(tmp_path):
    (tmp_path / "spoiling.py").write_text(PLUGIN)
    before = observed()
    assert "toy_tune" in load_registry([tmp_path / "spoiling.py"], ()).names("attack")
    assert observed() == before


def test_the_import_of_the_first_plugin_that_imports_torch_changes_nothing(tmp_path):
    (tmp_path / "spoiling.py").write_text(PLUGIN)
    code = (
        "import sys\nfrom bench.registry.discovery import load_registry\nassert 'torch' not in sys.modules\n"
        f"load_registry([{str(tmp_path / 'spoiling.py')!r}], ())\nimport torch\n"
        "assert torch.get_default_dtype() is torch.float32, torch.get_default_dtype()\n"
        "assert torch.get_default_device().type == 'cpu'\nassert torch.is_grad_enabled()\n"
        "import multiprocessing, os\nassert multiprocessing.get_start_method(allow_none=True) is None\n"
        "import logging\nassert logging.root.level == logging.WARNING and not logging.root.handlers\n"
        "assert os.umask(0) != 0o777\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_thread_other_than_the_main_one_may_enter():
    found = []

    def enter():
        with preserved_process_state():
            os.environ["SPOILT"] = "yes"
        found.append("SPOILT" in os.environ)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [False]


def test_a_forked_child_does_not_leave_the_context():
    reading, writing = os.pipe()
    with preserved_process_state():
        child = os.fork()
    if child == 0:  # never reached
        os.write(writing, b"escaped")
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    os.close(writing)
    assert os.read(reading, 10) == b""
    os.close(reading)


def test_a_folder_that_was_removed_meanwhile_is_no_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with preserved_process_state():
        os.chdir("/")
        tmp_path.rmdir()
    monkeypatch.undo()


def test_a_timer_of_the_callers_goes_on():
    left = signal.setitimer(signal.ITIMER_REAL, 500)
    try:
        with preserved_process_state():
            pass
        assert 400 < signal.getitimer(signal.ITIMER_REAL)[0] <= 500
    finally:
        signal.setitimer(signal.ITIMER_REAL, *left)
