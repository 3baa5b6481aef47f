"""A process of its own for work that may hang its process, or kill it; whatever becomes of it, this one goes on."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.core.errors import BenchError

GRACE = 10
"""Seconds after its limit in which a process that hangs should have ended itself."""
FRAME = re.compile(r'File "(.+)", line (\d+) in (.+)')


class Died(Exception):
    """What ended a process before its work was done, for people; `frames` is where it was: file, line, function."""

    def __init__(self, how: str, frames: list[tuple[str, int, str]]) -> None:
        super().__init__(how)
        self.frames = frames


class SupervisedProcess:
    """A process that works for this one. `limit` is how many seconds it may go without telling anything."""

    def __init__(self, limit: float, daemon: bool = True) -> None:
        self.limit, self.daemon = limit, daemon
        self.folder = tempfile.TemporaryDirectory(prefix="bench-apart-", ignore_cleanup_errors=True)
        self.stack = Path(self.folder.name) / "stack.txt"
        self.stack.touch()
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        given = theirs, self.folder.name, str(self.stack), limit
        self.process = context.Process(target=_serve, args=given, daemon=daemon)
        with _starting():
            self.process.start()
        theirs.close()

    def ask(self, work: Callable[..., None], *given: Any) -> Iterator[Any]:
        """Let it do `work(tell, *given)` at once; yield what it tells, one by one.

        BenchError as the work raised it; Died where the process ended, or went over its limit.
        """
        with suppress(OSError):  # a process that is gone is found out below
            self.connection.send((work, given))
        return self._told()

    def _told(self) -> Iterator[Any]:
        while True:
            try:
                what, told = self.connection.recv() if self.connection.poll(self.limit + GRACE) else ("hangs", None)
            except (EOFError, OSError):
                what, told = "died", None
            if what == "told":
                yield told
            elif what == "done":
                return
            elif what == "refused":
                raise BenchError(told)
            elif what == "failed":
                raise RuntimeError(told)
            else:
                raise self._death(what == "hangs")

    def _death(self, hangs: bool) -> Died:
        if hangs:
            self.process.kill()
        self.process.join(GRACE)
        code = self.process.exitcode or 0
        text = self.stack.read_text(errors="replace") if self.stack.is_file() else ""  # gone: it was closed before
        self.close()
        if hangs or text.startswith("Timeout"):
            how = f"ran longer than {self.limit:g} s and was stopped"
        elif code < 0:
            how = f"killed its process ({next((s.name for s in signal.Signals if s == -code), -code)})"
        else:
            how = f"ended its process (exit code {code})"
        return Died(how, [(file, int(line), name) for file, line, name in FRAME.findall(text)])

    def close(self) -> None:
        """End the process, and remove its files; one that is at work gets a second to notice."""
        self.connection.close()
        self.process.join(1)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.folder.cleanup()


@contextmanager
def _starting() -> Iterator[None]:
    """Hide the script that this process runs, which a new one would run again, and the seed of its hashes.

    Whoever wrote the script without a guard would start processes without end; and what depends on how texts are
    hashed is to differ between two processes, as it does between two runs.
    """
    main, seed = sys.modules["__main__"], os.environ.pop("PYTHONHASHSEED", None)
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
        if seed is not None:
            os.environ["PYTHONHASHSEED"] = seed


def _serve(connection: Connection, folder: str, stack: str, limit: float) -> None:
    """Do what is asked until nobody is there to ask. A fault that kills, and a hang, leave a stack in `stack`."""
    tempfile.tempdir = folder  # whatever becomes of this process, its files go away
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to every process of the group
    with Path(stack).open("w") as file, suppress(EOFError, OSError):
        faulthandler.enable(file)
        while True:
            work, given = connection.recv()

            def tell(told: Any) -> None:
                faulthandler.dump_traceback_later(limit, exit=True, file=file)
                connection.send(("told", told))

            faulthandler.dump_traceback_later(limit, exit=True, file=file)
            answer = _done(work, tell, given)
            faulthandler.cancel_dump_traceback_later()
            connection.send(answer)


def _done(work: Callable[..., None], tell: Callable[[Any], None], given: tuple[Any, ...]) -> tuple[str, str | None]:
    try:
        work(tell, *given)
    except BenchError as error:
        return "refused", str(error)
    except Exception:  # our own fault: told where it can be seen
        return "failed", traceback.format_exc()
    return "done", None
