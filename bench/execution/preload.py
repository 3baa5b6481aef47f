"""What the process imports that workers are forked from, once for all of them.

Python's garbage collector neither walks it meanwhile, nor ever again in the workers.
"""

import gc

from bench.sandbox.process_state import gc_paused

with gc_paused():
    import distributed
    import torch

    import bench.execution.runner
    import bench.execution.worker

gc.freeze()

__all__ = ["bench", "distributed", "torch"]
