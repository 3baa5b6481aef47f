"""Show how a run gets on: a live display on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any

from bench.types import Outcome, Task

if TYPE_CHECKING:
    from rich.console import RenderableType

PAUSE = 5.0
"""Seconds between plain lines."""


class Progress:
    """Counts of a run's tasks, told by the scheduler from any thread and shown on standard error."""

    def __init__(self, tasks: Mapping[str, Task], quiet: bool = False) -> None:
        self.tasks, self.quiet = tasks, quiet
        self.done = self.failed = self.blocked = 0
        self.running: dict[str, tuple[float, float, float]] = {}
        self.began = self.said = time.monotonic()
        self.lock = threading.Lock()
        self.live: Any = None
        self.last = ""
        """What the display says below everything else."""

    def __enter__(self) -> Progress:
        if not self.quiet and self.tasks and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

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

    def progressed(self, key: str, epoch: float, epochs: float, loss: float) -> None:
        """Note how far a task's training is."""
        with self.lock:
            self.running[key] = (epoch, epochs, loss)

    def settled(self, outcome: Outcome) -> None:
        """Note what became of a task; a failure is said at once, with the path of its log."""
        with self.lock:
            self.running.pop(outcome.key, None)
            self.done += outcome.status == "done"
            self.failed += outcome.status == "failed"
            self.blocked += outcome.status == "blocked"
        if outcome.status == "failed":
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
        settled = self.done + self.failed + self.blocked
        if settled < 3:
            return "?"
        seconds = (time.monotonic() - self.began) / settled * (len(self.tasks) - settled)
        return f"{seconds / 3600:.1f} h" if seconds > 5400 else f"{seconds / 60:.1f} min"

    def line(self) -> str:
        """Give the counts in one line."""
        bad = f", {self.failed} failed, {self.blocked} blocked" if self.failed or self.blocked else ""
        return f"{self.done} of {len(self.tasks)} tasks done{bad}, {len(self.running)} running, {self.left()} left"

    def picture(self) -> RenderableType:
        """Draw the counts and the tasks at work."""
        from rich.console import Group
        from rich.progress_bar import ProgressBar
        from rich.text import Text

        with self.lock:
            rows: list[RenderableType] = [
                Text(f"  {self.tasks[k].name}" + (f"   epoch {e:.0f}/{n:.0f}   loss {loss:.3f}" if n else ""))
                for k, (e, n, loss) in list(self.running.items())[:16]
                if k in self.tasks
            ]
        settled = self.done + self.failed + self.blocked
        if self.last:
            rows.append(Text(self.last))
        return Group(Text(self.line()), ProgressBar(total=len(self.tasks), completed=settled, width=60), *rows)
