"""Name what a slow import is busy with: a plugin, or a library that the plugin imports."""

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

MACHINERY = "<frozen importlib"
"""How the file names of Python's own import code begin."""


@contextmanager
def reported_import(plugin: str, file: Callable[[], str], limit: float) -> Iterator[None]:
    """Report on standard error that importing a plugin takes longer than `limit` seconds, and what takes so long.

    `file` returns the path of the plugin's file, as soon as that is known. The KeyboardInterrupt of a Ctrl-C names the
    plugin.
    """
    if threading.current_thread() is not threading.main_thread():  # a worker's task, which has its own time limit
        yield
        return
    stderr, thread = sys.stderr, threading.get_ident()

    def warn() -> None:
        with suppress(OSError, ValueError):  # the stream may be closed
            print(f"Still importing {_state(plugin, file(), thread, limit)}", file=stderr, flush=True)

    timer = threading.Timer(limit, warn)
    timer.daemon = True
    timer.start()
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"while {plugin} was imported") from None
    finally:
        timer.cancel()


def _state(plugin: str, file: str, thread: int, limit: float) -> str:
    library, line = _current_import(file, thread)
    where = f" ({Path(file).name}, line {line})" if line else ""
    if library:
        slow = "the first import of a large library may take minutes on a slow disk"
        return f"{library} after {limit:g} s, which {plugin} needs{where}: {slow}. Ctrl-C stops"
    return f"{plugin} after {limit:g} s: Ctrl-C stops. If it hangs{where}, uninstall it or leave --plugin out"


def _current_import(file: str, thread: int) -> tuple[str, int]:
    """Return what a plugin's file is importing, and the line; empty if it imports nothing, 0 if it is not running."""
    library, inner = "", ""
    for frame, line in traceback.walk_stack(sys._current_frames().get(thread)):
        name = frame.f_code.co_filename
        if file and os.path.realpath(name) == file:
            return library if inner.startswith(MACHINERY) else "", line
        if frame.f_code.co_name == "<module>":
            library = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        inner = name
    return "", 0
