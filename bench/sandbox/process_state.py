"""Restore the state of the whole process after third-party code ran in it."""

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

leftover_threads: list[threading.Thread] = []
"""Running threads that plugin code started and did not end: the interpreter would wait for them at its exit."""


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector, where code makes many objects and no garbage: imports, plans."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


@contextmanager
def preserved_process_state() -> Iterator[None]:
    """Run third-party code, then restore folder, environment, streams, signal handlers and recursion limit.

    Threads that it started and did not end are added to `leftover_threads`.
    """
    folder: str | None = None
    with suppress(OSError):
        folder = os.getcwd()  # noqa: PTH109 (Path.cwd() is the same call)
    environment, streams, depth = dict(os.environ), (sys.stdout, sys.stderr), sys.getrecursionlimit()
    threads = set(threading.enumerate())
    main = threading.current_thread() is threading.main_thread()
    handlers = {s: signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)} if main else {}
    # if third-party code closes standard output, the next file it opens gets number 1, and our output
    copies = {n: os.dup(n) for n in (0, 1, 2) if _is_open(n)}
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
        for number, handler in handlers.items():
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
        leftover_threads[:] = [t for t in leftover_threads if t.is_alive()]
        leftover_threads.extend(t for t in threading.enumerate() if t not in threads and not t.daemon)


@contextmanager
def genuine_interrupts() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C sets: third-party code may raise KeyboardInterrupt itself, or catch ours.

    If the event is set, leaving the context raises KeyboardInterrupt.
    """
    pressed = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    if not callable(handler):  # only the main thread receives signals, and a background job ignores this one
        yield pressed
        return

    def note(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except KeyboardInterrupt:
            pressed.set()
            raise

    signal.signal(signal.SIGINT, note)
    try:
        yield pressed
    finally:
        signal.signal(signal.SIGINT, handler)
        if pressed.is_set():
            raise KeyboardInterrupt


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
