"""Make the fingerprints of a commitment again, from its source, on this machine and in a store of its own."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import structs

from bench.core.canonical import canonical, seed_of
from bench.core.errors import BenchError, first_line
from bench.core.kinds import ComponentKind, TaskKind
from bench.core.spec import Spec
from bench.core.tasks import NOT_APPLICABLE
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.preparation import BenchmarkRequest, PreparedRun, prepare
from bench.execution.run_config import Failures
from bench.execution.scheduler import run_tasks
from bench.models.content import verified
from bench.models.description import Description, Zoo, of_spec, read
from bench.models.kinds import ModelRole
from bench.planning.declarations import declare
from bench.registry.discovery import load_registry
from bench.registry.registry import Registry
from bench.sandbox.process_state import preserved_process_state
from bench.store.store import Store, content_digest
from bench.verification import zoo
from bench.verification.commitment_files import COMMITMENT, CommitmentFolder
from bench.verification.known_networks import HELPERS
from bench.verification.schema import Commitment, CommittedMethod

if TYPE_CHECKING:
    from torch import Tensor

MOST_THREADS = 256


class Draw(NamedTuple):
    """A fingerprint as this machine makes it, and the seed of its task."""

    seed: int
    tensors: "Mapping[str, Tensor]"


@dataclass
class Regenerated:
    """The draws of methods, by name and number, and why other methods have none.

    `data` is the digest of the dataset here, `sources` those of the source code that was used. `helpers` has the names
    of described surrogates and references with which a method's fingerprints were made.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    draws: dict[tuple[str, int], Draw] = field(default_factory=dict)
    data: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    helpers: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Place:
    """Where fingerprints are made again: files of plugins, folder of the datasets, whether programs may run.

    With `cpu`, no GPU is used; else they are made on a GPU if the committed ones were.
    """

    data: Path
    plugins: tuple[str, ...] = ()
    allow_code: bool = False
    cpu: bool = False

    def registry(self) -> Registry:
        """Return the installed components."""
        return load_registry(self.plugins, data=self.data)


def located(commitment: Commitment, file: str | Path) -> list[Description]:
    """Return the committed source, and helpers that were described, with the files that `file` names.

    They are recognised by their content, whatever name and description they have there. BenchError if one of them is
    not there: with other helpers, other fingerprints are made.
    """
    given = {m.sha256: m for m in map(verified, read(file))}
    own = [m for m in _spec(commitment)[1] if m.role in (ModelRole.SOURCE, *HELPERS)]
    found = [structs.replace(m, **_paths(m, given[m.sha256])) for m in own if m.sha256 in given]
    if not any(m.role == ModelRole.SOURCE and m.sha256 == commitment.source.digest for m in found):
        sources = [m for m in given.values() if m.role == ModelRole.SOURCE] or list(given.values())
        text = f"{file}: {sources[0].name} has the digest {sources[0].sha256[:16]}…"
        committed = f"{commitment.source.name}, with the digest {commitment.source.digest[:16]}…"
        raise BenchError(f"{text}, and the commitment is about {committed}: name the file that describes this one")
    if missing := [f"{m.name} ({m.role})" for m in own if m.sha256 not in given]:
        text = f"{file} does not describe {', '.join(missing[:5])}, which was committed with the source"
        raise BenchError(f"{text}: without it, other fingerprints are made. Add it to the file")
    return found


def threads_of(made: Mapping[str, object]) -> int:
    """Return the number of threads that a commitment or evidence records; 1 for what is no such number."""
    threads = made.get("threads")
    return threads if type(threads) is int and 0 < threads <= MOST_THREADS else 1


def on_gpu(made: Mapping[str, object]) -> bool:
    """Return True if a commitment was made on a GPU; an older one names that in the line of its machine only."""
    return str(made.get("device", "cpu")) != "cpu" or "CUDA" in str(made.get("machine"))


def _spec(commitment: Commitment) -> tuple[Spec, tuple[Description, ...]]:
    """Return the Spec of a commitment and its described networks; BenchError if it has none."""
    try:
        spec = Spec.from_json(commitment.spec)
        if not spec.datasets:
            raise ValueError("it names no dataset")
        return spec, of_spec(spec.models)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BenchError(f"{COMMITMENT} holds no Spec that bench wrote: {first_line(error)}") from None


def _paths(committed: Description, given: Description) -> dict[str, str]:
    """Return where the files of a committed network are; BenchError if it is described otherwise than was committed."""
    before, now = committed.identity(), given.identity()
    for name in sorted((before.keys() | now.keys()) - {"name"}):
        if before.get(name) != now.get(name):
            raise given.fault(name, f"it is {now.get(name)!r:.60}, and {before.get(name)!r:.60} was committed")
    return {"file": given.file, "probes": given.probes}


