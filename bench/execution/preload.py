"""The imports of the process from which workers are forked: once for all workers.

The garbage collector is paused meanwhile, and the workers' collectors skip the imported objects.
"""

import gc
from contextlib import suppress

from bench.sandbox.process_state import gc_paused

with gc_paused(), suppress(Exception):  # a worker repeats an import that fails, and reports it
    import distributed
    import torch

    import bench.execution.runner
    import bench.execution.worker

gc.freeze()

__all__ = ["bench", "distributed", "torch"]
"""Names that are imported for the workers."""
