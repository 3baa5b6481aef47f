"""`python -m benchmarks`: measure what the tables of RESULTS.md say, on this machine."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

import click
from tabulate import tabulate

from bench.devices import hardware
from benchmarks import house, training
from benchmarks.measure import HEADERS, Row

PARTS = ("training", "house", "scheduler")


def _rows(parts: tuple[str, ...], root: Path, rounds: int, only: tuple[str, ...], full: bool) -> Iterator[Row]:
    if "training" in parts:
        yield from training.rows(root, rounds, only, full)
    if "house" in parts:
        yield from house.rows(rounds)
    if "scheduler" in parts:
        yield house.scheduler(rounds if full else 1)


@click.command()
@click.option("--part", "parts", multiple=True, type=click.Choice(PARTS), help="What to measure; default: all.")
@click.option("--only", multiple=True, metavar="ARCHITECTURE", help="Of the training rows, those of one network.")
@click.option("--rounds", type=click.IntRange(1), default=5, help="Rounds of each comparison.")
@click.option("--full", is_flag=True, help="Accuracies of all small networks, and the scheduler in every round.")
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), envvar="BENCH_DATA", help="FashionMNIST, CIFAR10."
)
@click.option("--out", type=click.Path(path_type=Path), help="Write the table there too, as Markdown.")
def main(
    parts: tuple[str, ...], only: tuple[str, ...], rounds: int, full: bool, data: Path | None, out: Path | None
) -> None:
    """Measure, one row after the other, and print one table."""
    parts = parts or PARTS
    if "training" in parts and data is None:
        raise click.UsageError("the training rows need FashionMNIST and CIFAR10: set --data or $BENCH_DATA")
    measured = []
    for row in _rows(parts, data or Path(), rounds, only, full):
        measured.append(row)
        click.echo("  ".join(filter(None, row.cells())), err=True)
    table = tabulate([row.cells() for row in measured], HEADERS, tablefmt="github", disable_numparse=True)
    machine = ", ".join(f"{k} {v}" for k, v in hardware().items())
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "torchvision"))
    load = f"load before: {os.getloadavg()[2]:.1f}"
    text = f"{datetime.date.today()}; {machine}; {versions}; {load}\n\n{table}\n"
    click.echo(text)
    if out is not None:
        out.write_text(text)


if __name__ == "__main__":
    main()
