"""`bench data`: which datasets are there, getting them, and checking them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from bench.api.components import Dataset
from bench.cli.completion import Names
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind
from bench.datasets.fetch import Progress, fetch
from bench.datasets.files import absent, data_root, problems, verify
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed([
        click.option("--data", type=click.Path(file_okay=False), help="Where datasets are; default: $BENCH_DATA."),
        click.option("--set", "settings", multiple=True, metavar="NAME.FIELD=VALUE",
                     help="Set a dataset's field that decides which files it reads."),
        click.option("--plugin", "plugins", multiple=True, type=click.Path(dir_okay=False),
                     help="A single-file plugin."),
    ]):  # fmt: skip
        command = option(command)
    return command


def _datasets(registry: Registry, names: tuple[str, ...], settings: tuple[str, ...]) -> list[Dataset]:
    """Look datasets up, with their fields set."""
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

    They lie in --data, else $BENCH_DATA, else in the user's cache folder.
    """


@command.command("list")
@_options
def list_(data: str | None, settings: tuple[str, ...], plugins: tuple[str, ...]) -> int:
    """Say which datasets are bundled, there, missing or damaged."""
    root, registry = data_root(data), load_registry(plugins)
    datasets = _datasets(registry, registry.names(ComponentKind.DATASET), settings)
    width = max((len(d.name) for d in datasets), default=0)
    for dataset in datasets:
        if not dataset.checksums and not dataset.downloads:
            state = "bundled"
        elif missing := absent(dataset, root):
            way = f"; bench data fetch {dataset.name}" if dataset.downloads else ""
            state = f"missing ({len(missing)} of {len(dataset.checksums)} files{way})"
        else:
            found = problems(dataset, root)
            state = f"damaged ({found[0]}; {len(found)} in all)" if found else "there"
        click.echo(f"{dataset.name:<{width}}  {state}")
    click.echo(f"data folder: {root}")
    return 0


@command.command("fetch")
@click.argument("names", nargs=-1, required=True, type=Names(ComponentKind.DATASET), metavar="NAME...")
@click.option("--from", "mirror", metavar="URL|FOLDER", help="Where files of these names lie, instead of their host.")
@_options
def fetch_(
    names: tuple[str, ...], mirror: str | None, data: str | None, settings: tuple[str, ...], plugins: tuple[str, ...]
) -> int:
    """Download datasets, check them and unpack them; goes on where it was interrupted."""
    root = data_root(data)
    for dataset in _datasets(load_registry(plugins), names, settings):
        with _shown() as progress:
            fetch(dataset, root, progress, mirror)
        click.echo(f"{dataset.name}: " + (f"there, in {root}" if dataset.checksums else "bundled, nothing to fetch"))
    return 0


@command.command("verify")
@click.argument("names", nargs=-1, required=True, type=Names(ComponentKind.DATASET), metavar="NAME...")
@_options
def verify_(names: tuple[str, ...], data: str | None, settings: tuple[str, ...], plugins: tuple[str, ...]) -> int:
    """Check every byte of datasets; exit code 1 if something is missing or damaged."""
    root = data_root(data)
    sound = True
    for dataset in _datasets(load_registry(plugins), names, settings):
        found = verify(dataset, root)
        sound = sound and not found
        for line in found:
            click.echo(f"{dataset.name}: {line}")
        if not found:
            click.echo(f"{dataset.name}: sound")
        elif dataset.downloads:
            click.echo(f"{dataset.name}: mend it with: bench data fetch {dataset.name}")
    return 0 if sound else 1


@contextmanager
def _shown() -> Iterator[Progress]:
    """Show downloads: bars on a terminal, a line per file where there is none."""
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
                    click.echo(f"getting {name}" + (f", {total:,} bytes" if total else ""), err=True)
            bars.update(tasks[name], completed=size, total=total or None)

        yield progress
