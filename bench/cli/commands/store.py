"""`bench store`: list, verify, clean up, export and import the store of artifacts."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import click

from bench.core.errors import BenchError
from bench.results.references import needed_keys, score_keys
from bench.store.archive import export, import_archive
from bench.store.folders import default_root
from bench.store.locks import is_locked
from bench.store.maintenance import quarantined_folders, size_of, sweep, with_dependencies
from bench.store.store import Store

RESULTS: Any = {"multiple": True, "type": click.Path(exists=True, file_okay=False), "metavar": "FOLDER"}
WHERE = click.option(
    "--store", "root", type=click.Path(file_okay=False), help="Folder of the artifacts; default: $BENCH_STORE."
)


def _store(root: str | None) -> Store:
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
    for key in store.quarantined:
        click.echo(f"damaged, quarantined: {key}")


@click.group("store")
def command() -> None:
    """Inspect, clean up and move the store of artifacts."""


@command.command("size")
@WHERE
def size(root: str | None) -> int:
    """Show the number and size of artifacts, by kind."""
    store = _store(root)
    count: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for key in store.all_keys():
        record = store.record(key)
        if record is not None:
            count[record["kind"]] += 1
            taken[record["kind"]] += size_of(store, key)
    for path in quarantined_folders(store):
        count["quarantined"] += 1
        taken["quarantined"] += sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    click.echo(f"{store.root}")
    for kind in sorted(count):
        click.echo(f"  {kind:<12} {count[kind]:>8,}   {_bytes(taken[kind])}")
    click.echo(f"  {'in all':<12} {sum(count.values()):>8,}   {_bytes(sum(taken.values()))}")
    return 0


@command.command("list")
@WHERE
def list_(root: str | None) -> int:
    """List the artifacts: key, kind, size, seconds, name."""
    store = _store(root)
    for key in store.all_keys():
        record = store.record(key)
        if record is not None:
            made, taken = record["made"], _bytes(size_of(store, key))
            mark = " (weights removed)" if record["dropped"] else ""
            seconds = f"{made.get('seconds', 0):8.2f} s"
            click.echo(f"{key[:16]}  {record['kind']:<11} {taken:>10}  {seconds}  {made.get('name', '')}{mark}")
    _print_quarantined(store)
    return 0


@command.command("verify")
@WHERE
def verify(root: str | None) -> int:
    """Verify the checksum of every artifact; damaged ones are quarantined, and the next run recomputes them."""
    store = _store(root)
    valid = sum(store.verify(key) for key in store.all_keys())
    _print_quarantined(store)
    click.echo(f"{valid} artifacts are valid, {len(store.quarantined)} were damaged")
    return 1 if store.quarantined else 0


@command.command("gc")
@WHERE
@click.option("--results", **RESULTS, help="Results whose artifacts are kept; default: every folder in ./results.")
@click.option(
    "--plugin", "plugins", multiple=True, type=click.Path(dir_okay=False), help="A single-file plugin of these results."
)
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def gc(root: str | None, results: tuple[str, ...], plugins: tuple[str, ...], yes: bool) -> int:
    """Remove the artifacts that no results folder refers to."""
    store = _store(root)
    folders = [Path(r) for r in results] or [p.parent for p in sorted(Path("results").glob("*/trials.csv"))]
    if not folders:
        raise BenchError("There are no results in ./results: name the folders whose artifacts to keep with --results")
    if is_locked(store):
        raise BenchError(f"A run is using {store.root}: wait until it has ended")
    keep = set(with_dependencies(store, [key for folder in folders for key in needed_keys(folder, plugins)]))
    gone = [key for key in store.all_keys() if key not in keep]
    damaged = quarantined_folders(store)
    taken = sum(size_of(store, key) for key in gone)
    named = ", ".join(map(str, folders))
    quarantined = f", and {len(damaged)} quarantined ones" if damaged else ""
    click.echo(f"{len(keep)} artifacts are kept ({named}); {len(gone)} to remove ({_bytes(taken)}){quarantined}")
    if (gone or damaged) and (yes or click.confirm("Remove them?")):
        removed = sum(store.forget(key) for key in gone)
        for path in damaged:
            shutil.rmtree(path, ignore_errors=True)
        click.echo(f"removed {removed} artifacts, {_bytes(taken)}")
    sweep(store)
    return 0


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False))
@WHERE
@click.option("--results", **RESULTS, help="Export only the artifacts of these results; default: all.")
def export_(file: str, root: str | None, results: tuple[str, ...]) -> int:
    """Write artifacts to a tar file, for import elsewhere."""
    store = _store(root)
    scores = [key for folder in results for key in score_keys(Path(folder))]
    keys = with_dependencies(store, scores) if results else store.all_keys()
    count = export(store, keys, Path(file))
    _print_quarantined(store)
    click.echo(f"{count} artifacts written to {file}")
    return 1 if store.quarantined else 0


@command.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@WHERE
def import_(file: str, root: str | None) -> int:
    """Import artifacts from a tar file; every member is checked, and none is executed."""
    store = Store(root or default_root())
    store.check_writable()
    if not Path(file).is_file():
        raise BenchError(f"There is no archive {file}")
    done = import_archive(store, Path(file), lambda line: click.echo(f"refused: {line}", err=True))
    click.echo(f"{done.added} artifacts imported, {done.known} existed already, {len(done.refused)} refused")
    return 1 if done.refused else 0
