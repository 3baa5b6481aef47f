"""What happens when a task fails or its worker dies.

`RetryPolicy` decides, `apply` changes the queue. A failure settles its task unless one of these applies:

- another process computes the task: ask again after a short delay;
- its worker can execute no such task: run it elsewhere (`usable.py`);
- it ran out of memory: run it once more, while no other task of this run does;
- its process can open no more files, which earlier tasks may have left open: run it twice more in other ones;
- an input is damaged or missing: recompute that input, then run the task again. If only the machine of the worker does
  not find it, as shortly after another one has written it to a network disk, ask again after some delay;
- the store cannot be used: stop the run;
- its worker died: each task of the unit runs again, alone; the only one of a unit fails if it was alone, or was
  reported to run. Dask itself has run the unit again before that (`cluster.RETRIES_AFTER_DEATH`);
- its worker was stopped by the time limit: what is stored of its unit is kept. Each other task runs again in a unit of
  its own; it fails if it is the only one, and was reported to run.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from bench.core.errors import StoreError
from bench.core.kinds import FailureCause, Status
from bench.core.tasks import Outcome, Task
from bench.execution.run_config import MissingInputs, Reporter
from bench.store.locks import lock_name

if TYPE_CHECKING:
    from bench.execution.queue import TaskQueue

RETRY_DELAY = 0.25
"""Seconds until a task that another process computes is asked for again."""
LONG_WAIT = 60.0
"""Seconds of asking again and again after which the user is to know."""
FIRST_LOOK, LOOKS = 1.5, 6
"""Seconds until another machine looks for an input once more, each time twice as many, and how often it does: 94.5 s in
all, since NFS remembers for up to a minute that a file is missing."""
MOST_FULL = 4
"""How often a task may run out of memory beside others."""
MOST_WITHOUT_FILES = 2
"""How often a task runs again whose process could open no more files."""
PAUSE = 5.0
"""Seconds between two requests for a task after which its wait begins again: something else was computed meanwhile."""
OPEN_FILES = (
    "too many open files in its process (`ulimit -n`): a plugin leaves them open, in this task or an earlier one"
)
"""Why a task failed whose process could open no more files."""
MEMORY_HINT = "if its log is empty, memory may have run out: use fewer --workers"
"""What may help a task whose worker died: the system kills a process for want of memory without a trace."""


@dataclass(frozen=True)
class Settle:
    """Accept an outcome as final; block the tasks that need it if it is a failure."""

    outcome: Outcome


@dataclass(frozen=True)
class Requeue:
    """Run a task again after `delay` seconds; `waits`: another process has been computing it for long.

    `single`: in a unit of its own.
    """

    key: str
    delay: float = 0.0
    waits: bool = False
    single: bool = False


@dataclass(frozen=True)
class RunAlone:
    """Run a task again while no other task runs."""

    key: str


@dataclass(frozen=True)
class RecomputeInputs:
    """Recompute the missing inputs of a task and run it again; accept its failure if that is impossible.

    If none is missing, run it again after `delay` seconds, unless that is 0.
    """

    failure: Outcome
    delay: float = 0.0


@dataclass(frozen=True)
class StopRun:
    """End the run with a StoreError."""

    error: str


Decision: TypeAlias = Settle | Requeue | RunAlone | RecomputeInputs | StopRun


@dataclass
class RetryPolicy:
    """Decides what follows from an outcome, a dead worker or a timeout."""

    machines: bool = False
    """Whether other machines compute tasks, which see later what is written here."""
    looks: Counter[str] = field(default_factory=Counter)
    """How often each task did not find an input."""
    out_of_memory: Counter[str] = field(default_factory=Counter)
    """How often each task ran out of memory."""
    out_of_files: Counter[str] = field(default_factory=Counter)
    """How often each task met a process that could open no more files."""
    busy: dict[str, tuple[float, float]] = field(default_factory=dict)
    """When each task that another process computes was asked for first and last; infinity: the user knows."""

    def after_outcome(self, outcome: Outcome, alone: bool = True) -> Decision:
        """Return what follows from the outcome of a task; `alone`: no other task of this run ran beside it."""
        key, cause = outcome.key, outcome.cause
        if cause == FailureCause.WORKER:
            return RunAlone(key) if alone else Requeue(key, RETRY_DELAY)
        if outcome.status == Status.BUSY:
            return Requeue(key, RETRY_DELAY, self._waits_long(key))
        if cause == FailureCause.STORE:
            return StopRun(outcome.error)
        if cause == FailureCause.DAMAGED:
            self.looks[key] += 1
            again = self.machines and self.looks[key] <= LOOKS
            return RecomputeInputs(outcome, FIRST_LOOK * 2 ** (self.looks[key] - 1) if again else 0.0)
        if outcome.error == OPEN_FILES and self.out_of_files[key] < MOST_WITHOUT_FILES:
            self.out_of_files[key] += 1
            return Requeue(key, RETRY_DELAY, single=True)
        if cause == FailureCause.MEMORY:
            self.out_of_memory[key] += 1
            times = self.out_of_memory[key]
            if times == 1 or (times < MOST_FULL and not alone):  # it may have come back to the queue in between
                return RunAlone(key)
            if alone:
                outcome = replace(outcome, error=f"{outcome.error} (also when it ran alone in this run)")
        return Settle(outcome)

    def _waits_long(self, key: str) -> bool:
        """Return True once for a task that was asked for again and again, and for long."""
        now = time.monotonic()
        first, last = self.busy.get(key, (now, now))
        first = now if now - last > PAUSE and first < math.inf else first
        long = now - first >= LONG_WAIT
        self.busy[key] = math.inf if long else first, now
        return long

    def after_death(self, unit: Sequence[Task], error: str, log: str, suspected: bool = True) -> list[Decision]:
        """Return what follows from the death of the worker that had a unit.

        Any task of the unit may have killed it, or one of another unit if this one is not `suspected`: it was not
        reported to have started. Each is run alone, so that only that one fails.
        """
        if len(unit) > 1 or not suspected:
            return [RunAlone(task.key) for task in unit]
        return [Settle(_failure(task, error, log)) for task in unit]

    def after_timeout(
        self, unit: Sequence[Task], running: str, finished: Mapping[str, Outcome], error: str, log: str
    ) -> list[Decision]:
        """Return what follows if the worker that had a unit was stopped because one of its tasks took too long.

        `finished` holds the outcomes of the tasks of the unit whose artifacts are stored, `running` is the task whose
        start was reported last. Another one may have run since: a task that keeps Python's lock prevents its report.
        """
        decisions: list[Decision] = [Settle(finished[task.key]) for task in unit if task.key in finished]
        left = [task for task in unit if task.key not in finished]
        if [task.key for task in left] == [running]:
            return [*decisions, Settle(_failure(left[0], error, log))]
        return [*decisions, *(Requeue(task.key, single=True) for task in left)]


def _failure(task: Task, error: str, log: str) -> Outcome:
    return Outcome(task.key, Status.FAILED, error=error, root=task.name, log=log)


def _is_locked_here(key: str, queue: TaskQueue) -> bool:
    """Return True if a worker has another task of this run that may hold the lock of a task: some share one."""
    alike = {k for k in queue.tasks if k != key and lock_name(k) == lock_name(key)} - queue.settled.keys()
    idle = {k for *_, k in (*queue.ready, *queue.delayed)}.union(queue.single, *queue.scores.scores.values())
    return any(k in queue.riding or not (queue.waiting[k] or k in idle) for k in alike)


def apply(
    decision: Decision,
    queue: TaskQueue,
    reporter: Reporter,
    missing_inputs: MissingInputs,
    run_alone: Callable[[str], None],
) -> None:
    """Apply a decision to the queue, and report the outcomes that it settles."""
    match decision:
        case StopRun(error):
            raise StoreError(error)
        case Requeue(key, delay, waits, single):
            if waits and not _is_locked_here(key, queue):
                reporter.note(
                    f"Note: waiting for another run in this store, which computes {queue.tasks[key].name}. If it was "
                    "suspended (Ctrl-Z), continue it or end it"
                )
            queue.requeue(key, delay, single)
        case RunAlone(key):
            if not queue.waits(key):
                run_alone(key)
        case RecomputeInputs(failure, delay):
            missing = missing_inputs(failure.key)
            if delay and not missing:
                queue.requeue(failure.key, delay)
            elif not queue.recompute_inputs(failure.key, missing):
                apply(Settle(failure), queue, reporter, missing_inputs, run_alone)
        case Settle(outcome):
            for settled in queue.settle(outcome):
                reporter.task_finished(settled)
