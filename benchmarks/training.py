"""Rows about training: our loop in one process per core against the plain loop with all cores, two networks each.

A benchmark trains many networks on one dataset, so that is what is timed: both sides train as many as there are cores,
from a dataset that they have read once to the trained weights. The plain loop takes one network after the other, with
as many threads of torch and as many loader processes as help it most (all pairs are tried before the rounds). Our side
is fp32, the default on a CPU; of stock networks also bf16, where the processor computes it (`recipe.precision=bf16`).
"""

from __future__ import annotations

import dataclasses
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.api.components import Dataset
from bench.api.data import Split
from bench.core.hardware import computes_bf16, cores, keep_freed_memory
from bench.core.spec import Recipe
from bench.datasets.partition import read
from bench.registry.discovery import load_registry
from bench.training.inference import accuracy as share
from bench.training.inference import predict
from bench.training.loop import fit
from bench.training.networks import Normalised
from benchmarks import reference_loop
from benchmarks.commands import ROOT, costs, executed, measured
from benchmarks.measure import MEMORY, Row, interleaved, seconds

RECIPE = Recipe(epochs=1, precision="fp32")
TINY = {"tiny_vgg": 3.5, "tiny_resnet": 3.5, "tiny_densenet": 3.5, "tiny_mobilenet": 2.5}
"""Target ratios of the small networks."""
STOCK = {"resnet18": (2.0, 1.5), "vgg16_bn": (3.0, 1.5), "densenet121": (2.0, 1.5), "mobilenet_v2": (1.5, 1.5)}
"""Target ratios of torchvision's networks, where the processor computes in bf16, and elsewhere."""
LOADERS = (0, 1, 2)
"""Numbers of loader processes that the plain loop tries."""
IMAGES, FEW = 10_000, 2048
"""Images of each small network, and of each stock one."""
SEEDS, EPOCHS = 5, 5
"""Of the accuracies."""


@dataclass(frozen=True)
class Job:
    """One network to train on the first images of a dataset."""

    dataset: str
    architecture: str
    images: int
    recipe: Recipe
    root: str
    tested: int = 10_000
    """Images of the test part of which the accuracy is."""
    device: str = "cpu"


@dataclass(frozen=True)
class Pace:
    """How the plain loop is run: threads of torch, loader processes."""

    threads: int
    loaders: int

    def __str__(self) -> str:
        return f"plain loop with {self.threads} threads and {self.loaders} loader processes"


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


def plain(job: Job, seed: int, pace: Pace) -> nn.Module:
    """Train one network by the plain loop, whose images are normalised before they reach the network."""
    dataset = load_registry(()).get("dataset", job.dataset, None)
    images = reference_loop.dataset(job.dataset, Path(job.root), True, dataset.flip, dataset.crop)
    some, model = reference_loop.first(images, job.images), build(job, seed).inner
    with reference_loop.threads(pace.threads):
        return reference_loop.train(model, some, job.recipe, seed, pace.loaders, job.device)


def begin() -> None:
    """Set a process up as a worker of a run is."""
    keep_freed_memory()
    torch.set_num_threads(1)
    load_registry(())


def _quietly(job: Job, seed: int) -> None:
    ours(job, seed)


def tested(job: Job, seed: int) -> float:
    """Return the test accuracy of a network that our loop trained."""
    _, test = part(job.dataset, job.root, False)
    logits: Tensor = predict(ours(job, seed), test.images[: job.tested], job.device)
    return share(logits, test.labels[: job.tested])


def plainly_tested(job: Job, seed: int, pace: Pace) -> float:
    """Return the test accuracy of a network that the plain loop trained."""
    dataset = load_registry(()).get("dataset", job.dataset, None)
    test = reference_loop.dataset(job.dataset, Path(job.root), False, dataset.flip, dataset.crop)
    return reference_loop.accuracy(plain(job, seed, pace), reference_loop.first(test, job.tested), job.device)


