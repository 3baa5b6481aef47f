"""Name what a slow import is busy with: a plugin, or a library that the plugin imports."""

import os
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

MACHINERY = "<frozen importlib"
"""How the file names of Python's own import code begin."""

LOOKS = 20
"""How often the watching thread looks at the imports until one of them is slow."""


@dataclass(frozen=True)
class _Import:
    """What is imported: the plugin, the path of its file as soon as that is known, and when that began."""

    plugin: str
    file: Callable[[], str]
    begun: float


class SlowImports:
    """Reports on standard error which plugin takes longer than `limit` seconds to import, and what takes so long.

    One thread watches all imports of a context: most take less time than the start of a thread.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._stderr, self._importer = sys.stderr, threading.get_ident()
        self._current: _Import | None = None
        self._ended = threading.Event()

    def __enter__(self) -> "SlowImports":
        if threading.current_thread() is threading.main_thread():  # a worker's task has its own time limit
            threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()

    @contextmanager
    def importing(self, plugin: str, file: Callable[[], str]) -> Iterator[None]:
        """Watch the import of a plugin. `file` returns the path of its file, as soon as that is known.

        The KeyboardInterrupt of a Ctrl-C names the plugin.
        """
        self._current = _Import(plugin, file, time.monotonic())
        try:
            yield
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"while {plugin} was imported") from None
        finally:
            self._current = None

    def _watch(self) -> None:
        reported = None
        while not self._ended.wait(self.limit / LOOKS):
            current = self._current
            if current and current is not reported and time.monotonic() - current.begun >= self.limit:
                reported = current
                with suppress(OSError, ValueError):  # the stream may be closed
                    state = _state(current.plugin, current.file(), self._importer, self.limit)
                    print(f"Still importing {state}", file=self._stderr, flush=True)


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
