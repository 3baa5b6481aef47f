"""Plan a benchmark and check whatever can be checked before anything is trained."""

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.api.components import Dataset
from bench.core.arguments import path
from bench.core.errors import BenchError, capped
from bench.core.hardware import gpus
from bench.core.kinds import ComponentKind, TaskKind
from bench.core.spec import Spec
from bench.core.tasks import Task
from bench.datasets.file_record import changes
from bench.datasets.files import absent, ready
from bench.execution.environment import check_environment
from bench.execution.model_checks import check_models
from bench.execution.run_config import Reporter, RunConfig
from bench.execution.slots import own_device, slots
from bench.planning.declarations import Declarations, unmet_need
from bench.planning.graph import Plan
from bench.planning.inventory import Inventory, needs_no_workers
from bench.planning.planner import plan
from bench.registry.registry import Registry
from bench.results.provenance import describe
from bench.results.run_schema import check_readable
from bench.results.writer import partials
from bench.store.locks import supports_locks
from bench.store.store import Store
from bench.store.uses import remember

LONGEST_NAME = 100
"""Characters of the datasets' names in the name of a results folder."""

LONGEST_FILE = "x" * 40
"""A name as long as that of any file of a report."""


@dataclass(frozen=True)
class BenchmarkRequest:
    """A benchmark, and where and how to run it.

    `declarations` are those of the Spec's components; `folder` is the results folder. `workers` is the number of worker
    processes (0: this process, None: one per core or GPU), `use_gpus` the GPUs to use (None: all), `scheduler` the
    address of a Dask scheduler. `timeout` is in seconds, 0: none. `keep` is `scores` or `all`, empty: the preset's, or
    `all` for a Spec of no preset.
    `refresh` names components whose artifacts are computed again. `require_targets` makes the absent dataset that an
    attack lands on an error; otherwise such attacks are not applicable. `plugins` are files, or what `session.ship`
    returned. `command` is recorded in `run.json`.
    """

    spec: Spec
    declarations: Declarations
    registry: Registry
    store: Store
    data: Path
    folder: Path
    workers: int | None = None
    use_gpus: tuple[int, ...] | None = None
    per_gpu: int = 1
    threads: int = 1
    scheduler: str = ""
    timeout: float = 0.0
    inline: bool = False
    plugins: tuple[str | bytes, ...] = ()
    keep: str = ""
    refresh: tuple[str, ...] = ()
    require_targets: bool = False
    command: str = ""


@dataclass
class PreparedRun:
    """A benchmark that was planned and checked: its inventory, the tasks that have to run, and their configuration.

    `missing` grows while the run recomputes inputs that it finds damaged.
    """

    request: BenchmarkRequest
    inventory: Inventory
    missing: dict[str, Task]
    config: RunConfig

    @property
    def inline(self) -> bool:
        """True if the tasks run in this process."""
        return not self.config.slots and not self.config.address

    def missing_inputs(self, key: str) -> dict[str, Task]:
        """Return the tasks that recompute damaged or missing inputs of a task; from now on they are missing, too."""
        lost = self.inventory.missing_inputs(key)
        self.missing.update(lost)
        return lost

    def remember(self, folder: Path, content: str) -> None:
        """Record in the store that a folder needs the run's artifacts; `content` as `uses.remember` has it.

        BenchError if that cannot be written, unless the store only has to be read: it need not know the folder.
        """
        try:
            remember(self.request.store, folder, content, self.inventory.plan.tasks)
        except OSError as error:
            if self.missing:
                text = f"{self.request.store.root} cannot be written: {error.strerror or error}"
                raise BenchError(text) from error


