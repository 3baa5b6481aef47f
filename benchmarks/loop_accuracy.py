"""`python -m benchmarks.loop_accuracy`: test accuracies of networks from our training loop and from the plain loop.

Over more seeds than the rows of `training` take, and over others: a seed gives both loops the same initial network.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, stdev

import click

from bench.core.hardware import cores
from bench.stats.differences import difference_over_sources
from benchmarks import training
from benchmarks.results_file import name as machine


def compared(job: training.Job, seeds: Sequence[int]) -> tuple[list[float], list[float]]:
    """Return the accuracies of our loop and of the plain loop, seed by seed, with a process per core."""
    paces = [training.Pace(1, 0)] * len(seeds)
    with ProcessPoolExecutor(cores(), get_context("spawn"), training.begin) as pool:
        ours = pool.map(training.tested, [job] * len(seeds), seeds)
        plain = pool.map(training.plainly_tested, [job] * len(seeds), seeds, paces)
        return list(ours), list(plain)


@click.command()
@click.argument("networks", nargs=-1)
@click.option("--seeds", default=20, show_default=True, type=click.IntRange(2))
@click.option(
    "--precision", default="fp32", show_default=True, type=click.Choice(["fp32", "bf16"]), help="Of our loop."
)
@click.option("--data", required=True, envvar="BENCH_DATA", type=click.Path(exists=True, file_okay=False))
def main(networks: tuple[str, ...], seeds: int, precision: str, data: str) -> None:
    """Print the mean accuracies of NETWORKS, such as tiny_vgg/cifar10, and the 95 % interval of their difference."""
    click.echo(machine())
    known = {f"{job.architecture}/{job.dataset}": job for job, *_ in training.jobs(Path(data), full=False)}
    if unknown := [network for network in networks if network not in known]:
        raise click.UsageError(f"{unknown[0]} is none of {', '.join(known)}")
    for network in networks or known:
        job = training.in_precision(known[network], precision)
        job = dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, epochs=training.EPOCHS))
        ours, plain = compared(job, range(training.SEEDS, training.SEEDS + seeds))
        found = difference_over_sources(ours, plain)
        click.echo(
            f"{network}, {precision}: ours {mean(ours):.4f} ± {stdev(ours):.4f}, "
            f"plain {mean(plain):.4f} ± {stdev(plain):.4f}, "
            f"difference {found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]; {seeds} seeds, "
            f"{job.images:,} images, {training.EPOCHS} epochs, {job.tested:,} test images"
        )


if __name__ == "__main__":
    main()