def different(committed: CommittedMethod, registry: Registry) -> str:
    """Return why a method cannot be compared here: it is missing, or of another version; empty: it can."""
    name = committed.name
    try:
        installed = registry.declaration(ComponentKind.METHOD, name, committed.params)
    except BenchError as error:
        return f"{name} version {committed.version} of {committed.distribution} is not usable here: {error}"
    if installed.version != committed.version:
        return f"{name} is version {installed.version} here, and was version {committed.version}: install that one"
    if canonical(installed.params) != canonical(committed.params):
        return f"{name} has other parameters here than were committed: install {committed.distribution}"
    return ""


def regenerated(found: CommitmentFolder, source: str | Path, place: Place, reporter: BenchmarkReporter) -> Regenerated:
    """Make each draw of each committed method again, in a temporary store: nothing of an earlier run is used.

    BenchError if the source cannot be used. A method that cannot be used here, or that fails, is a reason.
    """
    commitment, registry = found.commitment, place.registry()
    reasons = {m.name: different(m, registry) for m in commitment.methods}
    usable = [m for m in commitment.methods if not reasons[m.name]]
    result = Regenerated({name: reason for name, reason in reasons.items() if reason})
    models = located(commitment, source)
    if not usable:
        return result
    with tempfile.TemporaryDirectory(prefix="bench-judge-") as folder, preserved_process_state():
        prepared = _prepared(commitment, models, usable, (place, registry), Path(folder), reporter)
        trials = {(t.method, t.draw): t for t in prepared.inventory.plan.trials}
        needed = _needed(prepared, [t.fingerprint for t in trials.values() if t.fingerprint])
        prepared.missing = {key: task for key, task in prepared.missing.items() if key in needed}
        failures = Failures(reporter)
        with reporter.executing(prepared):
            run_tasks(prepared.missing, prepared.config, failures)
        store = prepared.request.store
        for (name, draw), trial in trials.items():
            facts = (store.facts(trial.fingerprint) or {}) if trial.fingerprint else {}
            reason = trial.reason or facts.get(NOT_APPLICABLE) or failures.errors.get(trial.fingerprint)
            if reason or not facts:
                result.reasons[name] = str(reason or "it was not made: the run was stopped")
            else:
                tensors = store.load(trial.fingerprint, "fingerprint")
                result.draws[name, draw] = Draw(seed_of(trial.fingerprint), tensors)
                result.helpers[name] = _described_helpers(prepared, trial.fingerprint)
        data = next(key for key, task in prepared.inventory.plan.tasks.items() if task.kind == TaskKind.DATA)
        result.data = content_digest(store, data, "data") if store.record(data) else ""
        result.sources = {
            f"{kind}:{name}": registry.source_digest(kind, name)
            for key in needed
            for kind, name in prepared.inventory.plan.tasks[key].components().items()
        }
    return result


def _prepared(
    commitment: Commitment,
    models: list[Description],
    usable: Sequence[CommittedMethod],
    where: tuple[Place, Registry],
    folder: Path,
    reporter: BenchmarkReporter,
) -> PreparedRun:
    """Plan the run that a commitment's Spec describes, with its source as the only suspect."""
    place, registry = where
    spec, names = _spec(commitment)[0], {m.name for m in usable}
    file = zoo.write(models, folder)
    models = models + [structs.replace(m, role=ModelRole.SUSPECT) for m in models if m.role == ModelRole.SOURCE]
    spec = replace(
        spec,
        attacks=(),
        methods=tuple(n for n in spec.methods if n in names),
        baselines=tuple(n for n in spec.baselines if n in names),
        models=tuple(m.without_paths().plain() for m in models),
        settings={n: v for n, v in spec.settings.items() if n not in {m.name for m in commitment.methods} - names},
    )
    known = declare(spec, registry)
    known = replace(known, zoo=Zoo(str(file), place.allow_code))
    request = BenchmarkRequest(
        spec,
        known,
        registry,
        Store(folder / "store"),
        place.data,
        folder / "run",
        use_gpus=None if on_gpu(commitment.made) and not place.cpu else (),  # a GPU rounds otherwise
        threads=threads_of(commitment.made),
        inline=True,
        plugins=place.plugins,
    )
    return prepare(request, reporter)


def _described_helpers(prepared: PreparedRun, fingerprint: str) -> list[str]:
    """Return the names of the described surrogates and references that a fingerprint is made with."""
    tasks = [prepared.inventory.plan.tasks[key] for key in sorted(_needed(prepared, [fingerprint]))]
    return [str(t.params["model"]["name"]) for t in tasks if t.kind == TaskKind.MODEL and t.role in HELPERS]


def _needed(prepared: PreparedRun, keys: Sequence[str]) -> set[str]:
    found, waiting = set(keys), list(keys)
    while waiting:
        for key in prepared.inventory.plan.tasks[waiting.pop()].inputs.values():
            if key not in found:
                found.add(key)
                waiting.append(key)
    return found
