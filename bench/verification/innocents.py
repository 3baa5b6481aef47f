"""Populations of innocents: irrelevant networks of a stated distribution of recipes, trained, described and written.

The trainings are ordinary tasks in the store: nothing is trained twice, and a larger number adds to a smaller one.
"""

import json
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.core.canonical import JSON, canonical, digest
from bench.core.errors import BenchError
from bench.core.kinds import ComponentKind, Role, Status, TaskKind
from bench.core.spec import Recipe, Spec
from bench.core.tasks import NOT_APPLICABLE, Declaration, Outcome
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.model_export import LOST, WITHOUT_BENCH, Exported, unwritable, write_networks
from bench.execution.preparation import BenchmarkRequest, prepare
from bench.execution.run_config import ForwardingReporter, Reporter
from bench.execution.scheduler import run_tasks
from bench.planning.declarations import Declarations
from bench.planning.graph import Plan
from bench.planning.presets import preset
from bench.registry.registry import Registry
from bench.results.provenance import ORIGIN, describe
from bench.sandbox.process_state import preserved_process_state
from bench.store.atomic import write_atomically
from bench.store.store import Store
from bench.verification.existing import described_innocents, stored_innocents
from bench.verification.recipes import Family, drawn

FORMAT = 1
"""The format of `population.json`."""
FILE, RECORD = "innocents.toml", "population.json"
HEAD = """\
# Innocents of {dataset}, which no source had a part in: bench commit --innocents {file} --datasets {dataset}
"""


@dataclass(frozen=True)
class Distribution:
    """What a population is drawn from: a dataset and its division, recipes, and a seed."""

    dataset: str
    families: tuple[Family, ...]
    seed: int = 0
    split_seed: int = 0
    images: int = 0
    """Images of the attacker half; 0: all."""

    def plain(self, declaration: Declaration) -> dict[str, JSON]:
        """Return it as `population.json` has it."""
        return {
            "dataset": declaration.identity(),
            "split_seed": self.split_seed,
            "images": self.images,
            "seed": self.seed,
            "families": [family.plain() for family in self.families],
        }


@dataclass(frozen=True)
class Innocent:
    """An innocent that is trained: the key of its task, its family, and its name in the description."""

    key: str
    family: str
    name: str


@dataclass(frozen=True)
class Population:
    """What `make` did: its folder, the innocents that were written, and the counts of tasks."""

    folder: Path
    innocents: int
    families: int
    trained: int
    failed: int = 0
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """True if the folder holds what was asked for."""
        return not (self.failed or self.interrupted)


def declared(distribution: Distribution, registry: Registry, precision: str) -> tuple[Spec, Declarations]:
    """Return a Spec and the declarations of a distribution's components; BenchError names what is not installed."""
    known = {distribution.dataset: registry.declaration(ComponentKind.DATASET, distribution.dataset)}
    architectures = {f.architecture: _architecture(f, registry) for f in distribution.families}
    recipe = Recipe(images=distribution.images, epochs=preset("quick").recipe.epochs, precision=precision)
    names = tuple(architectures)
    spec = Spec((distribution.dataset,), names, names, (), (), split_seed=distribution.split_seed, recipe=recipe)
    return spec, Declarations(known, architectures, {}, {})


def _architecture(family: Family, registry: Registry) -> Declaration:
    try:
        return registry.declaration(ComponentKind.ARCHITECTURE, family.architecture, family.settings or None)
    except BenchError as error:
        raise family.fault("settings" if family.settings else "architecture", str(error)) from None


