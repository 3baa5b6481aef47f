"""Run work in a separate process that may hang or die, while this process continues."""

import faulthandler
import multiprocessing
import os
import re
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.core.errors import BenchError
from bench.sandbox.child_processes import complete_start, safe_start

GRACE = 10
"""Seconds that a hanging process has, after its limit, to end itself."""
FRAME = re.compile(r'File "(.+)", line (\d+) in (.+)')


class Died(Exception):
    """A process ended before its work was done. `frames` is its stack: file, line, function."""

    def __init__(self, how: str, frames: list[tuple[str, int, str]]) -> None:
        super().__init__(how)
        self.frames = frames


class SupervisedProcess:
    """A separate process that does work; it is stopped if it sends nothing for `limit` seconds.

    It may have child processes, which end with it.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.folder = tempfile.TemporaryDirectory(prefix="bench-process-", ignore_cleanup_errors=True)
        self.stack = Path(self.folder.name) / "stack.txt"
        self.stack.touch()
        context = multiprocessing.get_context("spawn")
        self.connection, other_end = context.Pipe()
        arguments = other_end, self.folder.name, str(self.stack), limit
        self.process = context.Process(target=_serve, args=arguments, daemon=True)
        with _own_hash_seed(), safe_start():
            self.process.start()
        other_end.close()

    def submit(self, work: Callable[..., None], *arguments: Any) -> Iterator[Any]:
        """Start `work(send, *arguments)` in the process, and yield each object that it sends.

        `work` is a function of an importable module. Raises its BenchError; RuntimeError with the traceback of any
        other exception; Died if the process ended or exceeded its limit.
        """
        with suppress(OSError):  # the pipe of a dead process: `_received` raises Died
            self.connection.send((work, arguments))
        return self._received()

    def _received(self) -> Iterator[Any]:
        while True:
            try:
                kind, content = self.connection.recv() if self.connection.poll(self.limit + GRACE) else ("hang", None)
            except (EOFError, OSError):
                kind, content = "death", None
            if kind == "sent":
                yield content
            elif kind == "end":
                return
            elif kind == "refusal":
                raise BenchError(content)
            elif kind == "error":
                raise RuntimeError(content)
            else:
                raise self._death(kind == "hang")

    def _death(self, hangs: bool) -> Died:
        if hangs:
            self.process.kill()
        self.process.join(GRACE)
        code = self.process.exitcode or 0
        text = ""
        with suppress(OSError):  # `close` removes the file
            text = self.stack.read_text(encoding="utf-8", errors="replace")
        self.close()
        if hangs or text.startswith("Timeout"):
            how = f"ran longer than {self.limit:g} s and was stopped"
        elif code < 0:
            how = f"killed its process ({next((s.name for s in signal.Signals if s == -code), -code)})"
        else:
            how = f"ended its process (exit code {code})"
        return Died(how, [(file, int(line), name) for file, line, name in FRAME.findall(text)])

    def close(self) -> None:
        """End the process, within a second, and remove its files."""
        self.connection.close()
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.folder.cleanup()


@contextmanager
def _own_hash_seed() -> Iterator[None]:
    """Hide this process's hash seed from a process that is started.

    Hashes of strings have to differ between two processes, as they do between two runs.
    """
    seed = os.environ.pop("PYTHONHASHSEED", None)
    try:
        yield
    finally:
        if seed is not None:
            os.environ["PYTHONHASHSEED"] = seed


def _serve(connection: Connection, folder: str, stack: str, limit: float) -> None:
    """Do the work that arrives until the other end closes; a fatal signal or a timeout writes the stack to `stack`."""
    tempfile.tempdir = folder  # the parent removes it, however this process ends
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process of the group
    complete_start()
    with Path(stack).open("w", encoding="utf-8") as file, suppress(EOFError, OSError):
        faulthandler.enable(file)
        while True:
            work, arguments = connection.recv()

            def send(content: Any) -> None:
                faulthandler.dump_traceback_later(limit, exit=True, file=file)
                connection.send(("sent", content))

            faulthandler.dump_traceback_later(limit, exit=True, file=file)
            last = _last_message(work, send, arguments)
            faulthandler.cancel_dump_traceback_later()
            connection.send(last)


def _last_message(
    work: Callable[..., None], send: Callable[[Any], None], arguments: tuple[Any, ...]
) -> tuple[str, str | None]:
    try:
        work(send, *arguments)
    except BenchError as error:
        return "refusal", str(error)
    except Exception:  # an error of bench itself: the parent raises it with its traceback
        return "error", traceback.format_exc()
    return "end", None
