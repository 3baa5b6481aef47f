"""Rows about training: our loop in one process per core against the plain loop with all cores, two networks each.

A benchmark trains many networks on one dataset, so that is what is timed: both sides train as many as there are cores,
from a dataset that they have read once to the trained weights. The plain loop takes one network after the other, with
every core for torch and as many loader processes as help it most (tried before the rounds).
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.api.components import Dataset
from bench.api.data import Split
from bench.core.hardware import cores, keep_freed_memory
from bench.core.spec import Recipe
from bench.datasets.partition import read
from bench.registry.discovery import load_registry
from bench.training.inference import accuracy as share
from bench.training.inference import predict
from bench.training.loop import fit
from bench.training.networks import Normalised
from benchmarks import reference_loop
from benchmarks.measure import Row, interleaved, seconds

RECIPE = Recipe(epochs=1, precision="fp32")
TINY = {"tiny_vgg": 3.0, "tiny_resnet": 3.0, "tiny_densenet": 3.0, "tiny_mobilenet": 1.8}
STOCK = {"resnet18": 2.0, "mobilenet_v2": 1.5}
"""Target ratios."""
LOADERS = (0, 1, 2)
"""Numbers of loader processes that the plain loop tries."""
IMAGES, FEW = 10_000, 2048
"""Images of each small network, and of each stock one."""


@dataclass(frozen=True)
class Job:
    """One network to train on the first images of a dataset."""

    dataset: str
    architecture: str
    images: int
    recipe: Recipe
    root: str
    device: str = "cpu"


def build(job: Job, seed: int) -> Normalised:
    """Make a fresh network with its normalisation; the same for both sides."""
    registry = load_registry(())
    dataset = registry.get("dataset", job.dataset, None)
    half = torch.full((dataset.shape[0],), 0.5)
    torch.manual_seed(seed)
    return Normalised(registry.get("architecture", job.architecture, None).build(10, dataset.shape), half, half)


@cache
def part(name: str, root: str, train: bool) -> tuple[Dataset, Split]:
    """Read a part of a dataset once per process, as the worker of a run does."""
    dataset = load_registry(()).get("dataset", name, None)
    return dataset, read(dataset, Path(root), train)


def ours(job: Job, seed: int) -> nn.Module:
    """Train one network by our loop."""
    dataset, split = part(job.dataset, job.root, True)
    generator = torch.Generator(job.device).manual_seed(seed)
    images, labels = split.images[: job.images], split.labels[: job.images]
    return fit(
        build(job, seed),
        images,
        labels,
        recipe=job.recipe,
        generator=generator,
        device=job.device,
        flip=dataset.flip,
        crop=dataset.crop,
    )


def plain(job: Job, seed: int, workers: int) -> nn.Module:
    """Train one network by the plain loop, whose images are normalised before they reach the network."""
    dataset = load_registry(()).get("dataset", job.dataset, None)
    images = reference_loop.dataset(job.dataset, Path(job.root), True, dataset.flip, dataset.crop)
    return reference_loop.train(
        build(job, seed).inner, reference_loop.first(images, job.images), job.recipe, seed, workers, job.device
    )


def begin() -> None:
    """Set a process up as a worker of a run is."""
    keep_freed_memory()
    torch.set_num_threads(1)
    load_registry(())


def _quietly(job: Job, seed: int) -> None:
    ours(job, seed)


def _tested(job: Job, seed: int) -> float:
    _, test = part(job.dataset, job.root, False)
    logits: Tensor = predict(ours(job, seed), test.images, job.device)
    return share(logits, test.labels)


def _plainly_tested(job: Job, seed: int, workers: int) -> float:
    dataset = load_registry(()).get("dataset", job.dataset, None)
    test = reference_loop.dataset(job.dataset, Path(job.root), False, dataset.flip, dataset.crop)
    return reference_loop.accuracy(plain(job, seed, workers), test, job.device)


def best_loaders(job: Job) -> int:
    """Find the number of loader processes with which the plain loop is fastest."""
    plain(job, 0, 0)
    return min(LOADERS, key=lambda n: seconds(lambda: plain(job, 0, n)))


def rows(root: Path, rounds: int, only: Sequence[str], full: bool) -> Iterator[Row]:
    """Measure the rows on the CPU whose architecture is asked for (all, where nothing is).

    In a round each side trains a network per core, for an epoch: small ones on 10,000 images each, stock ones on 2,048,
    so that two cores see 4,096 a round; twice as many if `full`.
    """
    images, few = (2 * IMAGES, 2 * FEW) if full else (IMAGES, FEW)
    jobs = [
        (Job(d, a, images, RECIPE, str(root)), target)
        for d in ("fashion_mnist", "cifar10")
        for a, target in TINY.items()
    ]
    jobs += [(Job("cifar10", a, few, RECIPE, str(root)), target) for a, target in STOCK.items()]
    count = cores()
    with ProcessPoolExecutor(count, get_context("spawn"), begin) as pool, reference_loop.threads(count):
        for job, target in jobs:
            if only and job.architecture not in only:
                continue
            loaders = best_loaders(job)

            def mine(job: Job = job) -> None:
                list(pool.map(_quietly, [job] * count, range(count)))

            def theirs(job: Job = job, loaders: int = loaders) -> None:
                for seed in range(count):
                    plain(job, seed, loaders)

            times = interleaved(mine, theirs, rounds)
            note = f"{count} networks, {job.images:,} images each; plain loop with {loaders} loader processes"
            yield Row(f"training {job.architecture}, {job.dataset}", *times, target, note)
        names = [a for a in TINY if full or a == "tiny_vgg"]
        for dataset in ("fashion_mnist", "cifar10"):
            for name in names:
                if not only or name in only:
                    yield accuracies(Job(dataset, name, images, dataclasses.replace(RECIPE, epochs=5), str(root)), pool)


def accuracies(job: Job, pool: ProcessPoolExecutor) -> Row:
    """Train five networks by either loop: the accuracies on the test part have to be alike."""
    seeds = range(5)
    mine = list(pool.map(_tested, [job] * len(seeds), seeds))
    theirs = [_plainly_tested(job, seed, 1) for seed in seeds]

    def summary(values: Sequence[float]) -> str:
        return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"

    spread = statistics.stdev(theirs)
    alike = statistics.mean(mine) >= statistics.mean(theirs) - spread
    note = (
        f"test accuracy, 5 seeds, {job.images:,} images, {job.recipe.epochs:g} epochs: ours {summary(mine)}, "
        f"plain {summary(theirs)}"
    )
    goal = "no worse than plain less its spread over seeds"
    return Row(f"accuracy of {job.architecture}, {job.dataset}", note=note, goal=goal, reached=alike)
