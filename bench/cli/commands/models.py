"""`bench models`: check described networks, export what methods ask, export the networks of a store."""

from pathlib import Path
from typing import Any

import click

from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.cli.spec_options import PARAMS
from bench.core.errors import BenchError
from bench.core.hardware import gpus, suitable_precision
from bench.datasets.files import data_root
from bench.execution.preparation import BenchmarkRequest
from bench.execution.run_config import Reporter
from bench.models.description import read
from bench.planning.options import build
from bench.registry.discovery import load_registry
from bench.results.references import score_keys
from bench.store.folders import default_root
from bench.store.maintenance import with_dependencies
from bench.store.store import Store

ALLOW = click.option("--allow-code", is_flag=True, help="Run the programs among them (torchscript, pt2).")
_FILE, _FOLDER = click.Path(dir_okay=False), click.Path(file_okay=False)


class _Notes(Reporter):
    def note(self, text: str) -> None:
        click.echo(text, err=True)


@click.group("models")
def command() -> None:
    """Check, question and export networks that are described in a file. See: docs/models.md"""


@command.command("check")
@click.argument("file", type=_FILE)
@click.option("--datasets", "dataset", default="", metavar="NAME", help="Dataset of those that name none.")
@DATA
@PLUGINS
@ALLOW
def check(file: str, dataset: str, data: str | None, plugins: tuple[str, ...], allow_code: bool) -> None:
    """Load each described network, ask it ten test images, and report on it in one line."""
    from bench.execution.model_report import report

    wrong, models, registry = 0, read(file), load_registry(plugins, data=data)
    for line, usable in report(models, dataset, registry, data_root(data), allow_code):
        click.echo(line)
        wrong += not usable
    if wrong:
        raise BenchError(f"{wrong} of {len(models)} models cannot be used as described")


@command.command("probes", params=[*PARAMS])
@click.argument("folder", type=_FOLDER)
@click.option("--test", is_flag=True, help="Add the test images, so that accuracies are known.")
@STORE
@DATA
@PLUGINS
@ALLOW
def probes(
    folder: str,
    test: bool,
    file: str | None,
    store: str | None,
    data: str | None,
    plugins: tuple[str, ...],
    **chosen: Any,
) -> None:
    """Export the images that methods ask of described sources, for the owner of a network to ask."""
    from bench.execution.probes import export_probes

    registry = load_registry(plugins, data=data)
    precision, allow_code = suitable_precision(gpus()), chosen["allow_code"]
    spec, declarations = build(chosen, file, registry, precision, allow_code=allow_code, on_gpus=bool(gpus()))
    place = Path(folder)
    for name in ("probes.npz", "answers.csv"):  # the table may have been filled in
        if (place / name).exists():
            raise BenchError(f"{place / name} exists: name another folder")
    artifacts = Store(store or default_root())
    request = BenchmarkRequest(spec, declarations, registry, artifacts, data_root(data), place, inline=True)
    for name, count in export_probes(request, test, _Notes()).items():
        click.echo(f"{name}: {count} images that no earlier one asks")
    click.echo(f"{place / 'probes.npz'}: ask these; answers go into {place / 'answers.csv'}, or into an npz file")


@command.command("export")
@click.argument("folder", type=_FOLDER)
@STORE
@PLUGINS
@click.option("--results", multiple=True, type=click.Path(exists=True, file_okay=False), help="Only those of these.")
def export(folder: str, store: str | None, plugins: tuple[str, ...], results: tuple[str, ...]) -> None:
    """Write the networks of a store as safetensors, with a description of each."""
    from bench.execution.model_export import export_networks

    artifacts = Store(store or default_root())
    if not artifacts.root.is_dir():
        raise BenchError(f"There is no store at {artifacts.root} yet: a run creates it, or name one with --store")
    scores = [key for one in results for key in score_keys(Path(one))]
    keys = with_dependencies(artifacts, scores) if results else artifacts.all_keys()
    count, left_out = export_networks(artifacts, keys, Path(folder), load_registry(plugins))
    for line in left_out:
        click.echo(f"left out: {line}", err=True)
    click.echo(f"{count} networks written to {folder}")
