"""Rows about one GPU: against the plain loop, many networks at once, and the share of the arithmetic that is used.

CIFAR10-sized images that are made up, 50,000 of them, held in memory by both sides: how long a step takes does not
depend on what is seen, and no data have to be carried to the machine. The plain loop makes PIL images of them and
transforms these one by one, as torchvision's CIFAR10 does. Recipe of the preset `medium`, one epoch, bf16 on our side.

Several networks at once is how `bench run --per-gpu N` does it: N processes that share the card. Their number is
the fastest of those tried; one process at a time is among these, so that it cannot come out slower.

The share of the peak holds the operations of a training step, counted by torch for forward and backward pass, against a
large bf16 matrix product measured on the same card. Every function takes its device, so that the tests run it on a CPU.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from multiprocessing import get_context

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from bench.core.hardware import cores
from bench.core.spec import Recipe
from bench.planning.presets import PRESETS
from bench.registry.discovery import load_registry
from bench.training.loop import fit
from bench.training.networks import Normalised
from benchmarks import reference_loop
from benchmarks.measure import SHARE, Row, interleaved, seconds

CLASSES, SHAPE, CROP = 10, (3, 32, 32), 4
NETWORKS = ("resnet18", "densenet121")
MANY = "resnet18"
"""The network of which many are trained at once, and whose share of the peak is measured."""
HEAVY = "vgg16_bn"
"""The network whose share of the peak is the largest."""
SMALL = ("tiny_vgg", "tiny_resnet", "tiny_densenet", "tiny_mobilenet")
"""The small networks, of which several of each are trained at once."""
FULL = dataclasses.replace(PRESETS["medium"].recipe, epochs=1.0, precision="bf16")
LOADERS = (0, 2, 4, 8, 16)
"""Loader processes that the plain loop tries."""
PROCESSES = (1, 2, 4, 8, 16)
"""Processes that may share the card."""
LARGE_BATCH = 1024


@dataclass(frozen=True)
class Scale:
    """How much is trained and multiplied, and where."""

    device: str = "cuda"
    images: int = 50_000
    suspects: int = 20
    small: int = 16
    suspect_images: int = 10_000
    side: int = 8192
    """Of the square matrices."""
    recipe: Recipe = FULL
    loaders: tuple[int, ...] = LOADERS
    processes: tuple[int, ...] = PROCESSES


def tiny() -> Scale:
    """Return a scale at which every row is measured within a minute, on a CPU if there is no GPU."""
    recipe = dataclasses.replace(FULL, batch=16)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return Scale(device, 32, 2, 4, 16, 64, recipe, (0, 1), (1, 2))


@cache
def images(count: int) -> tuple[Tensor, Tensor]:
    """Make up images and labels: uint8 [N, 3, 32, 32], int64 [N]."""
    generator = torch.Generator().manual_seed(0)
    made = torch.randint(256, (count, *SHAPE), dtype=torch.uint8, generator=generator)
    return made, torch.randint(CLASSES, (count,), generator=generator)


def build(architecture: str, seed: int) -> Normalised:
    """Make a fresh network with its normalisation; the same for both sides."""
    half = torch.full((SHAPE[0],), 0.5)
    torch.manual_seed(seed)
    return Normalised(load_registry(()).get("architecture", architecture, None).build(CLASSES, SHAPE), half, half)


def finished(device: str) -> None:
    """Wait until the device has finished its work."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def ours(architecture: str, count: int, recipe: Recipe, device: str, seed: int = 0) -> None:
    """Train a network by our loop."""
    seen, labels = images(count)
    generator = torch.Generator(device).manual_seed(seed)
    fit(
        build(architecture, seed), seen, labels, recipe=recipe, generator=generator, device=device, flip=True, crop=CROP
    )
    finished(device)


def plain(architecture: str, scale: Scale, workers: int) -> None:
    """Train a network by the plain loop: float32, a DataLoader with so many processes."""
    seen = reference_loop.InMemoryImages(*images(scale.images), flip=True, crop=CROP)
    reference_loop.train(build(architecture, 0).inner, seen, scale.recipe, 0, workers, scale.device)
    finished(scale.device)


def rows(rounds: int, only: Sequence[str] = (), scale: Scale | None = None) -> Iterator[Row]:
    """Measure the rows of a GPU; `only` names some of the networks."""
    scale = scale or Scale()
    for architecture in NETWORKS:
        if not only or architecture in only:
            yield against_plain(architecture, scale, rounds)
    if not only or {*SMALL} & {*only}:
        small = [SMALL[n % len(SMALL)] for n in range(scale.small)]
        yield many(scale, rounds, f"{scale.small} small networks on one GPU at once", small, 8)
    if not only or MANY in only:
        together = many(scale, rounds, f"{scale.suspects} suspects ({MANY}) on one GPU", [MANY] * scale.suspects, 3)
        yield together
        yield share_of_many(scale, together)
    for architecture, target in ((MANY, 0.25), (HEAVY, 0.4)):
        for batch in dict.fromkeys((scale.recipe.batch, LARGE_BATCH)):
            if not only or architecture in only:
                recipe = dataclasses.replace(scale.recipe, batch=batch)
                yield share(dataclasses.replace(scale, recipe=recipe), rounds, architecture, target)


