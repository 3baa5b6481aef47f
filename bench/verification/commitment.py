"""Make a commitment: what its owner fixes about a source, and measures, before anybody is accused."""

import datetime
import tempfile
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from msgspec import structs

from bench.core.canonical import JSON
from bench.core.errors import BenchError
from bench.core.kinds import Access, ComponentKind, TaskKind
from bench.core.spec import Spec
from bench.datasets.partition import PARTS
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.preparation import BenchmarkRequest, PreparedRun, prepare
from bench.execution.run_config import Failures, StopRequest
from bench.execution.scheduler import run_tasks
from bench.models.description import of_spec
from bench.models.kinds import ModelRole
from bench.planning.declarations import Declarations
from bench.planning.described import Models
from bench.planning.options import build, flag
from bench.planning.spec_checks import MOST_SEED, check_number
from bench.registry.registry import Registry
from bench.registry.validation import MOST_DRAWS
from bench.results.provenance import describe
from bench.sandbox.process_state import preserved_process_state
from bench.store.store import Store, content_digest
from bench.verification import zoo
from bench.verification.commitment_files import CommitmentFolder, check_free, read, write
from bench.verification.measured import Measured, accuracy, measured
from bench.verification.schema import FORMAT, Commitment, CommittedData, CommittedSource
from bench.verification.source import asked_source

OPTIONS = {
    "models": "networks",
    "baselines": "methods",
    "draw_seed": "seed",
    "sources": "architectures",
    "suspects": "architectures",
}
"""What fields of a Spec are called here, if not by their names."""


@dataclass(frozen=True)
class CommitRequest:
    """What a commitment is made from, and where and how.

    `models` describes the source; `innocents` and `copies` are further files of descriptions. `chosen` has options of
    a Spec by name, as they are typed: `datasets` and `methods` at least. `seed` is that of the fingerprints, `draws`
    their number (0: as each method declares). `how` has further fields of `BenchmarkRequest`, such as `workers`.
    """

    models: Path
    out: Path
    chosen: Mapping[str, Any]
    registry: Registry
    store: Store
    data: Path
    innocents: Sequence[Path] = ()
    copies: Sequence[Path] = ()
    source: str = ""
    seed: int = 0
    draws: int = 0
    precision: str = "fp32"
    on_gpus: bool = False
    allow_code: bool = False
    how: Mapping[str, Any] | None = None
    shown: Callable[[str], str] = flag


def make(request: CommitRequest, reporter: BenchmarkReporter | None = None) -> CommitmentFolder:
    """Make the fingerprints of a described source, score innocents and copies with them, and write the folder.

    The tasks are those of `bench run --models`, and are cached in the same store. A score is the mean over the draws.
    BenchError if the request cannot be fulfilled, if a task fails, or if no method applies; nothing is written then.
    KeyboardInterrupt keeps what is finished in the store.
    """
    reporter = reporter or BenchmarkReporter()
    check_free(request.out)
    with tempfile.TemporaryDirectory(prefix="bench-commit-") as place, preserved_process_state():
        spec, known = planned(request, Path(place), reporter.note)
        how = {"threads": 1, **(request.how or {})}
        run = BenchmarkRequest(spec, known, request.registry, request.store, request.data, Path(place), **how)
        prepared = prepare(replace(run, require_targets="attacks" in request.chosen), reporter)
        _check_sources(prepared, request.shown("store"))
        prepared.remember(request.out, spec.digest())
        finish(prepared, reporter)
        source = next(m for m in known.models.all if m.role == ModelRole.SOURCE)
        found = measured(prepared, source.name, reporter.note)
        if not found.methods:
            raise BenchError(f"No method can be committed: {', '.join(spec.methods + spec.baselines)}")
        planned_copies = {trial.attack for trial in prepared.inventory.plan.trials}
        _note_weakness(found, {*spec.attacks} - planned_copies, reporter.note)
        asked = asked_source(prepared, found)
        draft = _draft(request, prepared, found, asked.data)
        return write(request.out, draft, found.fingerprints, asked.checks, found.nulls, found.copies, asked.transports)


