"""The process in which a suspect is opened, asked and scored. It imports torch; the process that judges does not."""

import os
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.sandbox.process_state import gc_paused
from bench.sandbox.supervised_process import SupervisedProcess

if TYPE_CHECKING:
    from collections.abc import Callable

    from bench.models.description import Description
    from bench.verification.request import Request

LIMIT = 120.0
"""Seconds that a suspect may take to be opened, or to answer one batch."""


class Child:
    """A process that imports what a session needs as soon as it starts: most of what `bench verify` takes.

    So it is started before anything else is imported or read.
    """

    def __init__(self) -> None:
        self.process = SupervisedProcess(LIMIT)
        self._prepared = self.process.submit(_prepare)

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ask(self, model: "Description", request: "Request", threads: int) -> Iterator[Any]:
        """Start a session; yield the numbers of answers as they come, and its `Session` at the end."""
        received = self.process.submit(_ask, model, request, threads)
        yield from self._prepared
        yield from received

    def end(self) -> None:
        """End the process at once: what it was asked for has come, or is not wanted any more."""
        self.process.process.kill()
        self.process.close()


def _prepare(_: "Callable[[object], None]") -> None:
    os.environ["TMPDIR"] = tempfile.gettempdir()  # the parent removes it: onnxruntime leaves a file `.ses` there
    with gc_paused():
        import bench.verification.session  # noqa: F401


def _ask(send: "Callable[[object], None]", model: "Description", request: "Request", threads: int) -> None:
    from bench.verification.session import ask_and_score

    ask_and_score(send, model, request, threads)
