"""Show the progress of a run: a live display on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import importlib
import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.core.errors import limited
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task
from bench.frontend.eta import Eta

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.frontend.live_auc import LiveAucs

LINE_INTERVAL = 5.0
"""Seconds between plain lines while tasks end."""
LONGER_INTERVAL = 30.0
"""Seconds between plain lines while no task ends."""
MOST_FAILURES = 200
"""Failures that are printed; of those with one error, `MOST_LINES` are."""
NOTEBOOK_INTERVAL = 0.5
"""Seconds between updates of a notebook's display."""
TABLE_INTERVAL = 1.0
"""Seconds between updates of the table of AUCs."""


@dataclass(frozen=True)
class RunProgress:
    """How far a run is, for the function that was given to `bench.run(progress=...)`; as text, one line.

    Counts are of the tasks that this run has to do. `seconds_left` is None before there is an estimate. `task` is the
    name of the task that has just started, advanced or ended; `epoch` of `epochs` with the last mean `loss` belong to a
    training. `note` is a line for the user: what failed and where its log is, or what is remarkable.
    """

    total: int
    done: int
    failed: int
    blocked: int
    running: int
    seconds_left: float | None
    task: str = ""
    epoch: float = 0.0
    epochs: float = 0.0
    loss: float = 0.0
    note: str = ""
    line: str = ""

    def __str__(self) -> str:
        """Return the note, or the counts in one line."""
        return self.note or self.line


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"


def failures_shown(show: Callable[[str], None]) -> Callable[[Outcome], None]:
    """Return a function that shows a failed task in one line; of many, only the first. `trials.csv` has all of them."""
    shown = limited(show, MOST_FAILURES)
    by_error: dict[str, Callable[[str], None]] = {}

    def show_failure(outcome: Outcome) -> None:
        log = f" (log: {outcome.log})" if outcome.log else ""
        by_error.setdefault(outcome.error, limited(shown))(f"Failed: {outcome.root}: {outcome.error}{log}")

    return show_failure


