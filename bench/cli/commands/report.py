"""`bench report`: rebuild the tables of a results folder, or compare its AUCs with the papers."""

import click

from bench.core.errors import BenchError
from bench.reporting.formats import FORMATS
from bench.results.folders import folder_of


@click.command("report")
@click.argument("name", metavar="FOLDER|NAME")
@click.option("--check", "checked", is_flag=True, help="Compare the AUCs with those that the papers report.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="txt", help="What to print; default: txt.")
def command(name: str, checked: bool, kind: str) -> None:
    """Rebuild the tables of a results folder from its trials.csv and run.json, and print them."""
    from bench.reporting.build import Report, check, write_report
    from bench.results.reader import is_edited
    from bench.results.writer import NotWritable

    if checked and kind != "txt":
        raise BenchError(f"--check prints text: leave --format {kind} out")
    folder = folder_of(name)
    if checked:
        click.echo(check(folder), nl=False)
    else:
        report = Report(folder)
        click.echo(report.text(kind), nl=False)
        try:
            write_report(report)
        except NotWritable as error:
            click.echo(f"Note: {error}", err=True)
    if is_edited(folder):
        click.echo(f"Note: {folder / 'trials.csv'} was changed: it is not what the run wrote", err=True)
