"""Leave the random generators of the process as they were."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def unchanged_generators() -> Iterator[None]:
    """Restore the global generators of torch, numpy and `random` afterwards."""
    states = np.random.get_state(), random.getstate()
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    with torch.random.fork_rng(devices=devices):
        try:
            yield
        finally:
            np.random.set_state(states[0])
            random.setstate(states[1])
