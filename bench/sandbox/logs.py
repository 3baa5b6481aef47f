"""The log of a task: a text file with plugin output and tracebacks."""

import faulthandler
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LARGEST_LOG = 10_000_000
"""Characters of plugin output; the rest is dropped."""


class Log(io.TextIOBase):
    """A text file that is created with the first output; output beyond `LARGEST_LOG` is dropped."""

    def __init__(self, path: Path) -> None:
        self.path, self.size, self.created = path, 0, False

    def write(self, text: str) -> int:
        """Append text."""
        if self.size < LARGEST_LOG:
            self._append(text[: LARGEST_LOG - self.size])
        self.size += len(text)
        return len(text)

    def append_failure(self, text: str) -> None:
        """Append the traceback of a failed task, also to a full log."""
        self._append(text)
        self.size += len(text)

    def _append(self, text: str) -> None:
        if not text:
            return
        with suppress(OSError):  # a task does not fail with its log
            self.path.parent.mkdir(exist_ok=True)
            with self.path.open("a" if self.created else "w", encoding="utf-8", errors="replace") as file:
                self.created = True
                file.write(text)

    @contextmanager
    def catching_crashes(self) -> Iterator[None]:
        """Open the file while plugin code runs: if the code kills the process, its stack is written here."""
        handle = -1
        with suppress(OSError):
            self.path.parent.mkdir(exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o666)
            self.created = True
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
            if not self.size and self.created:
                with suppress(OSError):
                    self.path.unlink()

    def writable(self) -> bool:
        """Return True."""
        return True

    def close(self) -> None:
        """Do nothing: a plugin may close its stdout, and later output still belongs here."""
