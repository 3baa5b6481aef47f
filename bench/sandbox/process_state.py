"""Put back what belongs to a whole process after foreign code ran in it."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

left_behind: list[threading.Thread] = []
"""Threads that plugin code started and did not end: this process would wait for them, perhaps for ever."""


@contextmanager
def uncollected() -> Iterator[None]:
    """Keep the garbage collector from walking over and over what is being made: imports or a plan leave no garbage."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def preserved_process_state() -> Iterator[None]:
    """Run foreign code, and put back: folder, environment, streams, signals, depth of recursion.

    Threads that it started and did not end are noted in `left_behind`.
    """
    folder: str | None = None
    with suppress(OSError):
        folder = os.getcwd()  # noqa: PTH109 (Path.cwd() is the same call)
    environment, streams, depth = dict(os.environ), (sys.stdout, sys.stderr), sys.getrecursionlimit()
    threads = set(threading.enumerate())
    main = threading.current_thread() is threading.main_thread()
    heard = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)} if main else {}
    # a file that is opened after standard output was closed takes its number: what we print would go into it
    copies = {n: os.dup(n) for n in (0, 1, 2) if _is_open(n)}
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
        for number, handler in heard.items():
            if handler is not None and signal.getsignal(number) is not handler:
                signal.signal(number, handler)
        sys.setrecursionlimit(depth)
        if dict(os.environ) != environment:
            for name in set(os.environ) - set(environment):
                del os.environ[name]
            os.environ.update(environment)
        if folder is not None:
            with suppress(OSError):
                os.chdir(folder)
        left_behind[:] = [t for t in left_behind if t.is_alive()]
        left_behind.extend(t for t in threading.enumerate() if t not in threads and not t.daemon)


@contextmanager
def watched() -> Iterator[threading.Event]:
    """Tell Ctrl-C from foreign code that raises KeyboardInterrupt: give an event that is set where it was pressed.

    Once it was, this ends in KeyboardInterrupt, whatever that code made of it.
    """
    pressed = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    heard = signal.getsignal(signal.SIGINT) if main else None
    if not callable(heard):  # only the main thread hears it, and a job in the background does not
        yield pressed
        return

    def hear(number: int, frame: FrameType | None) -> None:
        try:
            heard(number, frame)
        except KeyboardInterrupt:
            pressed.set()
            raise

    signal.signal(signal.SIGINT, hear)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, heard)
        if pressed.is_set():
            raise KeyboardInterrupt


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
