"""The errors a user can cause or mend: one line each, shown without a traceback."""

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """What is wrong, what was expected, what to type: one line for the user."""


class BrokenPlugin(BenchError):
    """A plugin that somebody asked for by name cannot be used."""


class StoreError(BenchError):
    """The store cannot be written or read: the run has to stop."""


class DamagedArtifact(BenchError):
    """An artifact's bytes are not those that were saved: it has to be made again."""


class NonFiniteLoss(BenchError):
    """A training loss became NaN or infinite: the training was stopped at once."""


def first_line(error: BaseException) -> str:
    """Give the first line of what an error says; empty where it says nothing."""
    try:
        lines = str(error).strip().splitlines()
    except Exception:  # a stranger's exception may not even have a text
        lines = []
    return lines[0] if lines else ""


def describe_error(error: BaseException) -> str:
    """Return the name of an error's class and the first line of its message."""
    line = first_line(error)
    return f"{type(error).__name__}: {line}" if line else type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Name the closest of the known names as a question with a space behind it; empty where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"Did you mean {close[0]!r}? " if close else ""
