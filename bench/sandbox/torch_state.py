"""Run plugin code seeded and from a fixed global state, and restore that state afterwards.

A result must not depend on the tasks that ran before in the same process.
"""

import functools
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from bench.sandbox.logs import Log
from bench.sandbox.process_state import preserved_process_state

Setting = tuple[Callable[[], Any], Callable[[Any], object], object]


def _attribute(owner: object, name: str, default: bool) -> Setting:
    return functools.partial(getattr, owner, name), functools.partial(setattr, owner, name), default


def _set_device(device: torch.device) -> None:
    torch.set_default_device(None if device == torch.device("cpu") else device)


SETTINGS: tuple[Setting, ...] = (
    (torch.get_default_device, _set_device, torch.device("cpu")),
    (torch.get_default_dtype, torch.set_default_dtype, torch.float32),
    (torch.is_grad_enabled, torch.set_grad_enabled, True),
    (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly, False),
    (torch.get_deterministic_debug_mode, torch.set_deterministic_debug_mode, 0),
    _attribute(torch.backends.cudnn, "enabled", True),
    _attribute(torch.backends.cudnn, "benchmark", False),
    _attribute(torch.backends.cudnn, "deterministic", True),
    _attribute(torch.backends.cudnn, "allow_tf32", True),
    _attribute(torch.backends.cuda.matmul, "allow_tf32", False),
    (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "highest"),
)
"""Global settings of torch: how to read and write each of them, and its default."""


@functools.cache
def _has_accelerator() -> bool:
    return bool(torch.accelerator.is_available())


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and `random`."""
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # it would format the stack for each kind of device that is not there: milliseconds
        torch.default_generator.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def _apply(values: Iterable[object]) -> None:
    for (_, write, _), value in zip(SETTINGS, values, strict=True):
        write(value)
    torch.set_flush_denormal(False)


@contextmanager
def isolated(seed: int, log: Log, threads: int = 1, device: str = "cpu") -> Iterator[None]:
    """Run plugin code seeded and from a fixed global state, with its output in `log`; restore all state afterwards.

    On a CUDA device torch uses its deterministic algorithms, and warns of an operation that has none.
    """
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    settings, count = [read() for read, _, _ in SETTINGS], torch.get_num_threads()
    with preserved_process_state(), np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
        try:
            _apply(default for _, _, default in SETTINGS)
            if torch.device(device).type == "cuda":
                torch.set_deterministic_debug_mode("warn")
                os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
            torch.set_num_threads(threads)
            seed_everything(seed)
            sys.stdout = sys.stderr = log
            with warnings.catch_warnings():
                yield
        finally:
            _apply(settings)
            torch.set_num_threads(count)
            torch.set_rng_state(states[0])
            np.random.set_state(states[1])
            random.setstate(states[2])
            if cuda is not None:
                torch.cuda.set_rng_state_all(cuda)
