"""`python -m benchmarks.plain_process ARCHITECTURE DATA`: a process of the plain loop, whose memory is measured."""

import sys
from pathlib import Path

from bench.core.hardware import cores
from benchmarks import reference_loop
from benchmarks.training import FEW, RECIPE, Job, Pace, plain

if __name__ == "__main__":
    architecture, root = sys.argv[1:]
    model = plain(Job("cifar10", architecture, FEW, RECIPE, root), 0, Pace(cores(), 0))
    test = reference_loop.dataset("cifar10", Path(root), False, False, 0)
    reference_loop.accuracy(model, reference_loop.first(test, FEW))
