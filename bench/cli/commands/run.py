"""`bench run`: plan, execute what is missing, write the results folder, print its tables."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.commands.plan import lines
from bench.cli.progress import Progress
from bench.cli.spec_options import PARAMS, build
from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.hardware import gpus, suitable_precision
from bench.core.kinds import ComponentKind, Status, TaskKind
from bench.core.spec import Spec
from bench.core.tasks import Outcome, Task
from bench.datasets.files import absent, data_root, ready
from bench.execution.run_config import RunConfig
from bench.execution.scheduler import run
from bench.execution.slots import inline_device, slots
from bench.planning.declarations import Known
from bench.planning.estimates import learn
from bench.planning.inventory import Inventory
from bench.planning.planner import plan
from bench.planning.presets import PRESETS
from bench.planning.retention import WeightRetention
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.results.provenance import ORIGIN, describe
from bench.results.writer import partials
from bench.sandbox.process_state import gc_paused
from bench.store.folders import default_root
from bench.store.maintenance import quarantined_folders, size_of
from bench.store.store import Store

if TYPE_CHECKING:
    from bench.cli.live_auc import LiveAucs

LIBRARIES = ("torch", "torchvision", "numpy", "scipy", "pandas", "safetensors", "distributed", "fingerprint-bench")


@dataclass
class Interrupt:
    """How often the user asked to stop: once waits for the running tasks, twice does not.

    `inline` says that the running task is this process's own, so that only an exception stops it.
    """

    asked: int = 0
    say: Callable[[str], None] = lambda text: None
    inline: bool = False

    def __call__(self) -> int:
        """Give how often."""
        return self.asked

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take Ctrl-C and SIGTERM as wishes to stop."""

        def hear(number: int, frame: object) -> None:
            self.asked = min(2, self.asked + 1)
            self.say(
                "Stopping: waiting for the running tasks (again to stop at once)" if self.asked == 1 else "Stopping"
            )
            if self.asked == 2 and self.inline:
                raise KeyboardInterrupt

        was = {s: signal.signal(s, hear) for s in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in was.items():
                signal.signal(number, handler)


def folder_of(spec: Spec, out: str | None) -> Path:
    """Give the results folder of a Spec; BenchError where it holds results of another."""
    name = f"{'+'.join(spec.datasets)}-{spec.preset}-{spec.digest()[:8]}"
    folder = Path(out) if out else Path("results") / name
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"--out {folder} is a file: name a folder")
    saved = folder / "run.json"
    if saved.is_file():
        try:
            other = Spec.from_run(json.loads(saved.read_text()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            raise BenchError(f"{saved} was not written by bench: choose another folder with --out") from None
        if other != spec:
            raise BenchError(
                f"{folder} holds results of a different Spec: choose another folder with --out, or remove it"
            )
    elif folder.is_dir() and set(folder.iterdir()) - set(partials(folder)):
        raise BenchError(f"{folder} holds files but no results of bench: choose another folder with --out")
    return folder


def _numbers(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        return [int(n) for n in text.split(",") if n.strip()]
    except ValueError:
        raise BenchError(f"--gpus takes numbers with commas between them, such as 0,1, not {text!r}") from None


def _check_data(missing: Mapping[str, Task], registry: Registry, data: Path) -> None:
    for task in missing.values():
        if task.kind == TaskKind.DATA:
            identity = task.params["dataset"]
            ready(registry.get(ComponentKind.DATASET, identity["name"], identity["params"]), data)


def _unavailable(missing: Mapping[str, Task], spec: Spec, registry: Registry, data: Path) -> dict[str, str]:
    """Name the datasets that nobody asked for by name, attacks land on, and whose files are not there."""
    wanted = (t.params["dataset"] for t in missing.values() if t.kind == TaskKind.DATA)
    names = {str(d["name"]): d["params"] for d in wanted}
    return {
        name: f"{name} is not in the data folder (bench data fetch {name})"
        for name, params in sorted(names.items())
        if name not in spec.datasets and absent(registry.get(ComponentKind.DATASET, name, params), data)
    }


def _rows(inventory: Inventory, settled: Mapping[str, Outcome]) -> list[dict[str, object]]:
    from bench.results.rows import row

    def of(key: str) -> Outcome | None:
        return inventory.outcome(key, settled)

    return [row(t, of(t.score), of(t.source), of(t.suspect)) for t in inventory.plan.trials]


@click.command("run", params=[*PARAMS])
@click.option("--workers", type=click.IntRange(0), metavar="N", help="Worker processes; 0: in this process.")
@click.option("--gpus", "wanted", metavar="LIST", help="GPUs to use, such as 0,1; default: all.")
@click.option("--per-gpu", type=click.IntRange(1), default=1, help="Workers per GPU.")
@click.option("--threads", type=click.IntRange(1), default=1, help="Threads per CPU task (changes weights slightly).")
@click.option("--scheduler", metavar="ADDRESS", default="", help="A Dask scheduler somebody else started.")
@click.option("--task-timeout", type=click.FloatRange(0), default=0, help="Seconds after which a task is stopped.")
@click.option("--store", type=click.Path(file_okay=False), help="Where artifacts are; default: $BENCH_STORE.")
@click.option("--data", type=click.Path(file_okay=False), help="Where datasets are; default: $BENCH_DATA.")
@click.option("--out", type=click.Path(), help="Results folder; default: results/DATASETS-PRESET-DIGEST.")
@click.option("--keep", type=click.Choice(["scores", "all"]), help="Keep suspects' weights once they are judged?")
@click.option("--refresh", multiple=True, metavar="NAME", help="Make again what this component took part in.")
@click.option("--plugin", "plugins", multiple=True, type=click.Path(dir_okay=False), help="A single-file plugin.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and stop.")
@click.option("--debug", is_flag=True, help="Run in this process, and show tracebacks of plugins.")
@click.option("--quiet", is_flag=True, help="Show failures only while running.")
def command(file: str | None, **chosen: Any) -> int:
    """Run a benchmark: train what is missing, score every suspect, write and print the tables."""
    present = gpus()
    wanted = _numbers(chosen["wanted"])
    registry = load_registry(chosen["plugins"])
    spec, known = build(chosen, file, registry, suitable_precision(present if wanted is None else wanted))
    places = slots(chosen["workers"], wanted, chosen["per_gpu"], present)
    folder = folder_of(spec, chosen["out"])
    store, data = Store(chosen["store"] or default_root()), data_root(chosen["data"])
    inventory = Inventory(plan(spec, known), store)
    if chosen["dry_run"]:
        click.echo("\n".join([*lines(spec, inventory, len(places)), f"Results would go to {folder}"]))
        return 0
    for broken in registry.broken:
        click.echo(
            f"Note: plugin {broken.name} of {broken.distribution} is broken and left out: {broken.reason}", err=True
        )
    missing = inventory.missing(inventory.touched(chosen["refresh"]))
    without = {} if chosen["attacks"] else _unavailable(missing, spec, registry, data)
    if without:
        inventory = Inventory(plan(spec, known, without), store)
        missing = inventory.missing(inventory.touched(chosen["refresh"]))
        for reason in without.values():
            click.echo(f"Note: {reason}: attacks that land there are not applicable", err=True)
    _check_data(missing, registry, data)
    store.check_writable()
    _check_folder(folder)
    if chosen["refresh"]:
        inventory.refresh(chosen["refresh"])
    for line in inventory.outdated(registry):
        click.echo(f"Note: {line}", err=True)
    for key in store.quarantined:
        click.echo(f"Note: artifact {key[:8]} was damaged and has been set aside: it is made anew", err=True)
    if _here(chosen, missing):
        places = []
    place = RunConfig(
        store=store, registry=registry, data=data.absolute(), slots=places, address=chosen["scheduler"],
        plugins=tuple(str(Path(p).absolute()) for p in chosen["plugins"]), threads=chosen["threads"],
        timeout=chosen["task_timeout"], device=inline_device(wanted, present),
    )  # fmt: skip
    keep = chosen["keep"] or PRESETS[spec.preset].keep
    settled, interrupted = _execute(missing, inventory, place, keep, chosen["quiet"], chosen["debug"], spec.baselines)
    with gc_paused():
        return _finish(spec, known, inventory, missing, settled, folder, interrupted)


def _here(chosen: Mapping[str, Any], missing: Mapping[str, Task]) -> bool:
    """Say whether to run in this process: where asked to, or where starting workers costs more than it brings."""
    if chosen["scheduler"]:
        return False
    asked = chosen["debug"] or chosen["workers"] == 0
    if chosen["task_timeout"]:
        if asked:
            raise BenchError("--task-timeout stops a worker process: leave --workers 0 and --debug out")
        return False
    short = (TaskKind.FINGERPRINT, TaskKind.SCORE)
    return asked or (chosen["workers"] is None and all(t.kind in short for t in missing.values()))


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BenchError(
            f"The results folder {folder} cannot be made: {error.strerror}. Choose another: --out"
        ) from error


def _execute(
    missing: dict[str, Task],
    inventory: Inventory,
    place: RunConfig,
    keep: str,
    quiet: bool,
    debug: bool,
    baselines: Sequence[str],
) -> tuple[dict[str, Outcome], bool]:
    settled: dict[str, Outcome] = {}
    told = {k for k in missing if k in inventory.store.quarantined}
    retention = WeightRetention(inventory.plan, inventory.store, missing) if keep == "scores" else None
    with Progress(missing, quiet, lambda: _live_aucs(missing, inventory, baselines)) as progress:
        stop = Interrupt(say=progress.stopping, inline=not place.slots and not place.address)

        def note(outcome: Outcome) -> None:
            settled[outcome.key] = outcome
            progress.settled(outcome)
            if debug and outcome.status == Status.FAILED and outcome.log:
                progress.say(Path(outcome.log).read_text(errors="replace"))
            if retention is not None:
                retention.settled(outcome)

        def anew(key: str) -> dict[str, Task]:
            lost = inventory.anew(key)
            for k in lost:
                if k not in told:
                    aside = any(p.name.startswith(k) for p in quarantined_folders(inventory.store))
                    what = "was damaged and has been set aside" if aside else "is not whole any more"
                    progress.say(f"Note: artifact {k[:8]} {what}: it is made anew")
                told.add(k)
            if retention is not None:
                retention.expect(lost)
            missing.update(lost)
            return lost

        ahead = threading.Thread(target=_import_report, daemon=True)

        def started(key: str) -> None:
            progress.started(key)
            if not stop.inline and ahead.ident is None:
                ahead.start()

        place.on_outcome, place.stop, place.say, place.anew = note, stop, progress.say, anew
        place.on_start, place.on_progress = started, progress.progressed
        with stop.listening():
            run(missing, place)
    return settled, bool(stop.asked)


def _import_report() -> None:
    """Import what the tables and charts need, while workers work and this process waits."""
    import matplotlib.figure  # noqa: F401

    import bench.reporting.build  # noqa: F401


def _live_aucs(missing: Mapping[str, Task], inventory: Inventory, baselines: Sequence[str]) -> LiveAucs:
    from bench.cli.live_auc import LiveAucs

    def stored(key: str) -> float | None:
        outcome = None if key in missing else inventory.outcome(key, {})
        return float(outcome.facts["score"]) if outcome else None

    return LiveAucs(inventory.plan.trials, baselines, stored)


def _as_made(folder: Path, made: dict[str, JSON]) -> dict[str, JSON]:
    """Keep what an earlier run.json says of machine and date: a run that executes nothing did not make the numbers."""
    try:
        before = json.loads((folder / "run.json").read_text())
        return {**made, **{name: before[name] for name in ORIGIN}}
    except (OSError, ValueError, KeyError, TypeError):
        return made


def _finish(
    spec: Spec,
    known: Known,
    inventory: Inventory,
    missing: Mapping[str, Task],
    settled: Mapping[str, Outcome],
    folder: Path,
    interrupted: bool,
) -> int:
    from bench.reporting.build import write

    sizes = {k: size_of(inventory.store, k) for k, o in settled.items() if o.status == Status.DONE}
    learn(inventory.store, missing, settled, sizes)
    for key in settled:
        inventory.records.pop(key, None)
    rows = _rows(inventory, settled)
    executed = sum(o.status == Status.DONE and not o.stored for o in settled.values())
    made = describe(spec, known, sys.argv[1:])
    text = write(folder, rows, made if executed else _as_made(folder, made))
    statuses = Counter(str(r["status"]) for r in rows)
    failed = sum(o.status == Status.FAILED for o in settled.values())
    blocked = sum(o.status == Status.BLOCKED for o in settled.values())
    click.echo(text)
    click.echo(f"executed {executed} tasks, {failed} failed, {blocked} blocked, "
               f"{len(inventory.plan.tasks) - len(missing)} found in the store")  # fmt: skip
    click.echo("trials: " + ", ".join(f"{n} {s}" for s, n in sorted(statuses.items())))
    click.echo(f"results: {folder}")
    click.echo(f"page: {folder / 'index.html'}")
    if interrupted:
        return 130
    return 1 if statuses.keys() & {Status.FAILED, Status.BLOCKED, Status.NOT_RUN} else 0
