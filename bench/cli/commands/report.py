"""`bench report`: rebuild the tables of a results folder, or compare its AUCs with the papers."""

from pathlib import Path

import click

from bench.core.errors import BenchError, capped, did_you_mean

FORMATS = ("txt", "md", "tex", "csv")


def folder_of(name: str) -> Path:
    """Return a results folder by its path, or by its name in ./results; raise BenchError if there is none."""
    for folder in (Path(name), Path("results") / name):
        if folder.is_dir():
            return folder
    there = sorted(p.name for p in Path("results").iterdir() if p.is_dir()) if Path("results").is_dir() else []
    hint = did_you_mean(name, there) or f"There are: {', '.join(capped(there)) or 'none'}"
    raise BenchError(f"There is no results folder {name!r}, here or in results. {hint.strip()}")


@click.command("report")
@click.argument("name", metavar="FOLDER|NAME")
@click.option("--check", "checked", is_flag=True, help="Compare the AUCs with those that the papers report.")
@click.option("--format", "kind", type=click.Choice(FORMATS), default="txt", help="What to print; default: txt.")
def command(name: str, checked: bool, kind: str) -> None:
    """Rebuild the tables of a results folder from its trials.csv and run.json, and print them."""
    from bench.reporting.build import check, contents, write_report
    from bench.results.reader import is_edited
    from bench.results.writer import NotWritable

    folder = folder_of(name)
    if checked:
        click.echo(check(folder), nl=False)
    else:
        files = contents(folder)
        click.echo(files[f"table.{kind}"], nl=False)
        try:
            write_report(folder, files)
        except NotWritable as error:
            click.echo(f"Note: {error}", err=True)
    if is_edited(folder):
        click.echo(f"Note: {folder / 'trials.csv'} was changed: it is not what the run wrote", err=True)
