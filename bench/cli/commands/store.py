"""`bench store`: list, verify, clean up, export and import the store of artifacts."""

import shlex
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from bench.cli.shared_options import DATA, PLUGINS, STORE
from bench.core.errors import BenchError, StoreError, capped, limited, printable
from bench.results.garbage import Garbage, described, find_garbage, results_folders
from bench.results.references import score_keys
from bench.store.archive import export, import_archive
from bench.store.folders import REASONS, default_root, translated_errors, translated_read_errors
from bench.store.locks import is_locked
from bench.store.maintenance import DAY, quarantined_folders, size_below, size_of, sweep, with_dependencies
from bench.store.store import Store
from bench.store.uses import DIGITS, remember, uses
from bench.store.uses import forget as forget_uses

MOST_LINES = 20
"""Of a list that a command prints."""
RESULTS: Any = {"multiple": True, "type": click.Path(exists=True, file_okay=False), "metavar": "FOLDER"}


def _existing(root: str | None) -> Store:
    store = Store(root or default_root())
    with translated_read_errors(store.root):
        exists = store.root.is_dir()
    if not exists:
        raise BenchError(f"There is no store at {store.root} yet: a run creates it, or name one with --store")
    return store


def _bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def _print_quarantined(store: Store) -> None:
    for key in capped(store.quarantined):
        moved = "but may not be moved" if store.folder(key).is_dir() else "quarantined"
        click.echo(f"damaged, {moved}: {key}")


@click.group("store")
def command() -> None:
    """Inspect, clean up and move the store of artifacts."""


@command.command("size")
@STORE
def size(store: str | None) -> None:
    """Show the number and size of artifacts, by kind."""
    artifacts = _existing(store)
    sizes = [(r["kind"], size_of(artifacts, key)) for key in artifacts.all_keys() if (r := artifacts.record(key))]
    sizes += [("quarantined", size_below(path)) for path in quarantined_folders(artifacts)]
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
@click.option("--results", **RESULTS, help="More results whose artifacts are kept, besides those known and ./results.")
@click.option("--forget", multiple=True, metavar="FOLDER", help="Results for which nothing is kept any more.")
@click.option("--all", "all_", is_flag=True, help="Remove what is younger than a day, too.")
@DATA
@PLUGINS
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def gc(
    store: str | None,
    results: tuple[str, ...],
    forget: tuple[str, ...],
    all_: bool,
    data: str | None,
    plugins: tuple[str, ...],
    yes: bool,
) -> None:
    """Remove the artifacts that no results need: none of ./results, and none that the store remembers."""
    artifacts = _existing(store)
    with translated_read_errors(artifacts.root):
        if not (artifacts.root / "artifacts").is_dir():
            raise BenchError(f"{artifacts.root} is no store, as it has no folder `artifacts`: nothing was removed")
    folders = [*map(Path, results), *results_folders(Path("results"))]
    if not folders and not uses(artifacts):
        raise BenchError("There are no results in ./results: name the folders whose artifacts to keep with --results")

    def find() -> Garbage:
        if is_locked(artifacts):
            raise BenchError(f"A run is using {artifacts.root}: wait until it has ended")
        return find_garbage(artifacts, folders, forget, plugins, 0 if all_ else DAY, data)

    garbage = find()
    for line in _report(artifacts, garbage):
        click.echo(line)
    anything = garbage.removable or garbage.damaged
    if not anything or yes or click.confirm("Remove them?"):
        if anything:
            _remove(artifacts, garbage, find())  # again: a run may have begun since
        forget_uses(artifacts, garbage.forgotten)
    sweep(artifacts)


def _remove(store: Store, shown: Garbage, current: Garbage) -> None:
    """Remove what was shown and is still not needed. Raise the first error after all that can be removed is."""
    count, freed, errors = 0, 0, list[StoreError]()
    for key in sorted(shown.removable.keys() & current.removable.keys()):
        size = size_of(store, key)
        try:
            removed = store.forget(key)
        except StoreError as error:
            errors.append(error)
            continue
        count, freed = count + removed, freed + size * removed
    for path in sorted({*shown.damaged} & {*current.damaged}):
        try:
            with translated_errors(store.root):
                _remove_folder(path)
        except StoreError as error:
            errors.append(error)
    click.echo(f"removed {count} artifacts, {_bytes(freed)}")
    if errors:
        raise errors[0]


