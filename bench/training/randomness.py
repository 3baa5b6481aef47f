"""Leave the random generators of the process as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def unchanged_generators(device: torch.device | None = None) -> Iterator[None]:
    """Restore the generators of torch, numpy and `random` afterwards; of GPUs, that of `device` or the current one."""
    states = np.random.get_state(), random.getstate()
    if device is not None and device.type == "cuda":
        devices: list[torch.device | int] = [device]
    else:
        devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            np.random.set_state(states[0])
            random.setstate(states[1])
