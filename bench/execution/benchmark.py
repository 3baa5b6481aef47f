"""Run a whole benchmark: plan, check, execute what is missing, write `trials.csv` and `run.json`.

`run_benchmark` needs no command line and no terminal: it neither prints, nor handles signals, nor exits.
"""

import json
import shlex
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.core.canonical import JSON
from bench.core.errors import BenchError, StoreError, limited, printable
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.execution.preparation import BenchmarkRequest, PreparedRun, check_same, prepare
from bench.execution.run_config import ForwardingReporter, Reporter
from bench.execution.scheduler import run_tasks
from bench.planning.estimates import record_timings
from bench.planning.inventory import Inventory, stored_outcome
from bench.planning.presets import effective_keep
from bench.planning.retention import WEIGHTS, WeightRetention, removable
from bench.results.provenance import ORIGIN, describe
from bench.results.references import UnfinishedElsewhere, score_count
from bench.results.rows import row
from bench.results.writer import put, run_text, save
from bench.sandbox.process_state import gc_paused, preserved_process_state
from bench.store.atomic import DENIED
from bench.store.folders import REASONS, translated_errors
from bench.store.maintenance import quarantined_folders, size_of
from bench.store.uses import DIGITS, remember


class BenchmarkReporter(Reporter):
    """The callbacks of a benchmark, which do nothing here."""

    def executing(self, prepared: PreparedRun) -> AbstractContextManager[object]:
        """Return a context in which the tasks are executed, such as a progress display."""
        return nullcontext()


@dataclass(frozen=True)
class RunResult:
    """What a run did: counts of tasks, of trials by status, and whether the caller stopped it."""

    folder: Path
    executed: int
    failed: int
    blocked: int
    cached: int
    trials: Mapping[str, int] = field(default_factory=dict)
    interrupted: bool = False

    @property
    def complete(self) -> bool:
        """True if every applicable trial has a score."""
        return not self.trials.keys() & {Status.FAILED, Status.BLOCKED, Status.NOT_RUN}


def run_benchmark(request: BenchmarkRequest, reporter: BenchmarkReporter | None = None) -> RunResult:
    """Run a benchmark and write `trials.csv` and `run.json` into its results folder.

    What the run needs is recorded before its first task: its Spec in `run.json`, its artifacts in the store. So they
    are kept however the run ends.
    BenchError if the request cannot be fulfilled; nothing was trained then. A task that fails does not raise: its
    trials say so. KeyboardInterrupt, and BenchError if the workers are lost, after what is finished was written,
    unless the folder has results with more scores.
    StoreError if the store is lost: rows would be worse than those of an earlier run, and are not written.
    The state of this process is what it was before: folder, environment, signal handlers, settings.
    """
    reporter = reporter or BenchmarkReporter()
    with preserved_process_state():
        prepared = prepare(request, reporter)
        _record_needs(prepared, reporter)
        outcomes: dict[str, Outcome] = {}
        try:
            with reporter.executing(prepared):
                recorder = _Recorder(prepared, reporter, outcomes)
                run_tasks(prepared.missing, prepared.config, recorder, recorder.missing_inputs)
        except StoreError:
            raise
        except (KeyboardInterrupt, BenchError) as error:
            with suppress(BenchError):  # what is finished is written, if that is possible
                _write(prepared, outcomes, reporter, interrupted=True)
            if isinstance(error, BenchError):
                raise
            text = f"during the run: what is finished is in {request.folder}, and the same call goes on from there"
            raise KeyboardInterrupt(text) from None
        for line in prepared.inventory.edited_meanwhile(request.registry, outcomes.values()):
            reporter.note(f"Note: {line}")
        interrupted = bool(reporter.stop_requested())
        with gc_paused():
            return _write(prepared, outcomes, reporter, interrupted)


def _record_needs(prepared: PreparedRun, reporter: Reporter) -> None:
    """Record the artifacts that a run needs in the store, and its Spec in the results folder unless that has one.

    BenchError if another run has begun there since the options were read, StoreError or BenchError if a disk is full or
    fails. A store that may not be written, or that only has to be read, need not know the folder.
    """
    request, store, saved = prepared.request, prepared.request.store, prepared.request.folder / "run.json"
    if started := saved.is_file():
        check_same(saved, request.spec)
    try:
        remember(store, request.folder, request.spec.digest(), prepared.inventory.plan.tasks, started)
    except OSError as error:
        if prepared.missing and error.errno not in DENIED:
            with translated_errors(store.root):
                raise
        why = REASONS.get(error.errno or 0, error.strerror or str(error))
        reporter.note(
            f"Note: the store {store.root} cannot record that {request.folder} uses it ({why}): "
            "`bench store gc` may remove what these results need"
        )
    if prepared.missing and not started:
        made = describe(request.spec, request.declarations, request.command)
        put(saved, run_text(made))


