"""`bench compare`: compare results folders, with differences and their intervals."""

import click

from bench.results.folders import folder_of


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="FOLDER|NAME...")
@click.option(
    "--force", is_flag=True, help="Compare despite different presets, dataset versions or protocols, and note it."
)
@click.option(
    "--format", "kind", type=click.Choice(["txt", "md", "csv"]), default="txt", help="What to print; default: txt."
)
def command(names: tuple[str, ...], force: bool, kind: str) -> None:
    """Compare results folders with the first one."""
    from bench.reporting.comparison import compare

    click.echo(compare([folder_of(name) for name in names], kind, force), nl=False)
