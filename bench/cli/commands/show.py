"""`bench show`: one trial, from the command line to its score."""

from __future__ import annotations

from collections.abc import Mapping

import click

from bench.cli.commands.report import folder_of
from bench.core.errors import BenchError
from bench.core.spec import Spec
from bench.core.tasks import Task
from bench.store.store import Store, default_root


@click.command("show")
@click.argument("name", metavar="FOLDER|NAME")
@click.option("--trial", "key", required=True, metavar="KEY", help="Its key in trials.csv, or how that begins.")
@click.option("--store", type=click.Path(file_okay=False), help="Where artifacts are; default: $BENCH_STORE.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(dir_okay=False), help="A single-file plugin.")
def command(name: str, key: str, store: str | None, plugins: tuple[str, ...]) -> int:
    """Show one trial, from the command line to its score: seeds, parameters, artifacts, log."""
    from bench.reporting.trial import describe, find

    found, kept = find(folder_of(name), key), Store(store or default_root())
    tasks: Mapping[str, Task] = {}
    if kept.record(found.row["key"]) is None:
        tasks = _planned(found.spec, plugins)
    click.echo(describe(found, kept, tasks), nl=False)
    return 0


def _planned(spec: Spec, plugins: tuple[str, ...]) -> Mapping[str, Task]:
    """Give the tasks of a run's plan: what is not stored says nothing of what it would have been made from."""
    from bench.planning.declarations import declare
    from bench.planning.planner import plan
    from bench.registry.discovery import load_registry

    try:
        return plan(spec, declare(spec, load_registry(plugins))).tasks
    except BenchError as error:
        click.echo(f"Note: what the trial would have been made from cannot be told: {error}", err=True)
        return {}
