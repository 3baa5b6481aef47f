"""Run plugin code seeded and from a fixed global state, and restore that state afterwards.

A result must not depend on the tasks that ran before in the same process.
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


def _reset_torch() -> None:
    """Set torch's flags to their defaults: importing a plugin may have changed them."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    if torch.get_default_device() != torch.device("cpu"):
        torch.set_default_device(None)
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
    torch.set_flush_denormal(False)
    torch.autograd.set_detect_anomaly(False)
    if torch.are_deterministic_algorithms_enabled():  # setting it imports torch's compiler: avoid that
        torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32 = True, False, False, True
    matmul.allow_tf32 = False
    np.seterr(divide="warn", over="warn", under="ignore", invalid="warn")


@contextmanager
def isolated(seed: int, log: Log, threads: int = 1) -> Iterator[None]:
    """Run plugin code seeded and from a fixed global state, with its output in `log`; restore all state afterwards."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    dtype, grad, count = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    strict, precision = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    device, anomalies = torch.get_default_device(), torch.is_anomaly_enabled()
    with preserved_process_state(), np.errstate():
        try:
            _reset_torch()
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
