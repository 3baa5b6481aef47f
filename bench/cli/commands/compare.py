"""`bench compare`: results folders side by side, with differences and their intervals."""

from __future__ import annotations

import click

from bench.cli.commands.report import folder_of


@click.command("compare")
@click.argument("names", nargs=-1, required=True, metavar="FOLDER|NAME...")
@click.option("--force", is_flag=True, help="Also where presets, dataset versions or protocols differ; it is marked.")
@click.option("--format", "kind", type=click.Choice(["txt", "md", "csv"]), default="txt", help="Default: txt.")
def command(names: tuple[str, ...], force: bool, kind: str) -> int:
    """Hold results folders against the first of them: what differs, and what was added or lost."""
    from bench.reporting.comparison import compare

    click.echo(compare([folder_of(name) for name in names], kind, force), nl=False)
    return 0
