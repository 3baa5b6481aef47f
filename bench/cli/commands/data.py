"""`bench data`: list, fetch and verify datasets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bench.api.components import Dataset
from bench.cli.completion import Names
from bench.cli.shared_options import DATA, PLUGINS
from bench.core.errors import BenchError, capped
from bench.core.kinds import ComponentKind
from bench.datasets.fetch import Progress, fetch
from bench.datasets.file_record import load_errors
from bench.datasets.files import absent, absent_archives, data_root, problems, verify
from bench.registry.discovery import load_registry

_SET_HELP = "Set a field of a dataset that decides which files it reads."
SET = click.option("--set", "settings", multiple=True, metavar="NAME.FIELD=VALUE", help=_SET_HELP)
NAME_EXAMPLE = "garden_birds"
NAMES = click.argument("names", nargs=-1, required=True, type=Names(ComponentKind.DATASET), metavar="NAME...")


def _datasets(
    plugins: tuple[str, ...], settings: tuple[str, ...], names: tuple[str, ...] | None, data: str | None
) -> list[Dataset]:
    """Return datasets by name (None: all), with their fields set."""
    registry = load_registry(plugins, data=data)
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
    root, datasets = data_root(data), _datasets(plugins, settings, None, data)
    width = max((len(d.name) for d in datasets), default=0)
    for dataset in datasets:
        if not dataset.checksums and not dataset.downloads:
            state = "nothing to fetch"
        elif missing := absent(dataset, root):
            way = f"; bench data fetch {dataset.name}" if dataset.downloads else ""
            state = f"missing ({len(missing)} of {len(dataset.checksums)} files{way})"
        elif missing := absent_archives(dataset, root):
            count = f"{len(missing)} of {len(dataset.downloads)} archives"
            state = f"missing ({count}; bench data fetch {dataset.name})"
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
    for dataset in _datasets(**chosen, data=data):
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
    for dataset in _datasets(**chosen, data=data):
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


def _size(text: str) -> tuple[int, int]:
    """Return height and width; BenchError if the text gives none."""
    numbers = text.lower().split("x")
    if not (len(numbers) <= 2 and all(n.isdecimal() and len(n) <= 4 and int(n) for n in numbers)):
        raise BenchError(f"--size takes pixels, such as 32, or HEIGHTxWIDTH, such as 32x48, not {text!r}")
    return int(numbers[0]), int(numbers[-1])


def _related(values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    if not all(key and name for key, _, name in pairs):
        raise BenchError("--related takes KEY=DATASET, such as transfer=other_birds")
    return {key.strip(): name.strip() for key, _, name in pairs}


@command.command("add")
@click.argument("name")
@click.argument("folder", type=click.Path())
@click.option("--size", metavar="N|HEIGHTxWIDTH", help="Size of all images in pixels; default: the size that all have.")
@click.option("--channels", type=click.Choice(["1", "3"]), help="1: grey, 3: colour; default: 3 if one has colour.")
@click.option("--fit", type=click.Choice(["crop", "stretch", "pad"]), default="crop", help="How sizes are made equal.")
@click.option(
    "--split", type=click.Path(), metavar="FILE", help="A CSV file with the columns file and part (train or test)."
)
@click.option(
    "--test-share",
    type=click.FloatRange(0.01, 0.99),
    default=0.2,
    metavar="SHARE",
    help="Share of the test part, by class.",
)
@click.option("--seed", type=click.IntRange(0), default=0, help="Seed of the division into train and test.")
@click.option("--flip", is_flag=True, help="A mirrored image keeps its label: training mirrors half of them.")
@click.option("--crop", type=click.IntRange(0, 1000), default=0, help="Largest shift of a training image, in pixels.")
@click.option("--related", multiple=True, metavar="KEY=DATASET", help="A dataset that attacks may use.")
@DATA
@PLUGINS
def add_(name: str, folder: str, data: str | None, plugins: tuple[str, ...], **chosen: Any) -> None:
    """Make a dataset of a folder of PNG or JPEG files, one folder per class."""
    from bench.datasets.image_folder import description_path, write_description
    from bench.datasets.image_survey import Options, survey
    from bench.registry.validation import NAME, is_reserved

    root, path, registry = data_root(data), Path(folder), load_registry(plugins, data=data)
    if not NAME.fullmatch(name):
        raise BenchError(f"The name {name!r:.80} is not lower-case snake_case, such as {NAME_EXAMPLE}")
    if is_reserved(ComponentKind.DATASET, name):
        raise BenchError(f"The name {name!r} means something else in options: choose another name")
    if registry.kind_of(name) or name in {broken.name for broken in registry.broken}:
        known = description_path(root, name)
        way = f"Remove it first: bench data remove {name}" if known.is_file() else "Choose another name"
        raise BenchError(f"{name} exists already, as a {registry.kind_of(name) or 'broken plugin'}. {way}")
    if not path.is_dir():
        raise BenchError(f"There is no folder {folder}")
    chosen["size"] = _size(chosen["size"]) if chosen["size"] else None
    chosen["channels"] = int(chosen["channels"]) if chosen["channels"] else None
    chosen["split"] = Path(chosen["split"]) if chosen["split"] else None
    chosen["related"] = _related(chosen["related"])
    description, notes = survey(name, path, root, Options(**chosen))
    write_description(root, description)
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    counts = f"{len(description.train):,} train and {len(description.test):,} test images"
    shape = "x".join(map(str, description.shape))
    click.echo(
        f"{name}: {counts} of {len(description.classes)} classes, {shape}; described in {description_path(root, name)}"
    )


@command.command("remove")
@click.argument("name", type=Names(ComponentKind.DATASET))
@DATA
def remove_(name: str, data: str | None) -> None:
    """Remove the description of an image folder; its images stay."""
    from bench.datasets.image_folder import description_path

    path = description_path(data_root(data), name)
    if not path.is_file():
        raise BenchError(f"{name} is no image folder that was added to {data_root(data)}. See: bench data list")
    path.unlink()
    click.echo(f"{name}: removed {path}; its images stay")


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