def results_folder(spec: Spec, out: str | None = None) -> Path:
    """Return the results folder of a Spec. BenchError if it holds anything but results of this Spec."""
    datasets = "+".join(spec.datasets)
    if len(datasets) > LONGEST_NAME:
        datasets = f"{spec.datasets[0]}+{len(spec.datasets) - 1}_more"
    folder = path("--out", out) if out else Path("results") / f"{datasets}-{spec.preset}-{spec.digest()[:8]}"
    with _usable(folder):
        if folder.exists() and not folder.is_dir():
            raise BenchError(f"--out {folder} is a file: name a folder")
        saved = folder / "run.json"
        if saved.is_file():
            check_same(saved, spec)
        elif folder.is_dir() and set(folder.iterdir()) - set(partials(folder)):
            raise BenchError(f"{folder} holds files but no results of bench: choose another folder with --out")
    return folder


@contextmanager
def _usable(folder: Path) -> Iterator[None]:
    """Raise BenchError instead of OSError: a results folder cannot be used."""
    try:
        yield
    except OSError as error:
        text = f"The results folder {folder} cannot be used: {error.strerror or error}. Choose another: --out"
        raise BenchError(text) from error


def check_same(saved: Path, spec: Spec) -> None:
    """Raise BenchError if a `run.json` is of anything but this Spec."""
    try:
        content = json.loads(saved.read_text(encoding="utf-8-sig"))
        other = Spec.from_run(content)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BenchError(f"{saved} was not written by bench: choose another folder with --out") from None
    folder = saved.parent
    if content.get("origins"):
        raise BenchError(f"{folder} holds merged results: choose another folder with --out")
    if other != spec:
        held = "holds results of" if (folder / "trials.csv").exists() else "was begun with"
        raise BenchError(f"{folder} {held} a different Spec: choose another folder with --out, or remove it")


def prepare(request: BenchmarkRequest, reporter: Reporter, planned: Plan | None = None) -> PreparedRun:
    """Plan a benchmark and check everything that can be checked before training: data, store, folder, devices.

    `planned` is its plan, if that does not follow from the request's Spec.
    """
    check_environment()
    spec, registry, store, data = request.spec, request.registry, request.store, request.data
    broken = [f"plugin {b.name} of {b.distribution} is broken and left out: {b.reason}" for b in registry.broken]
    _note(reporter, broken)
    _note(reporter, _lacking(registry))
    check_readable(describe(spec, request.declarations, request.command))
    inventory = Inventory(planned or plan(spec, request.declarations), store)
    refreshed = inventory.affected(request.refresh)
    _check_unchanged(inventory, request, refreshed)
    inventory, missing, impossible = without_absent_targets(inventory, inventory.missing(refreshed), request)
    _note(reporter, impossible)
    for dataset in datasets_of(missing, registry).values():
        ready(dataset, data)
    _note(reporter, check_models(request.declarations, registry, missing.values()))
    with _usable(request.folder):
        request.folder.mkdir(parents=True, exist_ok=True)
    if missing or request.refresh:  # reading what is complete needs no right to write
        if (request.folder / "run.json").is_file() and not store.root.is_dir():
            what = f"there is no store at {store.root}, so all of {request.folder} is computed again"
            _note(reporter, [f"{what}. If the disk of the store is not mounted, stop, and mount it"])
        store.check_writable()
        _check_writable(request.folder)
        if not supports_locks(store):
            what = "runs that use it at the same time may compute the same artifact twice"
            _note(reporter, [f"files in {store.root} cannot be locked: {what}"])
    if request.refresh:
        inventory.refresh(request.refresh)
        if set(request.refresh) - {name for _, name in registry.of_session}:  # not only by changes of a notebook
            again = "with it, all that it names is computed again"
            _note(reporter, [f"to go on after an interruption, leave --refresh out: {again}"])
    _note(reporter, inventory.outdated(registry))
    damaged = [f"artifact {key[:8]} was damaged and is quarantined: it is recomputed" for key in store.quarantined]
    _note(reporter, damaged)
    return PreparedRun(request, inventory, missing, _configure(request, missing))


def _lacking(registry: Registry) -> list[str]:
    """Return a line for each attack and method that presets leave out, as what it needs is missing or broken."""
    return [
        f"{kind} {name} of {entry.distribution} is left out: {why}"
        for kind in (ComponentKind.ATTACK, ComponentKind.METHOD)
        for name, entry in registry.entries[kind].items()
        if (why := unmet_need(registry, kind, name))
    ]


