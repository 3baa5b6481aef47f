"""`bench show`: how one trial was made."""

from collections.abc import Mapping

import click

from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.core.errors import BenchError
from bench.core.spec import Spec
from bench.core.tasks import Task
from bench.results.folders import folder_of
from bench.store.folders import default_root
from bench.store.store import Store


@click.command("show")
@click.argument("name", metavar="FOLDER|NAME")
@click.option("--trial", "key", required=True, metavar="KEY", help="Trial key, or a unique prefix of it.")
@STORE
@DATA
@PLUGINS
def command(name: str, key: str, store: str | None, data: str | None, plugins: tuple[str, ...]) -> None:
    """Show how one trial was made: command line, seeds, parameters, artifacts, log, score."""
    from bench.reporting.trial import describe, find

    found, artifacts = find(folder_of(name), key), Store(store or default_root())
    tasks = _planned(found.spec, plugins, data) if artifacts.record(found.row["key"]) is None else {}
    click.echo(describe(found, artifacts, tasks), nl=False)


def _planned(spec: Spec, plugins: tuple[str, ...], data: str | None) -> Mapping[str, Task]:
    """Return the tasks of a run's plan, which name the inputs of artifacts that are not stored."""
    from bench.planning.declarations import declare
    from bench.planning.planner import plan
    from bench.registry.discovery import load_registry

    try:
        return plan(spec, declare(spec, load_registry(plugins, data=data))).tasks
    except BenchError as error:
        text = f"Note: the inputs of the trial are unknown: {error}. Name its run's --plugin and --data, if it had any"
        click.echo(text, err=True)
        return {}
