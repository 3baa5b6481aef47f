"""What a run shows while it works: a display, and the calls of a caller's own function."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.core.errors import BenchError
from bench.core.kinds import Status
from bench.core.tasks import Outcome
from bench.execution.benchmark import BenchmarkReporter
from bench.execution.preparation import PreparedRun
from bench.execution.run_config import StopRequest
from bench.frontend.progress import Progress, RunProgress, state_of

if TYPE_CHECKING:
    from bench.frontend.live_auc import LiveAucs


ProgressFunction = Callable[[RunProgress], object]
"""Is called with each change, from any thread, one call at a time. If it returns False, no further task is started."""


class DisplayReporter(BenchmarkReporter):
    """Shows progress on a terminal or in a notebook, elsewhere a line on standard error every few seconds.

    `debug` shows the logs of failed tasks.
    """

    def __init__(self, quiet: bool = False, debug: bool = False) -> None:
        self.quiet, self.debug = quiet, debug
        self.printed: Callable[[str], None] | None = None
        """Receives the lines for the user; None: they are printed."""
        self.progress = Progress({}, quiet)
        self.inline = True
        self.imports = threading.Thread(target=_import_report, daemon=True)

    @contextmanager
    def executing(self, prepared: PreparedRun) -> Iterator[None]:
        """Show progress while tasks are executed."""
        self.inline = prepared.inline

        def live_aucs() -> LiveAucs:
            from bench.frontend.live_auc import LiveAucs

            def stored(key: str) -> float | None:
                outcome = None if key in prepared.missing else prepared.inventory.outcome(key, {})
                return outcome.facts.get("score") if outcome else None

            return LiveAucs(prepared.inventory.plan.trials, prepared.request.spec.baselines, stored, prepared.missing)

        with Progress(prepared.missing, self.quiet, live_aucs, self.printed) as self.progress:
            yield

    def note(self, text: str) -> None:
        """Print a line."""
        self.progress.print(text)

    def task_started(self, key: str) -> None:
        """Show a task; import what the report needs while workers work and this process waits."""
        self.progress.task_started(key)
        if not self.inline and self.imports.ident is None:
            self.imports.start()

    def task_progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Show the progress of a training."""
        self.progress.task_progressed(key, epoch, epochs, loss)

    def task_finished(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.progress.task_finished(outcome)
        if self.debug and outcome.status == Status.FAILED and outcome.log:
            self.note(Path(outcome.log).read_text(encoding="utf-8", errors="replace"))


def _import_report() -> None:
    import matplotlib.figure  # noqa: F401

    import bench.reporting.build  # noqa: F401


class FunctionReporter(DisplayReporter):
    """Calls a function with each change, and shows nothing itself.

    What the function raises ends the run after the running tasks, and is raised then: it may be called in a thread
    whose exceptions nobody sees.
    """

    def __init__(self, function: ProgressFunction, debug: bool = False) -> None:
        super().__init__(quiet=True, debug=debug)
        self.function, self.printed = function, self._printed
        self.progress = Progress({}, True, printed=self.printed)
        self.stop = StopRequest.NONE
        self.error: Exception | None = None
        self.lock = threading.RLock()

    @contextmanager
    def executing(self, prepared: PreparedRun) -> Iterator[None]:
        """Call the function before the first task and after the last one."""
        with super().executing(prepared):
            self._call()
            yield
            self._call()

    def _printed(self, text: str) -> None:
        self._call(note=text)

    def _call(self, key: str = "", epoch: float = 0.0, epochs: float = 0.0, loss: float = 0.0, note: str = "") -> None:
        with self.lock:
            if self.error is not None:
                return
            try:
                if self.function(state_of(self.progress, key, epoch, epochs, loss, note)) is False:
                    self.stop = StopRequest.AFTER_RUNNING
            except Exception as error:  # whatever the function raises
                self.error, self.stop = error, StopRequest.AFTER_RUNNING

    def task_started(self, key: str) -> None:
        """Count and pass a start on."""
        super().task_started(key)
        self._call(key)

    def task_progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Pass the progress of a training on."""
        super().task_progressed(key, epoch, epochs, loss)
        self._call(key, epoch, epochs, loss)

    def task_finished(self, outcome: Outcome) -> None:
        """Count and pass an outcome on."""
        super().task_finished(outcome)
        self._call(outcome.key)

    def stop_requested(self) -> StopRequest:
        """Return how soon the run has to stop."""
        return self.stop


def reporter_of(progress: object, debug: bool) -> DisplayReporter:
    """Return the reporter for the argument `progress` of `bench.run`; BenchError for anything else."""
    if isinstance(progress, bool) or progress is None:
        return DisplayReporter(quiet=not progress, debug=debug)
    if not callable(progress):
        raise BenchError(f"progress= takes True, False or a function of one argument, not {progress!r:.80}")
    return FunctionReporter(progress, debug)
