"""What the process imports that workers are forked from, once for all of them.

Python's garbage collector neither walks it meanwhile, nor ever again in the workers.
"""

import gc

from bench.process import uncollected

with uncollected():
    import distributed
    import torch

    import bench.execute
    import bench.worker

gc.freeze()

__all__ = ["bench", "distributed", "torch"]