def best_pace(job: Job, count: int) -> Pace:
    """Find the numbers of threads and loader processes with which the plain loop is fastest."""
    plain(job, 0, Pace(count, 0))
    tried = [Pace(threads, loaders) for threads in dict.fromkeys((count, -(-count // 2))) for loaders in LOADERS]
    return min(tried, key=lambda pace: seconds(lambda: plain(job, 0, pace)))


def jobs(root: Path, full: bool) -> Iterator[tuple[Job, Sequence[str], float]]:
    """Return each network to train, the precisions of our side, and the target: twice as many images if `full`."""
    images, few, wide = (2 * IMAGES, 2 * FEW, computes_bf16()) if full else (IMAGES, FEW, computes_bf16())
    for dataset in ("fashion_mnist", "cifar10"):
        for name, target in TINY.items():
            yield Job(dataset, name, images, RECIPE, str(root)), ("fp32",), target
    for name, targets in STOCK.items():
        job = Job("cifar10", name, few, RECIPE, str(root), tested=FEW)
        yield job, ("fp32", "bf16") if wide else ("fp32",), targets[0 if wide else 1]


def networks(only: Sequence[str]) -> list[str]:
    """Return the names of the networks that are asked for; all, where nothing is."""
    return [name for name in (*TINY, *STOCK) if not only or name in only]


def rows(root: Path, rounds: int, architecture: str, full: bool) -> Iterator[Row]:
    """Measure the rows of a network on the CPU, each with its accuracy.

    In a round each side trains a network per core, for an epoch: small ones on 10,000 images each, stock ones on 2,048,
    so that two cores see 4,096 a round; twice as many if `full`.
    """
    count = cores()
    with ProcessPoolExecutor(count, get_context("spawn"), begin) as pool, reference_loop.threads(count):
        for job, precisions, target in jobs(root, full):
            if job.architecture == architecture:
                yield from compared(job, precisions, target, rounds, pool, count)


def in_precision(job: Job, precision: str) -> Job:
    """Return the job in another precision."""
    return dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, precision=precision))


def compared(
    job: Job, precisions: Sequence[str], target: float, rounds: int, pool: ProcessPoolExecutor, count: int
) -> Iterator[Row]:
    """Compare speed and accuracy with those of the plain loop, in each precision."""
    pace = best_pace(job, count)
    longer = dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, epochs=EPOCHS))
    plain_accuracies: list[float] = []

    def mine(job: Job) -> None:
        list(pool.map(_quietly, [job] * count, range(count)))

    def theirs() -> None:
        for seed in range(count):
            plain(job, seed, pace)

    for precision in precisions:
        what = f"{job.architecture}, {job.dataset}" + (f", {precision}" if precision != "fp32" else "")
        note = f"{count} networks, {job.images:,} images each; {pace}"
        times = interleaved(partial(mine, in_precision(job, precision)), theirs, rounds)
        yield Row(f"training {what}", *times, target, note)
        # No time is taken here, so both loops share the cores.
        paces = [Pace(1, 0)] * SEEDS
        other = () if plain_accuracies else pool.map(plainly_tested, [longer] * SEEDS, range(SEEDS), paces)
        found = pool.map(tested, [in_precision(longer, precision)] * SEEDS, range(SEEDS))
        plain_accuracies += other
        yield accuracy_row(what, longer, list(found), plain_accuracies)


def accuracy_row(what: str, job: Job, ours: Sequence[float], plain: Sequence[float]) -> Row:
    """Compare the accuracies on the test part that networks of several seeds have from either loop."""

    def summary(values: Sequence[float]) -> str:
        return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"

    alike = statistics.mean(ours) >= statistics.mean(plain) - statistics.stdev(plain)
    note = (
        f"{job.tested:,} test images, {len(ours)} seeds, {job.images:,} images, {job.recipe.epochs:g} epochs: "
        f"ours {summary(ours)}, plain {summary(plain)}"
    )
    goal = "no worse than plain less its spread over seeds"
    return Row(f"accuracy of {what}", note=note, goal=goal, reached=alike)


HEAVY = "vgg16_bn"
"""The network whose worker's memory is measured."""


def memory(root: Path, architecture: str = HEAVY, epochs: float = 0.02) -> Row:
    """Compare the largest process of a `bench run` that trains a network on CIFAR10 with the plain loop's process.

    Both have the whole dataset and take a few steps: how many do not change what the largest one needs.
    """
    plan = ("--datasets", "cifar10", "--sources", architecture, "--suspects", architecture, "--attacks", "finetune_l")
    few = ("--methods", "akh", "--no-baselines", "--seeds", "1", "--replicates", "1", "--copies", "1")
    short = ("--set", f"recipe.epochs={epochs}", "--data", str(root))
    with tempfile.TemporaryDirectory(prefix="bench-speed-") as folder:
        store = Path(folder) / "store"
        mine = costs(store, "run", "--quiet", *plan, *few, *short, "--workers", "1", "--out", "results")
        theirs = measured([sys.executable, "-m", "benchmarks.plain_process", architecture, str(root)], ROOT, {})
    note = f"{executed(mine.output)} tasks by one worker; the largest process of each side, libraries included"
    mebibytes = [[c.largest_bytes / 2**20] for c in (mine, theirs)]
    return Row(f"peak memory of a worker that trains {architecture}, cifar10", *mebibytes, 1, note, MEMORY)