def _remove_folder(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:  # another process removes it too
        return
    except OSError as error:
        error.filename = str(path)  # rmtree leaves a name without its folder
        raise


def _report(store: Store, garbage: Garbage) -> Iterator[str]:
    gone = garbage.removable
    taken = _bytes(sum(size_of(store, key) for key in gone))
    quarantined = f", and {len(garbage.damaged)} quarantined ones" if garbage.damaged else ""
    named = _some(garbage.users, 6) or "for results that cannot be found"
    yield f"{len(garbage.kept)} artifacts are kept ({named}); {len(gone)} to remove ({taken}){quarantined}"
    lines = [f"  {n:>6,}  {_bytes(size):>10}  {ages:<22}  {what}" for what, n, size, ages in described(store, garbage)]
    yield from capped(lines)
    if garbage.forgotten:
        names = sorted({use.name for use in garbage.forgotten.values()})
        yield f"forgotten: {_some(names, 6)}"
    if garbage.young:
        yield f"{garbage.young} more that no results need are kept, since they are younger than a day (--all)"
    notes = [
        f"Note: {printable(name)} cannot be found (moved, removed, or its disk is not mounted): {count} artifacts "
        f"are kept for it. If it is gone for good: --forget {shlex.quote(printable(name))}"
        for name, count in garbage.lost.items()
    ]
    yield from capped(notes)


def _some(names: Sequence[str], most: int) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return printable(", ".join(names[:most])) + more


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False))
@STORE
@click.option("--results", **RESULTS, help="Export only the artifacts of these results; default: all.")
def export_(file: str, store: str | None, results: tuple[str, ...]) -> int:
    """Write artifacts to a tar file, for import elsewhere."""
    artifacts = _existing(store)
    keys = with_dependencies(artifacts, _keys(artifacts, results)) if results else artifacts.all_keys()
    wanted = set(keys)
    count = export(artifacts, wanted, Path(file), limited(lambda line: click.echo(f"Note: {line}", err=True)))
    _print_quarantined(artifacts)
    click.echo(f"{count} artifacts written to {file}")
    return 1 if artifacts.quarantined or count < len(wanted) else 0


def _keys(store: Store, results: tuple[str, ...]) -> Iterator[str]:
    """Yield the stored keys that folders refer to, and what the store remembers of them: a stopped run needs more.

    Raise BenchError for a folder of which the store has nothing.
    """
    stored, used = {key[:DIGITS]: key for key in store.all_keys()}, list(uses(store).values())
    for folder in results:
        path = str(Path(folder).resolve())
        named = {key[:DIGITS] for key in score_keys(Path(folder))}
        named |= {digits for use in used if use.path == path for digits in use.keys}
        if not (found := named & stored.keys()):
            text = f"The store {store.root} has nothing of {folder}: name the store that its run used with --store"
            raise BenchError(printable(text))
        yield from (stored[digits] for digits in found)


@command.command("import")
@click.argument("file", type=click.Path(dir_okay=False))
@STORE
def import_(file: str, store: str | None) -> int:
    """Import artifacts from a tar file; every member is checked, and none is executed."""
    artifacts = Store(store or default_root())
    artifacts.check_writable()
    try:
        exists = Path(file).is_file()
    except OSError as error:
        raise BenchError(f"{file} cannot be read: {error.strerror or error}") from error
    if not exists:
        raise BenchError(f"There is no archive {file}")

    def begin(keys: Iterable[str]) -> None:
        try:
            remember(artifacts, Path(file), "archive", keys)
        except OSError as error:
            why = REASONS.get(error.errno or 0, error.strerror or str(error))
            text = f"Note: the store {artifacts.root} cannot record that {file} uses it ({why}): "
            click.echo(f"{text}`bench store gc` may remove its artifacts", err=True)

    done = import_archive(artifacts, Path(file), limited(lambda line: click.echo(f"refused: {line}", err=True)), begin)
    if done.others:
        click.echo(f"Note: {done.others} of those that exist are others in {file}: the store keeps its own", err=True)
    click.echo(f"{done.added} artifacts imported, {done.known} existed already, {len(done.refused)} refused")
    return 1 if done.refused else 0
