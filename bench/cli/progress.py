"""Show how a run gets on: a live display on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bench.cli.eta import Eta
from bench.core.kinds import Status
from bench.core.tasks import Outcome, Task

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.cli.live_auc import LiveAuc, LiveAucs

PAUSE = 5.0
"""Seconds between plain lines."""
BEAT = 1.0
"""Seconds for which the table of AUCs stays as it is."""


class Progress:
    """Counts of a run's tasks, told by the scheduler from any thread and shown on standard error.

    `standings` makes what follows the AUCs; it is asked for on a terminal only.
    """

    def __init__(
        self, tasks: Mapping[str, Task], quiet: bool = False, live_aucs: Callable[[], LiveAucs] | None = None
    ) -> None:
        self.tasks, self.quiet, self.live_aucs = tasks, quiet, live_aucs
        self.became: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.running: dict[str, tuple[float, float, float]] = {}
        self.pace = Eta(tasks)
        self.said = time.monotonic()
        self.lock = threading.Lock()
        self.live: Any = None
        self.aucs: LiveAucs | None = None
        self.table: tuple[float, RenderableType | None] = (-math.inf, None)
        """The table of AUCs, and when it was drawn."""
        self.last = ""
        """What the display says below everything else."""

    def __enter__(self) -> Progress:
        if not self.quiet and self.tasks and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self.aucs = self.live_aucs() if self.live_aucs else None
            self.live = Live(get_renderable=self.picture, console=Console(stderr=True), refresh_per_second=4,
                             transient=True)  # fmt: skip
            self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live is not None:
            self.live.stop()

    def started(self, key: str) -> None:
        """Note that a task began."""
        with self.lock:
            self.running[key] = (0.0, 0.0, 0.0)
            self.pace.started(key)

    def progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Note how far a task's training is."""
        with self.lock:
            self.running[key] = (epoch, epochs, loss)
            self.pace.progressed(key, epoch / epochs if epochs else 0.0)

    def settled(self, outcome: Outcome) -> None:
        """Note what became of a task; a failure is said at once, with the path of its log."""
        with self.lock:
            self.running.pop(outcome.key, None)
            self.pace.settled(outcome)
            self.counts[self.became.get(outcome.key, "")] -= 1  # it may have been made anew
            self.counts[outcome.status] += 1
            self.became[outcome.key] = outcome.status
            if self.aucs is not None:
                self.aucs.target_replicates(
                    outcome.key, outcome.facts.get("score") if outcome.status == Status.DONE else None
                )
        if outcome.status == Status.FAILED:
            log = f" (log: {outcome.log})" if outcome.log else ""
            self.say(f"Failed: {outcome.root}: {outcome.error}{log}")
        if self.live is None and not self.quiet and time.monotonic() - self.said >= PAUSE:
            self.said = time.monotonic()
            self.say(self.line())

    def say(self, text: str) -> None:
        """Print a line beside the display."""
        if self.live is not None:
            self.live.console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def stopping(self, text: str) -> None:
        """Say that the run is about to stop. Called by a signal handler: takes no lock, writes to no buffer."""
        self.last = text
        if self.live is None:
            with suppress(OSError):
                os.write(2, f"{text}\n".encode())

    def left(self) -> str:
        """Say how long the rest will take, if it goes on like this."""
        with self.lock:
            seconds = self.pace.left()
        if seconds is None:
            return "?"
        return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"

    def line(self) -> str:
        """Give the counts in one line."""
        done, failed, blocked = (self.counts[status] for status in (Status.DONE, Status.FAILED, Status.BLOCKED))
        bad = f", {failed} failed, {blocked} blocked" if failed or blocked else ""
        return f"{done} of {len(self.tasks)} tasks done{bad}, {len(self.running)} running, {self.left()} left"

    def picture(self) -> RenderableType:
        """Draw the counts, the tasks at work, and the AUCs so far."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        with self.lock:
            rows: list[RenderableType] = [
                Text(f"  {self.tasks[k].name}" + (f"   epoch {e:.0f}/{n:.0f}   loss {loss:.3f}" if n else ""))
                for k, (e, n, loss) in list(self.running.items())[:16]
                if k in self.tasks
            ]
            if self.aucs is not None and time.monotonic() - self.table[0] >= BEAT:
                self.table = time.monotonic(), drawn(self.aucs)
        if self.table[1] is not None:
            rows.append(self.table[1])
        if self.last:
            rows.append(Text(self.last))
        return Group(Text(self.line()), ProgressBar(total=len(self.tasks), completed=len(self.became), width=60), *rows)


def drawn(aucs: LiveAucs) -> RenderableType | None:
    """Draw a table of AUCs, the baselines below a line; None before there is one."""
    found = aucs.table()
    if found is None:
        return None
    from rich.box import HORIZONTALS
    from rich.table import Table
    from rich.text import Text

    place, rows = found
    title = "AUCs so far" if len(aucs.cells) == 1 else f"AUCs so far: {place[0]}, source {place[1]}"
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
        table.add_row(Text(method), *(_cell(row.get(attack)) for attack in attacks))
    return table


def _cell(live: LiveAuc | None) -> RenderableType:
    from rich.text import Text

    if live is None:
        return Text("–", style="dim")
    return Text(live.text, style="" if live.finished else "dim")
