"""`bench innocents`: train a population of networks that no source had a part in."""

import shlex
import sys

import click

from bench.cli.commands.run import TerminalReporter
from bench.cli.completion import Names
from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.core.kinds import ComponentKind
from bench.frontend.innocents import Options, population

_FILE = click.Path(dir_okay=False)


@click.command("innocents")
@click.argument("dataset", type=Names(ComponentKind.DATASET))
@click.option("--number", type=click.IntRange(0), default=200, show_default=True, help="Networks to train.")
@click.option("--recipes", type=_FILE, metavar="FILE", help="Distribution of recipes; default: 32 small ones.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Another seed draws other networks.")
@click.option("--split-seed", type=click.IntRange(0), default=0, help="Seed of the division of the dataset.")
@click.option("--images", type=click.IntRange(0), default=0, help="Images of the attacker half; 0: all.")
@click.option("--models", type=_FILE, metavar="FILE", help="Add the irrelevant networks that this file describes.")
@click.option("--from-store", is_flag=True, help="Add the irrelevant networks of this dataset in the store.")
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: in this process.")
@STORE
@DATA
@PLUGINS
@click.option("--out", required=True, type=click.Path(), help="Folder of the population.")
@click.option("--quiet", is_flag=True, help="Show failures only while training.")
def command(quiet: bool, **chosen: object) -> int:
    """Train innocents of DATASET, of a stated distribution of recipes, and describe them. See: docs/innocents.md"""
    made = population(Options(**chosen), TerminalReporter(quiet, False), shlex.join(["bench", *sys.argv[1:]]))  # type: ignore[arg-type]
    if made.failed:
        click.echo(f"{made.failed} tasks failed: the population is not complete, and was not written", err=True)
    elif made.interrupted:
        click.echo("Interrupted: what is finished is in the store, and the same command goes on from there", err=True)
    else:
        click.echo(f"{made.innocents} innocents of {made.families} families ({made.trained} trained now)")
        click.echo(f"population: {made.folder}")
    return 1 if made.failed else 130 if made.interrupted else 0
