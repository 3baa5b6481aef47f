"""`python -m benchmarks`: measure the tables of RESULTS.md on this machine."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import torch

from benchmarks import commands, gpu, million, precision, profile, results_file, scaling, scores, training, zoo
from benchmarks.measure import Row

PARTS = ("training", "memory", "commands", "scores", "zoo", "scaling", "large", "scheduler")
"""What is measured by default."""
MORE = ("million", "precision", "profile")
"""What `--full` adds."""


@dataclass(frozen=True)
class Choice:
    """What the command line asks for."""

    rounds: int
    only: tuple[str, ...]
    full: bool
    data: Path | None
    scale: gpu.Scale | None = None
    """Of the rows of a GPU; None: the usual one."""


def sections(part: str, choice: Choice) -> Iterator[tuple[str, Iterator[Row]]]:
    """Return what is kept as a table of its own: the part, or of training each network, for its rows take long."""
    if part == "training":
        for name in training.networks(choice.only):
            measured = training.rows(choice.data or Path(), choice.rounds, name, choice.full)
            yield f"training{results_file.OF}{name}", measured
    else:
        yield part, rows(part, choice)


def rows(part: str, choice: Choice) -> Iterator[Row]:
    """Measure one part other than training."""
    rounds, full, data = choice.rounds, choice.full, choice.data or Path()
    few = rounds if full else min(rounds, 3)  # of long commands that have a time limit only
    if part == "memory":
        yield training.memory(data)
    elif part == "commands":
        yield from commands.rows(rounds)
    elif part == "scores":
        yield from scores.rows(few)
    elif part == "zoo":
        yield from zoo.rows()
    elif part == "scaling":
        yield from scaling.rows(rounds)
    elif part == "large":
        yield from scaling.large(few)
    elif part == "scheduler":
        yield commands.scheduler(rounds if full else 1)
    elif part == "million":
        yield from million.rows(rounds if full else 1)
    elif part == "precision":
        yield from precision.rows()
    elif part == "profile":
        yield from profile.rows(data, rounds, choice.only)
    else:
        yield from gpu.rows(rounds, choice.only, choice.scale)


@click.command()
@click.option(
    "--part",
    "parts",
    multiple=True,
    type=click.Choice((*PARTS, *MORE)),
    help=f"What to measure, may be repeated; default: all but {', '.join(MORE)}.",
)
@click.option("--gpu", "on_gpu", is_flag=True, help="Measure the rows of a GPU, and nothing else.")
@click.option("--tiny", is_flag=True, help="Try --gpu, on a CPU too: sizes at which no figure means anything.")
@click.option(
    "--only", multiple=True, metavar="ARCHITECTURE", help="Of the training and GPU rows, those of one network."
)
@click.option("--rounds", type=click.IntRange(1), default=5, help="Rounds of each comparison; default: 5.")
@click.option(
    "--full",
    is_flag=True,
    help="More images, accuracies of all small networks, every round of all rows, the parts left out otherwise.",
)
@click.option(
    "--data", type=click.Path(exists=True, path_type=Path), envvar="BENCH_DATA", help="FashionMNIST, CIFAR10."
)
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A Markdown file for the ratios of all machines; the tables of this one go into `results/` beside it.",
)
def main(
    parts: tuple[str, ...],
    on_gpu: bool,
    tiny: bool,
    only: tuple[str, ...],
    rounds: int,
    full: bool,
    data: Path | None,
    out: Path | None,
) -> None:
    """Measure part after part: a line per row as it is known, and a table per part when it is done.

    Training has a table per network. `--out` keeps each table at once, in place of the last one of the same part and
    machine. Ctrl-C, or a row that fails, leaves a table of the rows before it.
    """
    if on_gpu and parts:
        raise click.UsageError("--gpu measures the GPU's own rows: leave --part out")
    if tiny and not on_gpu:
        raise click.UsageError("--tiny tries --gpu: give both")
    if on_gpu and not tiny and not torch.cuda.is_available():
        raise SystemExit("--gpu: torch sees no GPU here (torch.cuda.is_available() is false), so nothing was measured")
    chosen = ("gpu",) if on_gpu else parts or (*PARTS, *(MORE if full else ()))
    if {"training", "memory", "profile"} & {*chosen} and data is None:
        raise click.UsageError("the rows about training need FashionMNIST and CIFAR10: set --data or $BENCH_DATA")
    if "training" in chosen and not training.networks(only):
        raise click.UsageError(f"--only {only[0]}: training has {', '.join(training.networks(()))}")
    if only and out is not None and {*chosen} != {"training"}:
        raise click.UsageError("--only measures some rows of a part, and --out keeps whole ones, but of training")
    if out is not None and not results_file.replaceable(out):
        raise click.UsageError(f"--out: {out} is no index that this program wrote; name another file")
    choice = Choice(rounds, only, full, data, gpu.tiny() if tiny else None)
    command = shlex.join(["python", "-m", "benchmarks", *_without_paths(sys.argv[1:])])
    for of, found in (table for part in chosen for table in sections(part, choice)):
        title = f"{of}, tiny" if tiny else of
        before, begun, measured = results_file.load_average(), time.perf_counter(), []
        early = f"{results_file.OF}ended early"
        try:
            for row in found:
                measured.append(row)
                click.echo("  ".join(filter(None, row.cells())), err=True)
            early = ""
        finally:
            if measured:
                text = results_file.section(title + early, measured, command, before, time.perf_counter() - begun)
                click.echo(text)
                if out is not None:
                    results_file.keep(out, title + early, text)


def _without_paths(words: Sequence[str]) -> list[str]:
    """Leave out where this machine keeps its data and tables: nobody else has these folders."""
    before = ("", *words)
    paths = ("--data", "--out")
    return [w for b, w in zip(before, words, strict=False) if b not in paths and w.split("=")[0] not in paths]


if __name__ == "__main__":
    main()