def plan(
    distribution: Distribution, number: int, registry: Registry, known: Declarations, precision: str
) -> tuple[Plan, list[Innocent]]:
    """Return the tasks of `number` innocents, and the innocents; BenchError if two families are one recipe."""
    result, innocents = Plan(), list[Innocent]()
    params = {
        "dataset": known.datasets[distribution.dataset].identity(),
        "split_seed": distribution.split_seed,
        "images": distribution.images,
    }
    data = result.add(TaskKind.DATA, Role.DATA, params, {})
    recipes: dict[str, dict[str, JSON]] = {}
    for family in distribution.families:
        architecture = _architecture(family, registry)
        own: dict[str, JSON] = {"architecture": architecture.identity()}
        own["recipe"] = family.training(architecture, precision)
        if family.share < 1:
            own["share"] = family.share
        for name, other in recipes.items():
            if canonical(other) == canonical(own):
                raise family.fault("name", f"its recipe is that of {name!r}: leave one of them out")
        recipes[family.name] = own
    counts: Counter[str] = Counter()
    for family in drawn(distribution.families, number):
        replicate = counts[family.name]
        counts[family.name] += 1
        params = {"dataset": {"name": distribution.dataset}, **recipes[family.name], "replicate": replicate}
        params["source_seed"] = distribution.seed
        key = result.add(TaskKind.TRAIN, Role.IRRELEVANT, params, {"data": data}, subject=family.name)
        result.networks.append(key)
        innocents.append(Innocent(key, family.name, f"{family.name}-s{distribution.seed}-{replicate:03d}"))
    return result, innocents


