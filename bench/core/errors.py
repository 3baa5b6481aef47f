"""Errors that a user can cause or fix, and text about errors.

`bench` shows a `BenchError` as one line without a traceback: what is wrong, what was expected, what to type. Any other
exception is a bug of bench or of a plugin; its traceback goes to the log of the task.
"""

import difflib
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

MOST_LINES = 20
"""Lines of a list of problems that is printed."""


class BenchError(Exception):
    """An error that a user can cause or fix; its message is one line."""


class BrokenPlugin(BenchError):
    """A plugin that was requested by name cannot be used; the message says why."""


class StoreError(BenchError):
    """The store cannot be read or written; the whole run stops."""


class DamagedArtifact(BenchError):
    """The bytes of an artifact differ from those that were saved; the artifact is recomputed."""


class NotApplicable(BenchError):
    """A method, an attack or a network does not apply here, for the reason in its message, one line.

    Raised by a plugin, it is no failure: the rows concerned have the status `not_applicable` and this reason.
    """


class Interrupted(BenchError):
    """A limit or a failure outside this program ended something that the same command goes on with."""


class NonFiniteLoss(BenchError):
    """A training loss became NaN or infinite; the task is retried once with another seed."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, and the next one if it ends with a colon; empty if it has none."""
    try:
        lines = [line.strip() for line in str(error).strip().splitlines()]
    except Exception:  # `__str__` of a third-party exception may raise
        return ""
    return " ".join(lines[: 2 if lines and lines[0].endswith(":") else 1])


def printable(text: str) -> str:
    """Return a text of unknown origin as one line, with spaces in place of what no terminal should get."""
    return "".join(c if c.isprintable() else " " for c in text)


def describe_error(error: BaseException) -> str:
    """Return the name of an error's class and the first line of its message."""
    line = first_line(error)
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def calling_line() -> str:
    """Return the file and line of the code outside this package that called it, such as ` (mine.py, line 3)`."""
    here, frame = f"{Path(__file__).parents[1]}{os.sep}", sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith((here, "<")):
        frame = frame.f_back
    return f" ({Path(frame.f_code.co_filename).name}, line {frame.f_lineno})"


def capped(lines: Sequence[str], most: int = MOST_LINES) -> list[str]:
    """Return the first lines of a list, and how many more there are."""
    more = len(lines) - most
    return [*lines[:most], f"and {more:,} more"] if more > 1 else list(lines)


def limited(show: Callable[[str], object], most: int = MOST_LINES) -> Callable[[str], None]:
    """Return a function that shows the first lines of many, and then once that others are not listed."""
    count = itertools.count(1)

    def shown(line: str) -> None:
        number = next(count)
        if number <= most + 1:
            show(line if number <= most else "others like these are not listed")

    return shown


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a question that names the closest known name, with a trailing space; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}? " if close else ""