def _note(reporter: Reporter, lines: Sequence[str]) -> None:
    for line in capped(lines):
        reporter.note(f"Note: {line}")


def _check_writable(folder: Path) -> None:
    """Write and remove a file of the longest name in the results folder. BenchError if that fails."""
    probe = folder / f".{LONGEST_FILE}.{uuid.uuid4().hex}.part"
    with _usable(folder):
        try:
            probe.write_bytes(b"")
        finally:
            with suppress(OSError):
                probe.unlink()


def _check_unchanged(inventory: Inventory, request: BenchmarkRequest, refreshed: Set[str]) -> None:
    """Raise BenchError if files of datasets changed since the artifacts were made that the run would use."""
    changed: dict[str, list[str]] = {}
    for key, task in inventory.plan.tasks.items():
        stored = inventory.record(key) if task.kind == TaskKind.DATA and key not in refreshed else None
        if stored and (lines := changes(request.store, key, stored, request.data)):
            changed[str(task.params["dataset"]["name"])] = lines
    if changed:
        lines = [line for found in changed.values() for line in found]
        more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
        options = " ".join(f"--refresh {name}" for name in changed)
        raise BenchError(
            f"The store's results are of other files of {' and '.join(changed)} than {request.data} holds now: "
            f"{lines[0]}{more}. Put the old files back, use another store (--store), or, in bench run, recompute the "
            f"results: {options}"
        )


def datasets_of(missing: Mapping[str, Task], registry: Registry) -> dict[str, Dataset]:
    """Return the datasets whose files missing tasks read, by name."""
    identities = (t.params["dataset"] for t in missing.values() if t.kind == TaskKind.DATA)
    return {str(i["name"]): registry.get(ComponentKind.DATASET, i["name"], i["params"]) for i in identities}


def without_absent_targets(
    inventory: Inventory, missing: dict[str, Task], request: BenchmarkRequest
) -> tuple[Inventory, dict[str, Task], list[str]]:
    """Plan again without the attacks whose target is absent, unless it is required.

    Return the inventory, what is missing, and a line for each dataset that only an attack's target brings in and whose
    files are absent. No file of a dataset is read.
    """
    needed = {} if request.require_targets else datasets_of(missing, request.registry)
    unavailable = {
        name: f"{name} is not in the data folder (bench data fetch {name})"
        for name in sorted(needed.keys() - set(request.spec.datasets))
        if absent(needed[name], request.data)
    }
    if unavailable:
        inventory = Inventory(plan(request.spec, request.declarations, unavailable), request.store)
        missing = inventory.missing(inventory.affected(request.refresh))
    return inventory, missing, [f"{r}: attacks that need it are not applicable" for r in unavailable.values()]


def _configure(request: BenchmarkRequest, missing: Mapping[str, Task]) -> RunConfig:
    present, inline = gpus(), is_inline(request, missing)
    return RunConfig(
        store=request.store,
        registry=request.registry,
        data=request.data.absolute(),
        slots=() if inline else tuple(slots(request.workers, request.use_gpus, request.per_gpu, present)),
        address=request.scheduler,
        plugins=tuple(p if isinstance(p, bytes) else str(Path(p).absolute()) for p in request.plugins),
        threads=request.threads,
        timeout=request.timeout,
        device=own_device(request.use_gpus, present, inline),
        zoo=request.declarations.zoo,
    )


def is_inline(request: BenchmarkRequest, missing: Mapping[str, Task]) -> bool:
    """Return True if the tasks run in this process: on request, or if starting workers would take longer."""
    if request.scheduler:
        return False
    asked = request.inline or request.workers == 0
    if request.timeout:
        if asked:
            raise BenchError("--task-timeout stops a worker process: leave --workers 0 and --debug out")
        return False
    if asked or request.workers is not None:
        return asked
    return needs_no_workers(missing, request.store)
