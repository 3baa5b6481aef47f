"""Run plugin code seeded and from a fixed global state, and restore that state afterwards.

A result must not depend on the tasks that ran before in the same process.
"""

import functools
import os
import random
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from bench.sandbox.logs import Log
from bench.sandbox.process_state import hidden_event_loop, preserved_process_state
from bench.sandbox.torch_settings import apply


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


@contextmanager
def isolated(seed: int, log: Log, threads: int = 1, device: str = "cpu", own_process: bool = False) -> Iterator[None]:
    """Run plugin code seeded and from a fixed global state, with its output in `log`; restore all state afterwards.

    On a CUDA device torch uses its deterministic algorithms, and warns of an operation that has none. In a process of
    bench's own (`own_process`) nobody else draws at random, and the generators are not restored.
    """
    states = None if own_process else (torch.get_rng_state(), np.random.get_state(), random.getstate())
    cuda = torch.cuda.get_rng_state_all() if states and torch.cuda.is_initialized() else None
    bits = np.random.get_bit_generator()  # type: ignore[attr-defined]  # numpy's stubs lack it
    errors = np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")
    with preserved_process_state(), hidden_event_loop(), torch.inference_mode(False), errors:
        try:
            apply(None)
            if torch.device(device).type == "cuda":
                torch.set_deterministic_debug_mode("warn")
                warnings.filterwarnings("default", ".*deterministic", UserWarning)  # no error, as in pytest
                os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
            torch.set_num_threads(threads)
            seed_everything(seed)
            sys.stdout = sys.stderr = log
            yield
        finally:
            apply(None)  # a generator is set with the default device
            np.random.set_bit_generator(bits)  # type: ignore[attr-defined]
            if states:
                torch.set_rng_state(states[0])
                np.random.set_state(states[1])
                random.setstate(states[2])
            if cuda is not None:
                torch.cuda.set_rng_state_all(cuda)