def against_plain(architecture: str, scale: Scale, rounds: int) -> Row:
    """Measure one network, one process, against the plain loop with the loader processes that help it most."""
    few = dataclasses.replace(scale, images=min(scale.images, 10_000))
    plain(architecture, few, 0)
    choices = [n for n in scale.loaders if n <= cores()]
    loaders = min(choices, key=lambda n: seconds(lambda: plain(architecture, few, n)))
    mine, theirs = interleaved(
        lambda: ours(architecture, scale.images, scale.recipe, scale.device),
        lambda: plain(architecture, scale, loaders),
        rounds,
    )
    note = f"{scale.images:,} images, batch {scale.recipe.batch}; plain loop with {loaders} loader processes"
    return Row(f"training {architecture}, CIFAR10-sized, GPU", mine, theirs, 10, note)


def _begin() -> None:
    torch.set_num_threads(1)


def _one(scale: Scale, architecture: str, seed: int) -> None:
    ours(architecture, scale.suspect_images, scale.recipe, scale.device, seed)


def many(scale: Scale, rounds: int, what: str, networks: Sequence[str], target: float) -> Row:
    """Measure many networks, by architecture, in several processes against one after the other in this one.

    The processes are there before the rounds, as a run's workers are there before its tasks.
    """
    seeds = range(len(networks))
    context = get_context("spawn")

    def together(pool: ProcessPoolExecutor) -> None:
        list(pool.map(_one, [scale] * len(seeds), networks, seeds))

    def alone() -> None:
        for architecture, seed in zip(networks, seeds, strict=True):
            _one(scale, architecture, seed)

    tried: dict[int, float] = {}
    for processes in scale.processes:
        if processes > 1:
            with ProcessPoolExecutor(processes, context, _begin) as pool:
                together(pool)  # starts them
                tried[processes] = seconds(partial(together, pool))
    alone()
    tried[1] = seconds(alone)
    best = min(tried, key=lambda n: tried[n])
    note = f"{len(seeds)} networks, {scale.suspect_images:,} images each; {best} processes; tried " + ", ".join(
        f"{n}: {tried[n]:.3g} s" for n in sorted(tried)
    )
    if best == 1:
        times = interleaved(alone, alone, rounds)
    else:
        with ProcessPoolExecutor(best, context, _begin) as pool:
            times = interleaved(partial(together, pool), alone, rounds)
    return Row(what, *times, target, note)


def peak(scale: Scale) -> float:
    """Measure a large square bf16 matrix product, in TFLOP/s."""
    a, b = (torch.randn(scale.side, scale.side, device=scale.device, dtype=torch.bfloat16) for _ in range(2))

    def multiply(times: int = 10) -> None:
        for _ in range(times):
            torch.mm(a, b)
        finished(scale.device)

    multiply()
    return 10 * 2 * scale.side**3 / seconds(multiply) / 1e12


def operations(architecture: str, batch: int, device: str) -> int:
    """Count the floating-point operations of one training step, forward and backward."""
    model = build(architecture, 0).to(device).train()
    x = torch.rand(batch, *SHAPE, device=device)
    with FlopCounterMode(display=False) as counter:
        value = functional.cross_entropy(model(x), torch.zeros(batch, dtype=torch.int64, device=device))
        torch.autograd.backward(value)
    return int(counter.get_total_flops())


def share(scale: Scale, rounds: int, architecture: str, target: float) -> Row:
    """Measure the arithmetic of training, data moved and augmentation included, as a share of the measured peak."""
    batch = scale.recipe.batch
    each = operations(architecture, 16, scale.device) / 16
    work = partial(ours, architecture, scale.images, scale.recipe, scale.device)
    work()
    reached, peaks = [], []
    for _ in range(rounds):
        peaks.append(peak(scale))
        reached.append(each * scale.images * scale.recipe.epochs / seconds(work) / 1e12)
    note = f"{each / 1e9:.2f} GFLOP an image, forward and backward; a bf16 product of side {scale.side:,}"
    return Row(f"share of the peak, {architecture}, batch {batch}", reached, peaks, target, note, SHARE)


def share_of_many(scale: Scale, together: Row) -> Row:
    """Return the share of the peak that many networks reach together, from the seconds of their row."""
    done = operations(MANY, 16, scale.device) / 16 * scale.suspect_images * scale.recipe.epochs * scale.suspects
    reached = [done / spent / 1e12 for spent in together.ours]
    peaks = [peak(scale) for _ in reached]
    return Row(f"share of the peak, {together.what}", reached, peaks, 0.25, "the seconds of the row above", SHARE)
