"""Show the progress of a run: a live display on a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from bench.cli.eta import Eta
from bench.core.errors import limited
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.cli.live_auc import LiveAucs

LINE_INTERVAL = 5.0
"""Seconds between plain lines."""
MOST_FAILURES = 200
"""Failures that are printed; of those with one error, `MOST_LINES` are."""
TABLE_INTERVAL = 1.0
"""Seconds between updates of the table of AUCs."""


class Progress:
    """Counts of a run's tasks, shown on standard error. Its methods may be called from any thread.

    `live_aucs` makes the table of AUCs; it is called on a terminal only.
    """

    def __init__(
        self, tasks: Mapping[str, Task], quiet: bool = False, live_aucs: Callable[[], LiveAucs] | None = None
    ) -> None:
        self.tasks, self.quiet, self.live_aucs = tasks, quiet, live_aucs
        self.statuses: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.running: dict[str, tuple[float, float, float]] = {}
        self.eta = Eta(tasks)
        self.last_line = time.monotonic()
        self.lock = threading.Lock()
        self.live: Any = None
        self.aucs: LiveAucs | None = None
        self.table: tuple[float, RenderableType | None] = (-math.inf, None)
        """When the table of AUCs was updated, and that table."""
        self.footer = ""
        """The last line of the display."""
        self.show_failure = limited(self.print, MOST_FAILURES)
        self.failures: dict[str, Callable[[str], None]] = {}
        """What shows the failures with each error; `trials.csv` has all of them."""

    def __enter__(self) -> Progress:
        if not self.quiet and self.tasks and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self.aucs = self.live_aucs() if self.live_aucs else None
            console = Console(stderr=True)
            self.live = Live(get_renderable=self.render, console=console, refresh_per_second=4, transient=True)
            self.live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.live is not None:
            self.live.stop()

    def task_started(self, key: str) -> None:
        """Record the start of a task."""
        with self.lock:
            self.running[key] = (0.0, 0.0, 0.0)
            self.eta.task_started(key)

    def task_progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Record the progress of a task's training."""
        with self.lock:
            self.running[key] = (epoch, epochs, loss)
            self.eta.task_progressed(key, epoch / epochs if epochs else 0.0)

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
            log = f" (log: {outcome.log})" if outcome.log else ""
            show = self.failures.setdefault(outcome.error, limited(self.show_failure))
            show(f"Failed: {outcome.root}: {outcome.error}{log}")
        if self.live is None and not self.quiet and time.monotonic() - self.last_line >= LINE_INTERVAL:
            self.last_line = time.monotonic()
            self.print(self.line())

    def print(self, text: str) -> None:
        """Print a line above the display."""
        if self.live is not None:
            self.live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def stopping(self, text: str) -> None:
        """Show that the run is about to stop. Called by a signal handler: takes no lock, writes to no buffer."""
        self.footer = text
        if self.live is None:
            with suppress(OSError):
                os.write(2, f"{text}\n".encode())

    def remaining(self) -> str:
        """Return the estimated time until the run ends; `?` if it is not known yet."""
        with self.lock:
            seconds = self.eta.remaining()
        if seconds is None:
            return "?"
        return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"

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