class Progress:
    """Counts of a run's tasks, shown on standard error or in a notebook. Its methods may be called from any thread.

    `live_aucs` makes the table of AUCs; it is called for a live display only. `printed` receives the lines that are
    otherwise printed.
    """

    def __init__(
        self,
        tasks: Mapping[str, Task],
        quiet: bool = False,
        live_aucs: Callable[[], LiveAucs] | None = None,
        printed: Callable[[str], None] | None = None,
    ) -> None:
        self.tasks, self.quiet, self.live_aucs, self.printed = tasks, quiet, live_aucs, printed
        self.statuses: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.running: dict[str, tuple[float, float, float]] = {}
        self.eta = Eta(tasks)
        self.last_line, self.stream = time.monotonic(), sys.stderr  # a task that runs in this process has another one
        self.lock = threading.Lock()
        self.live: Any = None
        self.notebook: NotebookDisplay | None = None
        self.aucs: LiveAucs | None = None
        self.table: tuple[float, RenderableType | None] = (-math.inf, None)
        """When the table of AUCs was updated, and that table."""
        self.footer = ""
        """The last line of the display."""
        self.show_failure = failures_shown(self.print)

    def __enter__(self) -> Progress:
        notebook = in_notebook()
        if self.quiet or not self.tasks or not (notebook or self.stream.isatty()):
            return self
        from rich.console import Console

        console = Console(file=self.stream)
        if not (notebook or console.is_interactive):  # lines cannot be replaced there
            return self
        self.aucs = self.live_aucs() if self.live_aucs else None
        if notebook:
            self.notebook = NotebookDisplay(self.render)
        else:
            from rich.live import Live

            self.live = Live(get_renderable=self.render, console=console, refresh_per_second=4, transient=True)
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()
        if self.notebook is not None:
            self.table = (-math.inf, self.table[1])
            self.notebook.show(at_once=True)

    def task_started(self, key: str) -> None:
        """Record the start of a task."""
        with self.lock:
            self.running[key] = (0.0, 0.0, 0.0)
            self.eta.task_started(key)
        self._refresh()

    def task_progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Record the progress of a task's training."""
        with self.lock:
            self.running[key] = (epoch, epochs, loss)
            self.eta.task_progressed(key, epoch / epochs if epochs else 0.0)
        self._refresh(LONGER_INTERVAL)

    def task_finished(self, outcome: Outcome) -> None:
        """Count an outcome; print a failure at once, with the path of its log."""
        with self.lock:
            self.running.pop(outcome.key, None)
            self.eta.task_finished(outcome)
            self.counts[self.statuses.get(outcome.key, "")] -= 1  # it may have been recomputed
            self.counts[outcome.status] += 1
            self.statuses[outcome.key] = outcome.status
            if self.aucs is not None:
                score = outcome.facts.get("score") if outcome.status == Status.DONE else None
                self.aucs.add_score(outcome.key, score)
        if outcome.status == Status.FAILED:
            self.show_failure(outcome)
        self._refresh(LINE_INTERVAL)

    def _refresh(self, interval: float = math.inf) -> None:
        """Update a notebook's display; without a display, print a line if the last one is `interval` seconds old."""
        if self.notebook is not None:
            self.notebook.show()
        elif self.live is None and not self.quiet and time.monotonic() - self.last_line >= interval:
            self.last_line = time.monotonic()
            self.print(self.line())

    def print(self, text: str) -> None:
        """Print a line above the display. A run goes on where that fails: its reader has ended, or a disk is full."""
        if self.printed is not None:
            self.printed(text)
            return
        with suppress(OSError):
            if self.live is not None:
                self.live.console.print(text, markup=False, highlight=False)
            else:
                print(text, file=self.stream, flush=True)

    def stopping(self, text: str) -> None:
        """Show that the run is about to stop. Called by a signal handler: takes no lock, writes to no buffer."""
        self.footer = text
        if self.live is None:
            with suppress(OSError):
                os.write(2, f"{text}\n".encode())

    def remaining(self) -> str:
        """Return the estimated time until the run ends, or that of the known part of the work; `?` if none is known."""
        with self.lock:
            if (seconds := self.eta.remaining()) is not None:
                return _time(seconds)
            least = self.eta.at_least()
        return "?" if least is None else f"more than {_time(least)}"

    def line(self) -> str:
        """Return the counts in one line."""
        done, failed, blocked = (self.counts[status] for status in (Status.DONE, Status.FAILED, Status.BLOCKED))
        bad = f", {failed} failed, {blocked} blocked" if failed or blocked else ""
        return f"{done} of {len(self.tasks)} tasks done{bad}, {len(self.running)} running, {self.remaining()} left"

    def render(self) -> RenderableType:
        """Return the counts, the running tasks, and the AUCs so far."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        with self.lock:
            rows: list[RenderableType] = [
                Text(f"  {self.tasks[k].name}" + (f"   epoch {e:.0f}/{n:.0f}   loss {loss:.3f}" if n else ""))
                for k, (e, n, loss) in list(self.running.items())[:16]
                if k in self.tasks
            ]
            if self.aucs is not None and time.monotonic() - self.table[0] >= TABLE_INTERVAL:
                self.table = time.monotonic(), auc_table(self.aucs)
        if self.table[1] is not None:
            rows.append(self.table[1])
        if self.footer:
            rows.append(Text(self.footer))
        return Group(
            Text(self.line()), ProgressBar(total=len(self.tasks), completed=len(self.statuses), width=60), *rows
        )


def state_of(
    progress: Progress, key: str = "", epoch: float = 0.0, epochs: float = 0.0, loss: float = 0.0, note: str = ""
) -> RunProgress:
    """Return the counts of a run, with what is new: the task that has started, advanced or ended, or a note."""
    with progress.lock:
        seconds = progress.eta.remaining()
    done, failed, blocked = (progress.counts[status] for status in (Status.DONE, Status.FAILED, Status.BLOCKED))
    task = progress.tasks[key].name if key in progress.tasks else ""
    left = (len(progress.running), seconds, task, epoch, epochs, loss, note, progress.line())
    return RunProgress(len(progress.tasks), done, failed, blocked, *left)


def in_notebook() -> bool:
    """Return True in a Jupyter kernel, as rich finds out."""
    if "IPython" not in sys.modules:
        return False
    from rich.console import Console

    return Console().is_jupyter


class NotebookDisplay:
    """What is rendered, as rich shows it in the output of a notebook's cell, updated in place.

    rich's own `Live` needs ipywidgets there; an updated display needs nothing.
    """

    def __init__(self, render: Callable[[], RenderableType]) -> None:
        from rich.jupyter import JupyterMixin

        class Shown(JupyterMixin):
            """Rendered when it is displayed."""

            def __rich__(self) -> RenderableType:
                return render()

        self.shown, self.last = Shown(), time.monotonic()
        display: Any = importlib.import_module("IPython.display").display
        self.handle = display(self.shown, display_id=True)

    def show(self, at_once: bool = False) -> None:
        """Update the display, but not too often."""
        if self.handle is not None and (at_once or time.monotonic() - self.last >= NOTEBOOK_INTERVAL):
            self.last = time.monotonic()
            self.handle.update(self.shown)


def auc_table(aucs: LiveAucs) -> RenderableType | None:
    """Return a table of AUCs, the baselines below a line; None before there are any."""
    found = aucs.table()
    if found is None:
        return None
    from rich.box import HORIZONTALS
    from rich.table import Table
    from rich.text import Text

    key, rows = found
    title = "AUCs so far" if len(aucs.cells) == 1 else f"AUCs so far: {key[0]}, source {key[1]}"
    attacks = list(dict.fromkeys(attack for row in rows.values() for attack in row))
    table = Table(title=Text(title), title_justify="left", box=HORIZONTALS, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("method", no_wrap=True, overflow="ellipsis")
    for attack in attacks:
        table.add_column(Text(attack), overflow="fold", min_width=5)
    above = False
    for method, row in rows.items():
        if method in aucs.baselines and above:
            table.add_section()
        above = method not in aucs.baselines
        cells = [row.get(attack) for attack in attacks]
        table.add_row(Text(method), *(Text(c.text if c else "–", "" if c and c.finished else "dim") for c in cells))
    return table
