"""A described network that is behind a URL, asked by a process of its own (`bench.models.endpoint_asker`)."""

import importlib.util
import os
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bench.core.canonical import JSON
from bench.core.errors import BenchError, Interrupted
from bench.models.description import Description
from bench.models.endpoint_frames import read_frame, write_frame
from bench.sandbox.child_processes import MARK
from bench.sandbox.import_path import without_working_folder

MISSING = "it needs httpx: pip install 'fingerprint-bench[http]'"
ASK = "import sys; sys.path.append(sys.argv[1]); from bench.models.endpoint_asker import main; main()"
GRACE = 5.0
"""Seconds to wait for the end of a process that has nothing to do any more."""


class HttpNetwork:
    """Returns the raw answers of an endpoint to input images.

    `label_names` are the names of the model's labels in its own order. `record` has what the server reports about
    itself (`server`), the numbers of requests, images and retries (`counts`), and if bodies are binary (`binary`).
    BenchError names the field of the description that a failure concerns; it is `Interrupted` unless the server has
    read the request, and refuses it or gives no answer.
    """

    def __init__(self, model: Description, label_names: Sequence[str] = ()) -> None:
        if importlib.util.find_spec("httpx") is None:
            raise model.fault("format", MISSING)
        self.model = model
        self.record: dict[str, JSON] = {}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", ASK, str(Path(__file__).parents[2])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self.process)
        self._ask({"model": model.plain(), "names": list(label_names)})

    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the raw answers, [N] or [N, K], to input images."""
        _, answers = self._ask({}, inputs.numpy())
        return torch.from_numpy(answers.copy())

    def answer_into(
        self, journal: Path, keys: Sequence[str], inputs: Tensor, report: Callable[[int], object] = lambda _: None
    ) -> None:
        """Ask about the input images whose keys a journal lacks, and add each answered batch to it as it comes.

        `report` is called every second, also while a slow server or a retry is waited for, with the number of images
        that were answered since this object was made. If this process dies, what was on its way is added nevertheless.
        Then the next call waits for that.
        """
        self._ask({"journal": str(journal.absolute()), "keys": list(keys)}, inputs.numpy(), report)

    def close(self) -> None:
        """End the process; if it waits for answers, it ends with them."""
        self._end()

    def _ask(
        self, head: dict[str, JSON], values: Any = None, report: Callable[[int], object] = lambda _: None
    ) -> tuple[dict[str, JSON], Any]:
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            write_frame(self.process.stdin, head, None if values is None else values.astype(np.float32))
            while (reply := read_frame(self.process.stdout)) and "answered" in reply[0]:
                report(int(reply[0]["answered"]))
        except BrokenPipeError:
            reply = None
        except BaseException:  # such as Ctrl-C: a later call would read the reply to this one
            self.close()
            raise
        if reply is None:
            self.close()
            text = f"the process that asks it ended (exit code {self.process.poll()})"
            raise Interrupted(str(self.model.fault("url", text)))
        self.record |= {name: reply[0][name] for name in ("server", "counts", "binary") if name in reply[0]}
        if "error" in reply[0]:
            error = self._failure(str(reply[0]["field"]), str(reply[0]["error"]))
            raise error if reply[0].get("refused") else Interrupted(str(error))
        return reply

    def _failure(self, field: str, text: str) -> BenchError:
        return self.model.fault(field, text) if field else BenchError(text)


def _environment() -> dict[str, str]:
    """Return the variables of the process that asks: it may outlive this one, and no local file hides a module."""
    found = {name: value for name, value in os.environ.items() if name != MARK}
    if "PYTHONPATH" in found:
        found["PYTHONPATH"] = without_working_folder(found["PYTHONPATH"])
    return found


def _end(process: "subprocess.Popen[bytes]") -> None:
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            stream.close() if stream else None
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
