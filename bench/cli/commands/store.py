"""`bench store`: list, verify, clean up, export and import the store of artifacts."""

import shutil
from pathlib import Path
from typing import Any

import click

from bench.cli.shared_options import PLUGINS, STORE
from bench.core.errors import BenchError, capped, limited
from bench.results.references import needed_keys, score_keys
from bench.store.archive import export, import_archive
from bench.store.folders import default_root
from bench.store.locks import is_locked
from bench.store.maintenance import quarantined_folders, size_of, sweep, with_dependencies
from bench.store.store import Store

RESULTS: Any = {"multiple": True, "type": click.Path(exists=True, file_okay=False), "metavar": "FOLDER"}


def _existing(root: str | None) -> Store:
    store = Store(root or default_root())
    if not store.root.is_dir():
        raise BenchError(f"There is no store at {store.root} yet: a run creates it, or name one with --store")
    return store


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _print_quarantined(store: Store) -> None:
    for line in capped(store.quarantined):
        click.echo(f"damaged, quarantined: {line}")


@click.group("store")
def command() -> None:
    """Inspect, clean up and move the store of artifacts."""


@command.command("size")
@STORE
def size(store: str | None) -> None:
    """Show the number and size of artifacts, by kind."""
    artifacts = _existing(store)
    sizes = [(r["kind"], size_of(artifacts, key)) for key in artifacts.all_keys() if (r := artifacts.record(key))]
    for path in quarantined_folders(artifacts):
        sizes.append(("quarantined", sum(p.stat().st_size for p in path.rglob("*") if p.is_file())))
    click.echo(f"{artifacts.root}")
    for kind in (*sorted({kind for kind, _ in sizes}), "in all"):
        taken = [taken for k, taken in sizes if kind in (k, "in all")]
        click.echo(f"  {kind:<12} {len(taken):>8,}   {_bytes(sum(taken))}")


@command.command("list")
@STORE
def list_(store: str | None) -> None:
    """List the artifacts: key, kind, size, seconds, name."""
    artifacts = _existing(store)
    for key in artifacts.all_keys():
        record = artifacts.record(key)
        if record is not None:
            made, taken = record["made"], _bytes(size_of(artifacts, key))
            mark = " (weights removed)" if record["dropped"] else ""
            seconds = f"{made.get('seconds', 0):8.2f} s"
            click.echo(f"{key[:16]}  {record['kind']:<11} {taken:>10}  {seconds}  {made.get('name', '')}{mark}")
    _print_quarantined(artifacts)


@command.command("verify")
@STORE
def verify(store: str | None) -> int:
    """Verify the checksum of every artifact; damaged ones are quarantined, and the next run recomputes them."""
    artifacts = _existing(store)
    valid = sum(artifacts.verify(key) for key in artifacts.all_keys())
    _print_quarantined(artifacts)
    click.echo(f"{valid} artifacts are valid, {len(artifacts.quarantined)} were damaged")
    return 1 if artifacts.quarantined else 0


@command.command("gc")
@STORE
@click.option("--results", **RESULTS, help="Results whose artifacts are kept; default: every folder in ./results.")
@PLUGINS
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def gc(store: str | None, results: tuple[str, ...], plugins: tuple[str, ...], yes: bool) -> None:
    """Remove the artifacts that no results folder refers to."""
    artifacts = _existing(store)
    folders = [Path(r) for r in results] or [p.parent for p in sorted(Path("results").glob("*/trials.csv"))]
    if not folders:
        raise BenchError("There are no results in ./results: name the folders whose artifacts to keep with --results")
    if is_locked(artifacts):
        raise BenchError(f"A run is using {artifacts.root}: wait until it has ended")
    keep = set(with_dependencies(artifacts, [key for folder in folders for key in needed_keys(folder, plugins)]))
    gone = [key for key in artifacts.all_keys() if key not in keep]
    damaged = quarantined_folders(artifacts)
    taken = _bytes(sum(size_of(artifacts, key) for key in gone))
    quarantined = f", and {len(damaged)} quarantined ones" if damaged else ""
    named = ", ".join(map(str, folders))
    click.echo(f"{len(keep)} artifacts are kept ({named}); {len(gone)} to remove ({taken}){quarantined}")
    if (gone or damaged) and (yes or click.confirm("Remove them?")):
        removed = sum(artifacts.forget(key) for key in gone)
        for path in damaged:
            shutil.rmtree(path, ignore_errors=True)
        click.echo(f"removed {removed} artifacts, {taken}")
    sweep(artifacts)


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False))
@STORE
@click.option("--results", **RESULTS, help="Export only the artifacts of these results; default: all.")
def export_(file: str, store: str | None, results: tuple[str, ...]) -> int:
    """Write artifacts to a tar file, for import elsewhere."""
    artifacts = _existing(store)
    scores = [key for folder in results for key in score_keys(Path(folder))]
    keys = with_dependencies(artifacts, scores) if results else artifacts.all_keys()
    count = export(artifacts, keys, Path(file))
    _print_quarantined(artifacts)
    click.echo(f"{count} artifacts written to {file}")
    return 1 if artifacts.quarantined else 0


@command.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@STORE
def import_(file: str, store: str | None) -> int:
    """Import artifacts from a tar file; every member is checked, and none is executed."""
    artifacts = Store(store or default_root())
    artifacts.check_writable()
    if not Path(file).is_file():
        raise BenchError(f"There is no archive {file}")
    done = import_archive(artifacts, Path(file), limited(lambda line: click.echo(f"refused: {line}", err=True)))
    click.echo(f"{done.added} artifacts imported, {done.known} existed already, {len(done.refused)} refused")
    return 1 if done.refused else 0