def planned(request: CommitRequest, place: Path, note: Callable[[str], None]) -> tuple[Spec, Declarations]:
    """Return the Spec of a commitment, whose source is one of its suspects, and its components.

    `place` is a folder for the file with all descriptions.
    """
    shown = request.shown
    check_number(shown("seed"), request.seed, 0, MOST_SEED)
    check_number(shown("draws"), request.draws, 0, MOST_DRAWS)
    if not request.chosen.get("methods"):
        raise BenchError(f"{shown('methods')} names the methods: they are chosen before anybody is accused")
    file = zoo.write(zoo.collected(request.models, request.innocents, request.copies, request.source, note), place)
    chosen = {**request.chosen, "models": str(file), "no_baselines": True}
    if request.chosen.get("replicates"):  # a commitment has one number for copies of each kind
        chosen["copies"] = request.chosen["replicates"]
    spec, known = build(chosen, None, request.registry, request.precision, shown, request.allow_code, request.on_gpus)
    models = zoo.without_duplicates(of_spec(spec.models), note)
    zoo.note_datasets(models, spec.datasets[0], note)
    models += [structs.replace(m, role=ModelRole.SUSPECT) for m in models if m.role == ModelRole.SOURCE]
    described = Models(models, spec.datasets[0], known.models.identities)
    described.unknown = known.models.unknown
    marks = [n for n in (*spec.methods, *spec.baselines) if known.methods[n][0].fingerprint.watermark]
    for name in marks:
        note(f"Note: {name} is not committed: it marks its own source while it trains it, and this one is described")
    spec = replace(
        spec,
        methods=tuple(n for n in spec.methods if n not in marks),
        models=tuple(m.plain() for m in models),
        draws=request.draws,
        draw_seed=request.seed,
    )
    if not spec.methods + spec.baselines:
        raise BenchError(f"No method can be committed: {', '.join(marks)}")
    return spec, replace(known, models=described)


def check_same(request: CommitRequest) -> None:
    """Raise BenchError if the commitment that is there already is of other networks, or was made with other options.

    The precision may differ: it is settled by the machine.
    """
    with tempfile.TemporaryDirectory(prefix="bench-commit-") as place, preserved_process_state():
        wanted = _comparable(planned(request, Path(place), lambda _: None)[0].to_json())
    there = _comparable(read(request.out).commitment.spec)
    others = [OPTIONS.get(name, name) for name in {**there, **wanted} if there.get(name) != wanted.get(name)]
    if others:
        raise BenchError(
            f"{request.out} was made earlier, with other {', '.join(dict.fromkeys(others))}: "
            f"name it with {request.shown('commitment')} to go on with it, or choose another {request.shown('out')}"
        )


def _comparable(spec: Mapping[str, Any]) -> dict[str, Any]:
    recipe = spec.get("recipe", {})  # a commitment of an early version has no Spec
    return {**spec, "recipe": {name: value for name, value in recipe.items() if name != "precision"}}


def finish(prepared: PreparedRun, reporter: BenchmarkReporter) -> None:
    """Run the tasks that are missing; BenchError for the first that failed, KeyboardInterrupt if the user stops."""
    failures = Failures(reporter)
    with reporter.executing(prepared):
        run_tasks(prepared.missing, prepared.config, failures, prepared.missing_inputs)
    if reporter.stop_requested() != StopRequest.NONE:
        raise KeyboardInterrupt("during the computation: what is finished is stored, and the same call goes on")
    if failures.errors:
        first, *others = dict.fromkeys(failures.errors.values())
        raise BenchError(f"{first}{f' (and {len(others)} more)' if others else ''}")


def _check_sources(prepared: PreparedRun, store: str) -> None:
    """Raise BenchError if results that are stored are of other code than is installed, whose digest is committed."""
    if names := [name for name, _ in prepared.inventory.of_other_source(prepared.request.registry)]:
        one = "them" if len(names) > 1 else "it"
        raise BenchError(
            f"{prepared.request.store.root} has results by other code of {', '.join(names)} than is installed, and a "
            f"commitment states what code made them: raise the version of {one}, or name an empty store with {store}"
        )