def check_folder(folder: Path, wanted: Mapping[str, JSON], number: int) -> None:
    """Raise BenchError if a folder holds anything but a population of this distribution, of at most this number."""
    if folder.exists() and not folder.is_dir():
        raise BenchError(f"--out {folder} is a file: name a folder")
    record = folder / RECORD
    if not record.is_file():
        if folder.is_dir() and any(folder.iterdir()):
            raise BenchError(f"{folder} holds files but no population of bench: choose another folder with --out")
        return
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        before, held = content["distribution"], int(content["number"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        raise BenchError(f"{record} was not written by bench: choose another folder with --out") from None
    if canonical(before) != canonical(wanted):
        other = ", ".join(name for name in wanted if canonical(before.get(name)) != canonical(wanted[name]))
        raise BenchError(f"{folder} holds a population of another {other}: choose another folder with --out")
    if held > number:
        raise BenchError(f"{folder} holds {held} innocents: ask for as many or more, or choose another folder")


class _Recorder(ForwardingReporter):
    """Keeps the outcomes."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__(reporter)
        self.outcomes: dict[str, Outcome] = {}

    def task_finished(self, outcome: Outcome) -> None:
        """Record an outcome."""
        self.outcomes[outcome.key] = outcome
        super().task_finished(outcome)


def make(
    request: BenchmarkRequest,
    distribution: Distribution,
    number: int,
    models: str | Path | None = None,
    from_store: bool = False,
    reporter: BenchmarkReporter | None = None,
) -> Population:
    """Train `number` innocents, and describe them in the request's folder.

    With them those that exist: the irrelevant networks that the file `models` describes, and those `from_store` that
    were trained on the same half of the dataset.
    BenchError if the request cannot be fulfilled; nothing was trained then. If a training fails or the caller stops,
    the description is not written; what is finished is in the store, and the same call goes on from there.
    """
    reporter = reporter or BenchmarkReporter()
    known, dataset = request.declarations, distribution.dataset
    planned, innocents = plan(distribution, number, request.registry, known, request.spec.recipe.precision)
    stated = distribution.plain(known.datasets[dataset])
    check_folder(request.folder, stated, number)
    existing = described_innocents(models, dataset, [one.name for one in innocents]) if models else []
    stored = []
    if from_store:
        data = next(iter(planned.tasks))
        stored = [*stored_innocents(request.store, data, dataset, planned.networks, request.registry, reporter.note)]
    if not (innocents or existing or stored):
        raise BenchError(f"There is no innocent: --number trains some, and {request.store.root} has none of {dataset}")
    if innocents:
        _check_families(distribution, request.registry)
    outcomes = _train(request, planned, stated, reporter)
    networks = {*planned.networks}
    trained, failed = (
        sum(o.status == status and not o.stored and key in networks for key, o in outcomes.items())
        for status in (Status.DONE, Status.FAILED)
    )
    failed += sum(o.status == Status.BLOCKED for o in outcomes.values())
    if failed or not all(map(request.store.is_complete, planned.networks)):
        return Population(request.folder, 0, 0, trained, failed, not failed)
    found = [*(_exported(request, one, dataset) for one in innocents), *stored]
    written = [*(_plain(request.store, one) for one in found), *(one.plain() for one in existing)]
    made = describe(request.spec, known, request.command, request.registry)
    try:
        tables = write_networks(request.store, found, request.folder).get(dataset, [])
        tables += [one.table(request.folder) for one in existing]
        write_atomically(
            request.folder / FILE, "\n".join([HEAD.format(dataset=dataset, file=FILE) + WITHOUT_BENCH, *tables])
        )
        _record(request.folder, stated, number, written, {name: made[name] for name in ORIGIN})
    except OSError as error:
        raise BenchError(f"{request.folder} cannot be written: {error.strerror or error}") from error
    return Population(request.folder, len(written), len({one["family"] for one in written}), trained)


def _record(
    folder: Path, stated: JSON, number: int, written: list[dict[str, JSON]], made: Mapping[str, JSON] = {}
) -> None:
    """Write `population.json`, unless it has these innocents: then the machine and date of their trainings stay."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        if written and json.loads((folder / RECORD).read_text(encoding="utf-8"))["innocents"] == written:
            return
    record = {"format": FORMAT, "distribution": stated, "number": number, "innocents": written, **made}
    write_atomically(folder / RECORD, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def _train(request: BenchmarkRequest, planned: Plan, stated: JSON, reporter: BenchmarkReporter) -> dict[str, Outcome]:
    """Run the tasks that are missing, and return their outcomes; what they are is in the folder before the first."""
    with preserved_process_state():
        prepared = prepare(request, reporter, planned)
        if not (request.folder / RECORD).is_file():
            _record(request.folder, stated, 0, [])
        prepared.remember(request.folder, digest(stated))
        recorder = _Recorder(reporter)
        with reporter.executing(prepared):
            run_tasks(prepared.missing, prepared.config, recorder, prepared.missing_inputs)
    return recorder.outcomes


def _check_families(distribution: Distribution, registry: Registry) -> None:
    """Raise BenchError for a family whose networks no file would bring back."""
    from bench.training.export_checks import lost_when_built

    dataset = registry.get(ComponentKind.DATASET, distribution.dataset)
    for family in distribution.families:
        architecture = registry.get(ComponentKind.ARCHITECTURE, family.architecture, family.settings or None)
        if entry := lost_when_built(architecture, dataset.num_classes, dataset.shape):
            raise family.fault("architecture", f"of a network, {LOST.format(entry=entry)}")


def _exported(request: BenchmarkRequest, one: Innocent, dataset: str) -> Exported:
    facts = request.store.facts(one.key) or {}
    if "accuracy" not in facts:
        reason = facts.get(NOT_APPLICABLE) or f"it is no longer in {request.store.root}: run the same command again"
        raise BenchError(f"innocent {one.name}: {reason}")
    found = Exported(one.key, Role.IRRELEVANT, dataset, "", "", facts, "", one.family, one.name)
    if reason := unwritable(request.store, found, request.registry):
        raise BenchError(f"innocent {one.name}: {reason}")
    return found


def _plain(store: Store, one: Exported) -> dict[str, JSON]:
    """Return what `population.json` has of an innocent."""
    record = store.record(one.key) or {"made": {}}
    made = {name: record["made"].get(name) for name in ("seconds", "machine")}
    accuracy = round(one.facts["accuracy"], 6)
    return {"name": one.name, "family": one.family, "key": one.key, "accuracy": accuracy, **made}
