"""Let plugin code run without leaving a trace: seeds before, every piece of global state put back after.

No result may depend on which tasks ran before in a process, so the state a task starts from is always the same.
"""

from __future__ import annotations

import io
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

LARGEST_LOG = 10_000_000


class Log(io.TextIOBase):
    """A text file that exists once something was written to it; what passes `LARGEST_LOG` characters is dropped."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0

    def write(self, text: str) -> int:
        """Append text."""
        if text and self.size < LARGEST_LOG:
            with suppress(OSError):  # a log that cannot be written must not fail a task that can
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a" if self.size else "w", errors="replace") as file:
                    file.write(text)
        self.size += len(text)
        return len(text)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def close(self) -> None:
        """Ignore a plugin that closes its stdout: the next line opens the file again."""


def seed_everything(seed: int) -> None:
    """Seed torch, numpy and `random`."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


@contextmanager
def undisturbed(seed: int, log: Log, threads: int = 1) -> Iterator[None]:
    """Run plugin code seeded and from a fixed global state, its output going to `log`; put everything back after."""
    folder, environment = os.getcwd(), dict(os.environ)  # noqa: PTH109 (Path.cwd() is the same call)
    streams = sys.stdout, sys.stderr
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    dtype, grad, count = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    flags = cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    strict, precision = torch.are_deterministic_algorithms_enabled(), torch.get_float32_matmul_precision()
    try:
        torch.set_default_dtype(torch.float32)
        torch.set_grad_enabled(True)
        torch.set_num_threads(threads)
        seed_everything(seed)
        sys.stdout = sys.stderr = log
        with warnings.catch_warnings():
            yield
    finally:
        sys.stdout, sys.stderr = streams
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.set_num_threads(count)
        cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = flags
        torch.use_deterministic_algorithms(strict)
        torch.set_float32_matmul_precision(precision)
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)
        with suppress(OSError):
            os.chdir(folder)