class _Recorder(ForwardingReporter):
    """Records outcomes, drops weights that are no longer needed, and passes every callback on."""

    def __init__(self, prepared: PreparedRun, reporter: Reporter, outcomes: dict[str, Outcome]) -> None:
        super().__init__(reporter)
        self.prepared, self.outcomes = prepared, outcomes
        request, store = prepared.request, prepared.inventory.store
        self.announce, self.not_removed = limited(self.note), limited(self.note, 1)
        self.retention: WeightRetention | None = None
        if effective_keep(request.keep, request.spec.preset) == "scores":
            elsewhere = UnfinishedElsewhere(store, request.folder)
            self.retention = WeightRetention(prepared.inventory.plan, store, prepared.missing, elsewhere)
            for name in map(printable, elsewhere.lost({key[:DIGITS] for key in self.retention.needed})):
                self.announce(
                    f"Note: weights stay that --keep scores would remove: {name} needs them, and cannot be found. If "
                    f"it is gone for good: bench store gc --forget {shlex.quote(name)}"
                )
        self.announced = {key for key in prepared.missing if key in store.quarantined}

    def task_finished(self, outcome: Outcome) -> None:
        """Record an outcome."""
        self.outcomes[outcome.key] = outcome
        self.reporter.task_finished(outcome)
        if self.retention is not None:
            try:
                self.retention.task_finished(outcome)
            except StoreError as error:  # of another user, or on a full disk: what stays harms nobody
                self.not_removed(f"Note: weights stay that --keep scores would remove: {error}")

    def missing_inputs(self, key: str) -> dict[str, Task]:
        """Return the tasks that recompute the damaged or missing inputs of a task, and report each once."""
        lost = self.prepared.inventory.missing_inputs(key)
        for k in lost:
            if k not in self.announced:
                quarantined = any(p.name.startswith(k) for p in quarantined_folders(self.prepared.inventory.store))
                what = "was damaged and is quarantined" if quarantined else "is not complete any more"
                self.announce(f"Note: artifact {k[:8]} {what}: it is recomputed")
            self.announced.add(k)
        if self.retention is not None:
            self.retention.add_tasks(lost)
        self.prepared.missing.update(lost)
        return lost


def _write(prepared: PreparedRun, outcomes: Mapping[str, Outcome], reporter: Reporter, interrupted: bool) -> RunResult:
    """Record what tasks took, and write the two files of the results folder.

    A run that was interrupted does not replace results that have more scores: their artifacts may be gone.
    """
    request, inventory, missing = prepared.request, prepared.inventory, prepared.missing
    others = _finished_by_others(prepared, outcomes)
    if settled := len(others.keys() & outcomes.keys()):
        reporter.note(f"Note: another run in this store has done {settled:,} tasks that failed or were blocked here")
    outcomes = {**outcomes, **others}
    record_timings(inventory.store, inventory.plan.tasks, outcomes, *_sizes(inventory, outcomes))
    for key in outcomes:
        inventory.records.pop(key, None)

    def outcome(key: str) -> Outcome | None:
        return inventory.outcome(key, outcomes)

    trials = inventory.plan.trials
    rows = [row(t, outcome(t.score), outcome(t.source), outcome(t.suspect)) for t in trials]
    executed = sum(o.status == Status.DONE and not o.stored for o in outcomes.values())
    made = describe(request.spec, request.declarations, request.command, request.registry)
    made["machines"] = _machines(prepared, outcome)
    statuses = Counter(str(r["status"]) for r in rows)
    if interrupted and (before := score_count(request.folder)) > statuses[Status.DONE]:
        same = "the same command without --refresh" if request.refresh else "the same command"
        reporter.note(
            f"Note: {request.folder} keeps its results of an earlier run, which have more scores ({before:,}, this run "
            f"has {statuses[Status.DONE]:,}): {same} goes on, and replaces them when it is complete"
        )
    else:
        save(request.folder, rows, made if executed else _with_origin(request.folder, made))
    counts = Counter(o.status for o in outcomes.values())
    cached = len(inventory.plan.tasks) - len(missing)
    return RunResult(
        request.folder, executed, counts[Status.FAILED], counts[Status.BLOCKED], cached, statuses, interrupted
    )


def _sizes(inventory: Inventory, outcomes: Mapping[str, Outcome]) -> tuple[dict[str, int], dict[str, int]]:
    """Return the bytes of artifacts, and those of suspects' weights, which count where they were removed, too."""
    store, weights = inventory.store, dict[str, int]()
    sizes = {k: size_of(store, k) for k, o in outcomes.items() if o.status == Status.DONE and not o.stored}
    for key in sizes.keys() & removable(inventory.plan):
        with suppress(StoreError):
            record = store.record(key) or {"files": {}, "dropped": ()}
            weights[key] = sum(entry["bytes"] for name, entry in record["files"].items() if name == WEIGHTS)
            sizes[key] += weights[key] if WEIGHTS in record["dropped"] else 0
    return sizes, weights


def _finished_by_others(prepared: PreparedRun, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """Return the outcomes of the tasks that other runs in this store have finished, and this one has not.

    A suspect without weights counts only if all that needs it is stored: its record may be older than a failure here.
    """
    missing, needing, found = prepared.missing, defaultdict[str, list[str]](list), {}
    left = [key for key in missing if key not in outcomes or outcomes[key].status != Status.DONE]
    for key, task in missing.items() if left else ():
        for needed in task.inputs.values():
            needing[needed].append(key)
    for key in left:
        with suppress(StoreError):
            task = replace(missing[key], needed_by=tuple(needing[key]))
            if outcome := stored_outcome(prepared.inventory.store, task):
                found[key] = outcome
    return found


def _machines(prepared: PreparedRun, outcome: Callable[[str], Outcome | None]) -> dict[str, int]:
    """Count the sources and suspects of a run by the machine on which they were computed."""
    networks = {key for t in prepared.inventory.plan.trials for key in (t.source, t.suspect) if key}
    found = (outcome(key) for key in sorted(networks))
    return dict(Counter(o.machine for o in found if o and o.machine))


def _with_origin(folder: Path, made: dict[str, JSON]) -> dict[str, JSON]:
    """Keep the machine and date of an earlier run.json: a run that executes nothing did not compute the numbers."""
    try:
        before = json.loads((folder / "run.json").read_text(encoding="utf-8-sig"))
        return {**made, **{name: before[name] for name in ORIGIN}}
    except (OSError, ValueError, KeyError, TypeError):
        return made
