"""`bench merge`: join results folders of one protocol into one."""

import shlex
import sys
from pathlib import Path

import click

from bench.cli.shared_options import STORE
from bench.core.errors import BenchError, capped
from bench.results.folders import folder_of


@click.command("merge")
@click.argument("names", nargs=-1, required=True, metavar="FOLDER|NAME...")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The new results folder.")
@STORE
def command(names: tuple[str, ...], out: Path, store: str | None) -> None:
    """Join results of one protocol, made by several machines or with other seeds, datasets or methods."""
    from bench.reporting.build import write
    from bench.results.merge import merge
    from bench.results.references import remember_merged

    if out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise BenchError(f"--out {out} exists: choose another folder")
    merged = merge([folder_of(name) for name in names], shlex.join(["bench", *sys.argv[1:]]))
    text = write(out, merged.rows, merged.run)
    if not remember_merged(store, out) and store:  # before the output, which may be a closed pipe
        note = "has none of their artifacts or cannot be written: it does not know of"
        click.echo(f"Note: the store {store} {note} {out}", err=True)
    click.echo(text)
    for line in capped(merged.renumbered):
        click.echo(line)
    click.echo(f"{len(merged.rows)} trials, {merged.united} of them in several folders. results: {out}")
