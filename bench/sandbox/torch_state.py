"""Let plugin code run without leaving a trace: seeds before, every piece of global state put back after.

No result may depend on which tasks ran before in a process, so the state a task starts from is always the same.
"""

from __future__ import annotations

import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from bench.sandbox.logs import Log
from bench.sandbox.process_state import preserved_process_state


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and `random`."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _as_torch_starts() -> None:
    """Give torch the state that it starts with: a plugin's module may have changed it when it was imported."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if torch.get_default_device() != torch.device("cpu"):
        torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.set_flush_denormal(False)
    torch.autograd.set_detect_anomaly(False)
    if torch.are_deterministic_algorithms_enabled():  # asked first, for to set it imports half of torch's compiler
        torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = True, False, False, True
    matmul.allow_tf32 = False
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")


@contextmanager
def isolated(seed: int, log: Log, threads: int = 1) -> Iterator[None]:
    """Run plugin code seeded and from a fixed global state, its output going to `log`; put everything back after."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    dtype, grad, count = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    strict, precision = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    device, anomalies = torch.get_default_device(), torch.is_anomaly_enabled()
    with preserved_process_state(), np.errstate():
        try:
            _as_torch_starts()
            torch.set_num_threads(threads)
            seed_everything(seed)
            sys.stdout = sys.stderr = log
            with warnings.catch_warnings():
                yield
        finally:
            if torch.get_default_device() != device:
                torch.set_default_device(device)
            torch.set_default_dtype(dtype)
            torch.set_grad_enabled(grad)
            torch.set_num_threads(count)
            torch.set_flush_denormal(False)
            torch.autograd.set_detect_anomaly(anomalies)
            cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = flags
            if torch.are_deterministic_algorithms_enabled() != strict:
                torch.use_deterministic_algorithms(strict)
            torch.set_float32_matmul_precision(precision)
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])
            if cuda is not None:
                torch.cuda.set_rng_state_all(cuda)