def _note_weakness(found: Measured, unplanned: Set[str], note: Callable[[str], None]) -> None:
    for name in sorted(unplanned):
        note(f"Note: there is no copy by {name}: --architectures names those in which copies are trained")
    asked = [method.access for method in found.methods if method.access != Access.WEIGHTS]
    if asked and min(asked, key=Access.rank) == Access.LOGITS:
        text = "no verdict is possible about a suspect that answers with probabilities or labels"
        note(f"Note: each method asks for logits: {text}. See: bench list methods")
    for method in found.methods:
        if method.access == Access.WEIGHTS:
            note(f"Note: {method.name} looks at weights: bench verify asks a suspect for answers, and does not use it")
        scores = [row.score for row in found.nulls if row.method == method.name]
        highest, own = max(scores, default=None), found.source_scores[method.name]
        if highest is None:
            note(f"Note: {method.name}: there are no innocents, so no verdict will be possible: --innocents FILE")
        elif highest >= own:
            note(f"Note: {method.name}: an innocent scores {highest:.4g}, and the source itself {own:.4g}")


def _draft(request: CommitRequest, prepared: PreparedRun, found: Measured, key: str) -> Commitment:
    """Return the content of `commitment.json` without the digests of files; `key` is that of the data."""
    run, known = prepared.request, prepared.request.declarations
    facts, dataset = run.store.facts(key) or {}, known.datasets[run.spec.datasets[0]]
    model = next(m for m in known.models.all if m.role == ModelRole.SOURCE)
    measured_source = next(
        k for k, t in prepared.inventory.plan.tasks.items() if t.kind == TaskKind.MODEL and t.role == ModelRole.SOURCE
    )
    return Commitment(
        format=FORMAT,
        data=CommittedData(
            name=dataset.name,
            version=dataset.version,
            params=dict(dataset.params),
            classes=facts["num_classes"],
            shape=tuple(facts["shape"]),
            label_names=list(dataset.attributes["label_names"]),
            label_space=facts["label_space"],
            images={part: facts[part] for part in PARTS},
            split_seed=run.spec.split_seed,
            digest=content_digest(run.store, key, "data"),
        ),
        source=CommittedSource(
            name=model.name,
            architecture=model.architecture,
            settings=model.settings,
            format=str(model.format),
            digest=model.sha256,
            accuracy=accuracy(run.store, measured_source),
        ),
        seed=request.seed,
        methods=found.methods,
        files={},
        made=_made(prepared, found),
        spec=run.spec.to_json(),
    )


def _made(prepared: PreparedRun, found: Measured) -> dict[str, JSON]:
    """Return when, on what and with which software a commitment was made: nothing that names a path or a user."""
    import torch

    from bench.execution.machine import machine
    from bench.verification.distortions import DISTORTIONS

    run = prepared.request
    about = describe(run.spec, run.declarations, "", run.registry)
    components = {item for task in prepared.inventory.plan.tasks.values() for item in task.components().items()}
    return {
        "time": datetime.datetime.now(tz=datetime.UTC).isoformat(timespec="seconds"),
        **{name: about[name] for name in ("libraries", "hardware", "git_commit")},
        "machine": machine(prepared.config.device),
        "device": prepared.config.device,
        "instruction_set": torch.backends.cpu.get_cpu_capability(),
        "threads": run.threads,
        "sources": {
            f"{kind}:{name}": run.registry.source_digest(kind, name)
            for kind, name in sorted(components)
            if name in run.registry.names(kind)
        },
        "source_scores": found.source_scores,
        "summaries": {
            **{str(k): _summaries(about["components"][k]) for k in (ComponentKind.ATTACK, ComponentKind.METHOD)},
            "transport": {one.name: one.text for one in DISTORTIONS.values()},
        },
    }


def _summaries(components: JSON) -> dict[str, JSON]:
    """Return what each component is in one line, for the report."""
    return {name: entry["summary"] for name, entry in components.items()}
