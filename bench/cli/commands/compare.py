"""`bench compare`: compare results folders, with differences and their intervals."""

from __future__ import annotations

import click

from bench.cli.commands.report import folder_of


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="FOLDER|NAME...")
@click.option(
    "--force", is_flag=True, help="Compare even if presets, dataset versions or protocols differ; the output says so."
)
@click.option(
    "--format", "kind", type=click.Choice(["txt", "md", "csv"]), default="txt", help="What to print; default: txt."
)
def command(names: tuple[str, ...], force: bool, kind: str) -> int:
    """Compare results folders with the first one."""
    from bench.reporting.comparison import compare

    click.echo(compare([folder_of(name) for name in names], kind, force), nl=False)
    return 0
