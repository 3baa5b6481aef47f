"""`bench judge`: make the fingerprints of evidence again, and print what follows."""

import click

from bench.cli.shared_options import DATA, PLUGINS
from bench.frontend.judge import judge


@click.command("judge")
@click.argument("evidence", type=click.Path(file_okay=False))
@click.option("--source", type=click.Path(dir_okay=False), required=True, help="File that describes the source.")
@DATA
@PLUGINS
@click.option("--allow-code", is_flag=True, help="Run the source if it is a program (torchscript, pt2).")
@click.option("--quiet", is_flag=True, help="Show failures only while running.")
def command(
    evidence: str, source: str, data: str | None, plugins: tuple[str, ...], allow_code: bool, quiet: bool
) -> int:
    """Make the fingerprints of evidence again from its source, and its scores. See: docs/verify.md

    Exit code: 0 it holds, 1 refuted, 3 cannot tell, 2 wrong input.
    """
    found = judge(evidence, source, data=data, plugins=plugins, allow_code=allow_code, progress=not quiet)
    click.echo(str(found))
    return found.code
