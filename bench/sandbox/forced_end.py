"""End this process at the third Ctrl-C or SIGTERM, even if its main thread never looks at signals."""

import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from bench.sandbox.child_processes import kill_children
from bench.sandbox.signals import STOP_SIGNALS

LAST = 3
"""The stop signal that ends the process, whatever it does."""
PATIENCE = 2.0
"""Seconds that the process has after that signal to end by itself."""


@contextmanager
def ended_by_third_signal() -> Iterator[None]:
    """End this process, with exit code 130, when stop signals arrive three times. Only the main thread may enter.

    Python tells a thread of each signal that it handles, whatever the main thread does. Not on Windows.
    """
    if os.name != "posix":
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    thread = threading.Thread(target=_count, args=(reading,), daemon=True, name="bench: stop signals")
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        os.write(writing, b"\0")  # no signal: the context was left
        os.close(writing)


def _count(reading: int) -> None:
    left = LAST
    with open(reading, "rb", buffering=0) as numbers:
        while left:
            number = numbers.read(1)
            if number in (b"", b"\0"):
                return
            left -= number[0] in STOP_SIGNALS
        end = time.monotonic() + PATIENCE
        while (rest := end - time.monotonic()) > 0 and select.select([numbers], [], [], rest)[0]:  # other signals come
            if numbers.read(1) in (b"", b"\0"):
                return
    with suppress(OSError, ValueError, AttributeError):
        print("\nStopped at once: what was finished is stored", file=sys.__stderr__, flush=True)
    kill_children()
    os._exit(128 + signal.SIGINT)
