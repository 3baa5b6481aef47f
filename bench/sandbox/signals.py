"""Signal handlers of this process alone: the processes that it forks do not inherit them."""

import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import TypeAlias

Handler: TypeAlias = Callable[[int, FrameType | None], object]

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)
AGAIN = 1.0
"""Seconds between two interrupts of `interrupt_until_left`."""
_handled: list[int] = []
"""The signals that functions of bench handle in this process."""
_alarms: list[tuple[object, tuple[float, float]]] = []
"""The handler and the timer of SIGALRM that `interrupt_until_left` replaced."""


@contextmanager
def handling(functions: Mapping[int, Handler]) -> Iterator[None]:
    """Handle signals with functions, in this process only; restore the previous handlers afterwards.

    A process that is forked meanwhile ignores Ctrl-C, which a terminal sends to every process of the group: its parent
    decides. Every other signal ends it, as usual. Only the main thread may enter; a signal that this process ignores
    stays ignored, as in a background job.
    """
    previous = {n: signal.getsignal(n) for n in functions}
    chosen = [n for n, handler in previous.items() if handler is not signal.SIG_IGN]
    for number in chosen:
        signal.signal(number, functions[number])
    _handled.extend(chosen)
    try:
        yield
    finally:
        _restore_alarm()
        for number in chosen:
            _handled.remove(number)
            handler = previous[number]
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def ignore_from_now_on(number: int) -> None:
    """Do nothing at a signal, in this process only: it ends processes that are forked from this one, as usual.

    Only the main thread may call this.
    """
    signal.signal(number, lambda number, frame: None)
    _handled.append(number)


def interrupt_until_left() -> None:
    """Raise KeyboardInterrupt every second in the main thread until `handling` is left; not on Windows.

    Python drops one that is raised in a callback, such as those of a fork or of the end of an object. Only a handler of
    `handling` may call this.
    """
    if hasattr(signal, "setitimer") and not _alarms:
        timer = signal.getitimer(signal.ITIMER_REAL)
        _alarms.append((signal.signal(signal.SIGALRM, signal.default_int_handler), timer))
        signal.setitimer(signal.ITIMER_REAL, AGAIN, AGAIN)


def _restore_alarm() -> None:
    if _alarms:
        signal.setitimer(signal.ITIMER_REAL, 0)
        handler, timer = _alarms.pop()
        signal.signal(signal.SIGALRM, handler)  # type: ignore[arg-type]
        signal.setitimer(signal.ITIMER_REAL, *timer)


def _reset_in_child() -> None:
    """Reset the signals of a process that was just forked."""
    for number in set(_handled):
        with suppress(ValueError):
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)
    if _handled:
        signal.set_wakeup_fd(-1)
    _handled.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_in_child)
