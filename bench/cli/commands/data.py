"""`bench data`: list, fetch and verify datasets."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from bench.api.components import Dataset
from bench.cli.completion import Names
from bench.cli.shared_options import DATA, PLUGINS
from bench.core.errors import BenchError, capped
from bench.core.kinds import ComponentKind
from bench.datasets.fetch import Progress, fetch
from bench.datasets.file_record import load_errors
from bench.datasets.files import absent, data_root, problems, verify
from bench.registry.discovery import load_registry

_SET_HELP = "Set a field of a dataset that decides which files it reads."
SET = click.option("--set", "settings", multiple=True, metavar="NAME.FIELD=VALUE", help=_SET_HELP)
NAMES = click.argument("names", nargs=-1, required=True, type=Names(ComponentKind.DATASET), metavar="NAME...")


def _datasets(plugins: tuple[str, ...], settings: tuple[str, ...], names: tuple[str, ...] | None) -> list[Dataset]:
    """Return datasets by name (None: all), with their fields set."""
    registry = load_registry(plugins)
    names = registry.names(ComponentKind.DATASET) if names is None else names
    fields: dict[str, dict[str, str]] = {}
    for setting in settings:
        left, equals, value = setting.partition("=")
        name, dot, field = left.strip().partition(".")
        if not (equals and dot and field and name in names):
            raise BenchError(f"--set takes DATASET.FIELD=VALUE for {', '.join(names)}, not {setting!r}")
        fields.setdefault(name, {})[field] = value
    return [registry.get(ComponentKind.DATASET, name, fields.get(name)) for name in dict.fromkeys(names)]


@click.group("data")
def command() -> None:
    """List, fetch and verify datasets.

    The data folder is --data, else $BENCH_DATA, else one in the user's cache folder.
    """


@command.command("list")
@DATA
@SET
@PLUGINS
def list_(data: str | None, settings: tuple[str, ...], plugins: tuple[str, ...]) -> None:
    """List the datasets: present, missing or damaged, or without files to fetch."""
    root, datasets = data_root(data), _datasets(plugins, settings, None)
    width = max((len(d.name) for d in datasets), default=0)
    for dataset in datasets:
        if not dataset.checksums and not dataset.downloads:
            state = "nothing to fetch"
        elif missing := absent(dataset, root):
            way = f"; bench data fetch {dataset.name}" if dataset.downloads else ""
            state = f"missing ({len(missing)} of {len(dataset.checksums)} files{way})"
        else:
            found = problems(dataset, root)
            state = f"damaged ({found[0]}; {len(found)} in all)" if found else "present"
        click.echo(f"{dataset.name:<{width}}  {state}")
    click.echo(f"data folder: {root}")


@command.command("fetch")
@NAMES
@click.option("--from", "mirror", metavar="URL|FOLDER", help="Fetch files of these names from here, not their host.")
@DATA
@SET
@PLUGINS
def fetch_(mirror: str | None, data: str | None, **chosen: Any) -> None:
    """Download, verify and extract datasets; an interrupted download is resumed."""
    root = data_root(data)
    for dataset in _datasets(**chosen):
        with _progress() as progress:
            fetch(dataset, root, progress, mirror)
        has_files = dataset.checksums or dataset.downloads
        click.echo(f"{dataset.name}: " + (f"present, in {root}" if has_files else "nothing to fetch"))


@command.command("verify")
@NAMES
@DATA
@SET
@PLUGINS
def verify_(data: str | None, **chosen: Any) -> int:
    """Verify every file of datasets; exit code 1 if one is missing or damaged.

    A dataset that declares no files, or neither checksums nor a check of its own, is loaded.
    """
    root = data_root(data)
    valid = True
    for dataset in _datasets(**chosen):
        found, result = verify(dataset, root), "valid"
        if not found and _is_unverified(dataset):
            found, count = load_errors(dataset, root)
            result = f"loaded from {count:,} files without checksums" if count else "loaded, from no file below --data"
        valid = valid and not found
        for line in capped(found):
            click.echo(f"{dataset.name}: {line}")
        if not found:
            click.echo(f"{dataset.name}: {result}")
        elif dataset.downloads:
            click.echo(f"{dataset.name}: repair it with: bench data fetch {dataset.name}")
    return 0 if valid else 1


def _is_unverified(dataset: Dataset) -> bool:
    """Return True if the declarations of a dataset leave open whether it can be loaded."""
    return not dataset.checksums or not (any(dataset.checksums.values()) or type(dataset).check is not Dataset.check)


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show downloads: bars on a terminal, else a line per file."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Bars(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def progress(name: str, size: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=total or None)
                if not console.is_terminal:
                    click.echo(f"fetching {name}" + (f", {total:,} bytes" if total else ""), err=True)
            bars.update(tasks[name], completed=size, total=total or None)

        yield progress
