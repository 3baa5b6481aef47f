"""Collect the errors of tasks while they run."""

from bench.core.kinds import Status
from bench.core.tasks import Outcome
from bench.execution.run_config import Reporter


class Failures(Reporter):
    """Collects the errors of failed tasks by key, in their order, and passes every callback on."""

    def __init__(self, reporter: Reporter) -> None:
        self.errors: dict[str, str] = {}
        self.reporter = reporter
        self.note, self.task_started = reporter.note, reporter.task_started  # type: ignore[method-assign]
        self.task_progressed = reporter.task_progressed  # type: ignore[method-assign]
        self.stop_requested = reporter.stop_requested  # type: ignore[method-assign]

    def task_finished(self, outcome: Outcome) -> None:
        """Record an error, of the task itself or of the one that blocks it."""
        if outcome.status in (Status.FAILED, Status.BLOCKED):
            self.errors[outcome.key] = f"{outcome.root}: {outcome.error}"
        self.reporter.task_finished(outcome)
