"""Restore the state of the whole process after third-party code ran in it."""

import _signal  # type: ignore[import-not-found]  # typeshed has only `signal`, which makes enums
import functools
import gc
import locale
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from bench.sandbox.signals import STOP_SIGNALS, Handler, handling

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


def restore_environment(environment: Mapping[str, str]) -> None:
    """Set the environment variables to those of `environment`, and remove all others."""
    if dict(os.environ) != environment:
        for name in set(os.environ) - set(environment):
            del os.environ[name]
        os.environ.update(environment)


def _environment() -> dict[Any, Any]:
    """Return the environment variables as Python holds them: to decode them takes longer than all other settings."""
    return dict(getattr(os.environ, "_data", os.environ))


def _set_environment(held: dict[Any, Any]) -> None:
    if _environment() != held:
        decoded = hasattr(os.environ, "_data")
        names = {os.environ.decodekey(k): os.environ.decodevalue(v) for k, v in held.items()} if decoded else held
        restore_environment(names)


def _folder() -> str | None:
    with suppress(OSError):  # it was removed
        return os.getcwd()  # noqa: PTH109 (Path.cwd() is the same call)
    return None


def _umask() -> int:
    value = os.umask(0o077)
    os.umask(value)
    return value


def _start_method() -> str | None:
    loaded = sys.modules.get("multiprocessing")
    return loaded.get_start_method(allow_none=True) if loaded else None


def _set_start_method(method: str | None) -> None:
    if _start_method() != method:
        sys.modules["multiprocessing"].set_start_method(method, force=True)


def _logging() -> tuple[int, list[Any], int]:
    """Return level and handlers of the root logger, and the level that is disabled."""
    loaded = sys.modules.get("logging")
    return (loaded.root.level, loaded.root.handlers.copy(), loaded.root.manager.disable) if loaded else (30, [], 0)


def _set_logging(state: tuple[int, list[Any], int]) -> None:
    if _logging() != state:
        root = sys.modules["logging"].root
        root.setLevel(state[0])
        root.handlers[:] = state[1]
        root.manager.disable = state[2]


def _signals() -> dict[int, Any]:
    """Return the handlers of signals; torch's, of SIGCHLD, notices workers that died: it is set once per process."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    return {n: _signal.getsignal(n) for n in _numbers()}


@functools.cache
def _numbers() -> tuple[int, ...]:
    """Return the numbers of all signals but SIGCHLD: plain ones, since each enum costs more than the handler."""
    return tuple(int(n) for n in signal.valid_signals() if n != getattr(signal, "SIGCHLD", None))


def _set_signals(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        if handler is not None and _signal.getsignal(number) is not handler:
            _signal.signal(number, handler)


def _mask() -> set[int]:
    return signal.pthread_sigmask(signal.SIG_BLOCK, ()) if hasattr(signal, "pthread_sigmask") else set()


def _set_mask(numbers: set[int]) -> None:
    if _mask() != numbers:
        signal.pthread_sigmask(signal.SIG_SETMASK, numbers)


def _timer() -> bool:
    """Return True if an alarm is set, which ends a process that does not handle it."""
    return hasattr(signal, "getitimer") and signal.getitimer(signal.ITIMER_REAL)[0] > 0


def _set_timer(running: bool) -> None:
    if not running and _timer():
        signal.setitimer(signal.ITIMER_REAL, 0)


def _torch() -> tuple[list[object], int] | None:
    """Return torch's global settings; None if it is not imported, which this does not do."""
    if "torch" not in sys.modules:
        return None
    from bench.sandbox.torch_settings import settings

    return settings()


def _set_torch(state: tuple[list[object], int] | None) -> None:
    if "torch" in sys.modules:
        from bench.sandbox.torch_settings import apply

        apply(state)


def _set_streams(streams: tuple[Any, Any]) -> None:
    sys.stdout, sys.stderr = streams


def _set_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


SETTINGS: tuple[tuple[Callable[[], Any], Callable[[Any], object]], ...] = (
    (_signals, _set_signals),
    (_mask, _set_mask),
    (_timer, _set_timer),
    (lambda: (sys.stdout, sys.stderr), _set_streams),
    (_environment, _set_environment),
    (_folder, _set_folder),
    (_umask, os.umask),
    (lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    (_start_method, _set_start_method),
    (_logging, _set_logging),
    (sys.getrecursionlimit, sys.setrecursionlimit),
    (_torch, _set_torch),
    (gc.isenabled, lambda collects: gc.enable() if collects else gc.disable()),
)
"""The state of a process that third-party code may change: how to read each part, and how to set it."""


@contextmanager
def preserved_process_state() -> Iterator[None]:
    """Run third-party code, then restore the state of the process: `SETTINGS`, warning filters, standard streams.

    Threads that it started and did not end are added to `leftover_threads`. A process that it forked and that comes to
    the end of this context is ended: it must not continue this one's work.
    """
    process, threads = os.getpid(), set(threading.enumerate())
    state = [(write, read()) for read, write in SETTINGS]
    # if third-party code closes standard output, the next file it opens gets number 1, and our output
    copies = {n: os.dup(n) for n in (0, 1, 2) if _is_open(n)}
    try:
        with warnings.catch_warnings():
            yield
    finally:
        if os.getpid() != process:
            os._exit(1)
        for number, copy in copies.items():
            os.dup2(copy, number)
            os.close(copy)
        for write, value in state:
            with suppress(OSError, ValueError, locale.Error):
                write(value)
        leftover_threads[:] = [t for t in leftover_threads if t.is_alive()]
        leftover_threads.extend(t for t in threading.enumerate() if t not in threads and not t.daemon)


@contextmanager
def hidden_event_loop() -> Iterator[None]:
    """Run third-party code as if no event loop ran in this thread: notebooks run their cells in one.

    `asyncio.run` would refuse.
    """
    asyncio = sys.modules.get("asyncio")
    loop = asyncio._get_running_loop() if asyncio else None
    if asyncio is None or loop is None:
        yield
        return
    # Python has no public way: it documents these functions for authors of event loops
    task = asyncio.current_task(loop)
    if task is not None:
        asyncio._leave_task(loop, task)
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(loop)
        if task is not None:
            asyncio._enter_task(loop, task)


@contextmanager
def genuine_interrupts() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets: third-party code may raise KeyboardInterrupt itself, or catch ours.

    If the event is set, leaving the context raises KeyboardInterrupt.
    """
    pressed = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    # only the main thread receives signals, and a background job ignores Ctrl-C
    handlers: dict[int, Handler] = {n: h for n in STOP_SIGNALS if main and callable(h := signal.getsignal(n))}
    if not handlers:
        yield pressed
        return

    def note(number: int, frame: FrameType | None) -> None:
        try:
            handlers[number](number, frame)
        except KeyboardInterrupt:
            pressed.set()
            raise

    try:
        with handling(dict.fromkeys(handlers, note)):
            yield pressed
    finally:
        if pressed.is_set():
            raise KeyboardInterrupt


@contextmanager
def deferred_interrupts() -> Iterator[None]:
    """Delay Ctrl-C until this context ends; a second one does not wait.

    What is interrupted half done stays so: an import leaves half a module behind, a start of workers its processes.
    """
    pressed: list[int] = []
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT) if main else None
    if not callable(handler):
        yield
        return

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        if len(pressed) > 1:
            handler(number, frame)

    with handling({signal.SIGINT: note}):
        yield
    if pressed:
        handler(signal.SIGINT, None)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
