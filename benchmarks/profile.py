"""Rows about one step of training: which operations take its time on a CPU, and what else was tried.

Shares are of the time that torch's profiler counts over an epoch of one network in one thread, what is done to the
images included; the Python code between the operations is not counted. The share of the peak holds the arithmetic of
whole steps against a large square matrix product in the same precision: how much faster a step could be at all.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from bench.core.hardware import computes_bf16, cores
from benchmarks import gpu, reference_loop
from benchmarks.measure import SHARE, Row, interleaved
from benchmarks.training import FEW, IMAGES, RECIPE, STOCK, TINY, Job, begin, ours

PARTS = {
    "convolutions, backward": ("convolution_backward",),
    "convolutions, forward": ("convolution",),
    "batch normalisation": ("batch_norm",),
    "activations, pooling and joining": ("threshold", "clamp", "relu", "pool", "hardtanh", "aten::cat"),
    "images: choosing, shifting, normalising": ("index_select", "constant_pad", "aten::sub", "aten::div"),
    "optimiser and clipping": ("sgd", "vector_norm"),
}
"""By part of a step: what the names of its operations hold. The first that fits counts."""
REST = "rest"
SIDE = 2048
"""Of the matrices whose product is the peak."""


def rows(root: Path, rounds: int, only: Sequence[str]) -> Iterator[Row]:
    """Profile a step of each network on CIFAR10, then try bf16, and two threads instead of two processes.

    Beside each precision that the processor computes stands the share of its peak.
    """
    jobs = [Job("cifar10", name, IMAGES // 2, RECIPE, str(root)) for name in TINY]
    jobs += [Job("cifar10", name, FEW // 2, RECIPE, str(root)) for name in STOCK]
    count = cores()
    with ProcessPoolExecutor(count, get_context("spawn"), begin) as pool:
        for job in jobs:
            if only and job.architecture not in only:
                continue
            shares = pool.submit(shares_of_time, job).result()
            note = ", ".join(f"{part} {100 * share:.0f} %" for part, share in shares.items())
            yield Row(f"a step of {job.architecture}, {job.dataset}", note=note)
            coarse = dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, precision="bf16"))
            for precise in (job, coarse) if computes_bf16() else (job,):
                what = f"share of the peak, {job.architecture}, {precise.recipe.precision}"
                reached, peaks, each = pool.submit(rates, precise, rounds).result()
                note = f"{each / 1e9:.2f} GFLOP an image, forward and backward; a product of side {SIDE:,}"
                yield Row(what, reached, peaks, note=note, aim=SHARE)
            yield _tried(pool, f"{job.architecture} in bf16 against fp32", coarse, job, rounds)
            yield _side_by_side(pool, job, count, rounds)


def shares_of_time(job: Job) -> dict[str, float]:
    """Train one network, and return each part's share of the time."""
    ours(job, 0)
    with profile(activities=[ProfilerActivity.CPU]) as seen:
        ours(job, 0)
    spent: Counter[str] = Counter()
    for operation in seen.key_averages():
        spent[part_of(operation.key)] += operation.self_cpu_time_total
    return {part: spent[part] / spent.total() for part in (*PARTS, REST)}


def rates(job: Job, rounds: int) -> tuple[list[float], list[float], float]:
    """Measure training and a matrix product in turn, in TFLOP/s; return both, and the operations of an image."""
    each = gpu.operations(job.architecture, 16, job.device) / 16
    dtype = torch.bfloat16 if job.recipe.precision == "bf16" else torch.float32
    a, b = (torch.rand(SIDE, SIDE).to(dtype) for _ in range(2))
    shown = job.images * job.recipe.epochs
    times = interleaved(lambda: ours(job, 0), lambda: a @ b, rounds)
    return [each * shown / t / 1e12 for t in times[0]], [2 * SIDE**3 / t / 1e12 for t in times[1]], each


def part_of(operation: str) -> str:
    """Return the part of a step that an operation belongs to."""
    return next((part for part, names in PARTS.items() if any(n in operation.lower() for n in names)), REST)


def _quietly(job: Job, seed: int) -> None:
    ours(job, seed)


def _tried(pool: ProcessPoolExecutor, what: str, other: Job, usual: Job, rounds: int) -> Row:
    """Compare another way of training one network with ours, both in one thread."""
    times = interleaved(
        lambda: pool.submit(_quietly, other, 0).result(), lambda: pool.submit(_quietly, usual, 0).result(), rounds
    )
    return Row(f"tried: {what}", *times, note="ours is what was tried, other what is done")


def _side_by_side(pool: ProcessPoolExecutor, job: Job, count: int, rounds: int) -> Row:
    """Compare one network after the other, with a thread per core, with a process per network."""

    def threads() -> None:
        with reference_loop.threads(count):
            for seed in range(count):
                ours(job, seed)

    def processes() -> None:
        list(pool.map(_quietly, [job] * count, range(count)))

    note = f"{count} networks; ours is what was tried, other what is done"
    what = f"tried: {job.architecture}, {count} threads and one process against {count} processes"
    return Row(what, *interleaved(threads, processes, rounds), note=note)
