"""Plugin code runs from a fixed state and leaves no trace."""

import os
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_hook

from bench.sandbox.logs import LARGEST_LOG, Log
from bench.sandbox.torch_settings import settings
from bench.sandbox.torch_state import isolated


def draws():
    return torch.rand(3).tolist(), np.random.rand(3).tolist(), [random.random() for _ in range(3)]


def spoil():
    """Change everything that a plugin could change."""
    torch.manual_seed(99)
    np.random.seed(99)
    random.seed(99)
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.enabled = False
    os.environ["BENCH_SPOILT"] = "yes"
    os.environ["BENCH_KEPT"] = "changed"
    del os.environ["BENCH_REMOVED"]
    os.chdir("/")
    sys.stdout = sys.stderr = None
    warnings.simplefilter("ignore")


def observed():
    cudnn = torch.backends.cudnn
    return {
        "dtype": torch.get_default_dtype(),
        "grad": torch.is_grad_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "streams": (sys.stdout, sys.stderr),
        "filters": list(warnings.filters),
    }


@pytest.fixture
def log(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_KEPT", "as it was")
    monkeypatch.setenv("BENCH_REMOVED", "as it was")
    return Log(tmp_path / "logs" / "key.txt")


@pytest.mark.parametrize("raises", [None, ValueError, SystemExit, KeyboardInterrupt])
def test_everything_is_put_back_also_when_the_code_raises(log, raises):
    before, states = observed(), (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    try:
        with isolated(1, log):
            spoil()
            if raises is not None:
                raise raises
    except (ValueError, SystemExit, KeyboardInterrupt) as error:
        assert type(error) is raises
    assert observed() == before
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.random.get_state()[1].tolist() == states[1]
    assert random.getstate() == states[2]


def test_the_seed_alone_decides_what_is_drawn_whatever_ran_before(log):
    with isolated(5, log):
        first = draws()
    with isolated(6, log):
        other = draws()
    torch.rand(4), np.random.rand(9), random.random()
    with isolated(5, log):
        assert draws() == first
    assert other != first


def test_a_process_of_its_own_draws_the_same_and_keeps_no_generator(log):
    with isolated(5, log):
        first = draws()
    before = dict(os.environ)
    for _ in range(2):
        with isolated(5, log, own_process=True):
            os.environ["SPOILT"] = "yes"
            assert draws() == first
        assert dict(os.environ) == before


@pytest.mark.parametrize(("device", "mode"), [("cuda:0", 1), ("cpu", 0), ("mps", 0)])
def test_a_gpu_is_set_to_deterministic_algorithms_for_the_task_only(log, device, mode, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with isolated(1, log, device=device):
        assert torch.get_deterministic_debug_mode() == mode
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert os.environ.get("CUBLAS_WORKSPACE_CONFIG") == (":4096:8" if mode else None)
    assert torch.get_deterministic_debug_mode() == 0 and "CUBLAS_WORKSPACE_CONFIG" not in os.environ


@pytest.mark.parametrize(
    "text",
    [
        "adaptive_max_pool2d_backward_cuda does not have a deterministic implementation, but you set ...",
        "Memory Efficient attention defaults to a non-deterministic algorithm. ...",
    ],
)
def test_an_operation_without_a_deterministic_algorithm_is_no_error_where_warnings_are(log, text):
    with pytest.warns(UserWarning, match="deterministic"):
        warnings.simplefilter("error")
        with isolated(1, log, device="cuda:0"):
            warnings.warn(text, stacklevel=1)
            with pytest.raises(UserWarning, match="another"):
                warnings.warn("another", stacklevel=1)


def test_the_state_that_a_task_starts_from_is_always_the_same(log):
    """Whatever a plugin's module did to torch and numpy when it was imported."""
    as_it_starts = observed()
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.set_default_device("meta")
    torch.use_deterministic_algorithms(True)
    torch.set_float32_matmul_precision("medium")
    torch.backends.cudnn.benchmark = True
    errors = np.seterr(all="raise")
    try:
        with isolated(1, log, threads=2):
            inside = observed()
            assert {k: inside[k] for k in ("dtype", "grad", "deterministic", "precision")} == {
                k: as_it_starts[k] for k in ("dtype", "grad", "deterministic", "precision")
            }
            assert inside["cudnn"] == (True, False, True)
            assert torch.get_default_device() == torch.device("cpu")
            assert torch.get_num_threads() == 2
            assert np.geterr()["divide"] == "warn"
        assert torch.get_default_dtype() is torch.float64
        assert torch.get_default_device() == torch.device("meta")
        assert torch.are_deterministic_algorithms_enabled()
        assert not torch.is_grad_enabled()
        assert np.geterr()["divide"] == "raise"
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
        torch.backends.cudnn.benchmark = False
        np.seterr(**errors)


LASTING = {
    "a hook of every module": lambda: register_module_forward_hook(lambda module, inputs, outputs: outputs * 2),
    "autocast": lambda: torch.set_autocast_enabled("cpu", True),
    "its type": lambda: torch.set_autocast_dtype("cpu", torch.float16),
    "its cache": lambda: torch.set_autocast_cache_enabled(False),
    "a context of it that stays entered": lambda: torch.autocast("cpu").__enter__(),
    "oneDNN": lambda: setattr(torch.backends.mkldnn, "enabled", False),
    "its determinism": lambda: setattr(torch.backends.mkldnn, "deterministic", True),
    "its convolutions": lambda: setattr(torch.backends.mkldnn.conv, "fp32_precision", "bf16"),
    "the precision of all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
    "attention": lambda: torch.backends.mha.set_fastpath_enabled(False),
    "its kernel": lambda: torch.backends.cuda.enable_flash_sdp(False),
}
"""What a plugin may change in torch so that every later network of the process answers or trains otherwise."""


@pytest.mark.parametrize("change", LASTING.values(), ids=LASTING)
@pytest.mark.parametrize("own_process", [False, True])
def test_what_every_network_of_the_process_would_feel_ends_with_the_task(log, change, own_process):
    before = settings()
    with isolated(1, log, own_process=own_process):
        fixed = settings()
        change()
        assert settings() != fixed
    assert settings() == before
    with isolated(1, log, own_process=own_process):
        assert settings() == fixed


def test_a_hook_that_was_there_before_is_there_again(log):
    handle = register_module_forward_hook(lambda module, inputs, outputs: outputs * 2)
    try:
        with isolated(1, log):
            assert float(torch.nn.Identity()(torch.ones(()))) == 1
        assert float(torch.nn.Identity()(torch.ones(()))) == 2
    finally:
        handle.remove()
    assert float(torch.nn.Identity()(torch.ones(()))) == 1


@pytest.mark.parametrize("own_process", [False, True])
def test_a_later_task_draws_and_trains_whatever_a_plugin_left_entered(log, own_process):
    with isolated(5, log):
        first = draws()
    entered = torch.inference_mode()
    with isolated(5, log, own_process=own_process):
        entered.__enter__()
        np.random.set_bit_generator(np.random.PCG64(1))
    with isolated(5, log, own_process=own_process):
        assert draws() == first
        assert torch.nn.Linear(1, 1)(torch.ones(1)).requires_grad
    assert not torch.is_inference_mode_enabled()


def test_what_is_printed_goes_to_the_log(log, capsys):
    with isolated(1, log):
        print("to the log")
        print("this too", file=sys.stderr)
        sys.stdout.close()
        print("after closing")
    print("to the screen")
    assert log.path.read_text() == "to the log\nthis too\nafter closing\n"
    assert capsys.readouterr().out == "to the screen\n"


def test_a_log_exists_only_where_something_was_written(log):
    with isolated(1, log):
        pass
    assert not log.path.exists()
    assert log.size == 0


def test_a_log_does_not_grow_for_ever(log):
    line = "x" * 1_000_000
    for _ in range(15):
        log.write(line)
    assert LARGEST_LOG <= log.path.stat().st_size <= LARGEST_LOG + len(line)


def test_a_log_that_cannot_be_written_fails_nothing(tmp_path):
    (tmp_path / "logs").write_text("a file where a folder should be")
    assert Log(tmp_path / "logs" / "key.txt").write("text") == 4


def test_a_new_run_of_a_task_begins_a_new_log(log):
    log.write("old\n")
    again = Log(log.path)
    again.write("new\n")
    assert log.path.read_text() == "new\n"
