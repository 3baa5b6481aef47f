"""The log of a task: a text file that plugin output and tracebacks go to."""

from __future__ import annotations

import faulthandler
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LARGEST_LOG = 10_000_000


class Log(io.TextIOBase):
    """A text file that exists once something was written to it; what passes `LARGEST_LOG` characters is dropped."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.begun = path, 0, False

    def write(self, text: str) -> int:
        """Append text."""
        if self.size < LARGEST_LOG:
            self._append(text[: LARGEST_LOG - self.size])
        self.size += len(text)
        return len(text)

    def end(self, text: str) -> None:
        """Append how a task failed, whatever it has printed before."""
        self._append(text)
        self.size += len(text)

    def _append(self, text: str) -> None:
        if not text:
            return
        with suppress(OSError):  # a log that cannot be written must not fail a task that can
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("a" if self.begun else "w", errors="replace") as file:
                self.begun = True
                file.write(text)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Be there, though empty, while plugin code runs: should that kill the process, the stack is written here."""
        handle = -1
        with suppress(OSError):
            self.path.parent.mkdir(exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
            self.begun = True
        ours = handle >= 0 and not faulthandler.is_enabled()
        if ours:
            faulthandler.enable(handle)
        try:
            yield
        finally:
            if ours:
                faulthandler.disable()
            with suppress(OSError):
                os.close(handle)
            if not self.size:
                self.path.unlink(missing_ok=True)

    def writable(self) -> bool:
        """Say that it can be written to."""
        return True

    def close(self) -> None:
        """Ignore a plugin that closes its stdout: the next line opens the file again."""
