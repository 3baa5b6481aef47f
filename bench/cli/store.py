"""`bench store`: what the store holds, whether it is sound, what can go, and how to move it."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import click

from bench.archive import bring_in, export
from bench.errors import BenchError
from bench.store import Store, default_root

WHERE = click.option("--store", "root", type=click.Path(file_okay=False), help="Where artifacts are.")


def _store(root: str | None) -> Store:
    store = Store(root or default_root())
    if not store.root.is_dir():
        raise BenchError(f"There is no store at {store.root} yet: a run makes it, or name one with --store")
    return store


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


@click.group("store")
def command() -> None:
    """Look after the store of artifacts."""


@command.command("size")
@WHERE
def size(root: str | None) -> int:
    """Say how many artifacts there are of each kind, and what they take."""
    store = _store(root)
    count: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for key in store.all_keys():
        record = store.record(key)
        kind = record["kind"] if record else "damaged"
        count[kind] += 1
        taken[kind] += store.size(key)
    click.echo(f"{store.root}")
    for kind in sorted(count):
        click.echo(f"  {kind:<12} {count[kind]:>8,}   {_bytes(taken[kind])}")
    click.echo(f"  {'in all':<12} {sum(count.values()):>8,}   {_bytes(sum(taken.values()))}")
    return 0


@command.command("list")
@WHERE
def list_(root: str | None) -> int:
    """List the artifacts: key, kind, size, seconds it took, and what it is."""
    store = _store(root)
    for key in store.all_keys():
        record = store.record(key)
        if record is not None:
            made, taken = record["made"], _bytes(store.size(key))
            mark = " (weights removed)" if record["dropped"] else ""
            seconds = f"{made.get('seconds', 0):8.2f} s"
            click.echo(f"{key[:16]}  {record['kind']:<11} {taken:>10}  {seconds}  {made.get('name', '')}{mark}")
    return 0


@command.command("verify")
@WHERE
def verify(root: str | None) -> int:
    """Check the bytes of every artifact; damaged ones are set aside, and the next run makes them anew."""
    store = _store(root)
    sound = sum(store.verify(key) for key in store.all_keys())
    for key in store.set_aside:
        click.echo(f"damaged, set aside: {key}")
    click.echo(f"{sound} artifacts are sound, {len(store.set_aside)} were damaged")
    return 1 if store.set_aside else 0


@command.command("gc")
@WHERE
@click.option("--results", multiple=True, type=click.Path(exists=True, file_okay=False), metavar="FOLDER",
              help="Results whose artifacts stay; default: every folder below ./results.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
def gc(root: str | None, results: tuple[str, ...], yes: bool) -> int:
    """Remove the artifacts that no results folder refers to."""
    store = _store(root)
    folders = [Path(r) for r in results] or [p.parent for p in sorted(Path("results").glob("*/trials.csv"))]
    keep = set(store.reach(_referred(folders)))
    gone = [key for key in store.all_keys() if key not in keep]
    taken = sum(store.size(key) for key in gone)
    named = ", ".join(map(str, folders)) or "no results folder"
    click.echo(f"{len(keep)} artifacts stay, for {named} needs them; {len(gone)} would go ({_bytes(taken)})")
    if gone and (yes or click.confirm("Remove them?")):
        removed = sum(store.forget(key) for key in gone)
        click.echo(f"removed {removed} artifacts, {_bytes(taken)}")
    store.sweep()
    return 0


def _referred(folders: Iterable[Path]) -> list[str]:
    keys = []
    for folder in folders:
        try:
            with (folder / "trials.csv").open(newline="") as file:
                keys += [key for row in csv.DictReader(file) if (key := row.get("key") or "")]
        except (OSError, ValueError, csv.Error) as error:
            raise BenchError(f"{folder} holds no results of bench ({error}): nothing was removed") from error
    return keys


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False))
@WHERE
@click.option("--results", multiple=True, type=click.Path(exists=True, file_okay=False), metavar="FOLDER",
              help="Only what these results need; default: everything.")  # fmt: skip
def export_(file: str, root: str | None, results: tuple[str, ...]) -> int:
    """Write finished artifacts into a tar, to be brought in elsewhere."""
    store = _store(root)
    keys = store.reach(_referred(Path(r) for r in results)) if results else store.all_keys()
    click.echo(f"{export(store, keys, Path(file))} artifacts written to {file}")
    return 0


@command.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@WHERE
def import_(file: str, root: str | None) -> int:
    """Take finished artifacts out of a tar; every member is checked, nothing of it is run."""
    store = Store(root or default_root())
    store.check_writable()
    if not Path(file).is_file():
        raise BenchError(f"There is no archive {file}")
    done = bring_in(store, Path(file), lambda line: click.echo(f"refused: {line}", err=True))
    click.echo(f"{done.added} artifacts brought in, {done.known} were there already, {len(done.refused)} refused")
    return 1 if done.refused else 0
