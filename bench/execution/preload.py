"""The imports of the process from which workers are forked: once for all workers.

The garbage collector is paused meanwhile, and the workers' collectors skip the imported objects. SIGTERM, which may
come to all processes of a run, does not end this one: without it, workers that run would count as dead.
"""

import gc
import signal
from contextlib import suppress

from bench.sandbox.process_state import gc_paused

with gc_paused(), suppress(Exception):  # a worker repeats an import that fails, and reports it
    import distributed
    import torch

    import bench.execution.runner
    import bench.execution.worker

gc.freeze()
signal.signal(signal.SIGTERM, signal.SIG_IGN)

__all__ = ["bench", "distributed", "torch"]
"""Names that are imported for the workers."""
