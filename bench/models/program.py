"""Run a described network that is a program (TorchScript, `.pt2`) in a process of its own.

Loading such a file may execute what its author wrote. The process has no network where the system allows that, a limit
of memory and time, an environment without the user's variables, and it can write small files only. What it answers is
read as bytes, never unpickled. All of this makes accidents harmless; it is no prison for a determined attacker, who
still runs as this user: hence `--allow-code`.
"""

import json
import os
import select
import site
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from contextlib import suppress
from typing import IO

import numpy as np
import torch
from torch import Tensor

from bench.core.errors import BenchError, printable
from bench.models.description import Description

LIMIT = 120.0
"""Seconds until the start of a program, or an answer to AT_ONCE images, is given up."""
AT_ONCE = 64
MEMORY = 16 << 30
"""Bytes of address space of a program's process; importing torch takes several GiB of it."""
LARGEST = 1 << 30
"""Bytes of one answer."""
SERVE = "from bench.models.program_server import serve; serve()"
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "LANG")
"""Variables of the environment that the process gets."""
LENGTH = struct.Struct(">Q")


class ProgramNetwork:
    """Returns the raw answers of a program to images; the process ends with this object.

    BenchError if the program cannot be loaded, fails, dies, takes longer than `limit` seconds for AT_ONCE images, or
    answers with anything but one tensor of numbers.
    """

    def __init__(self, model: Description, content: bytes, threads: int, limit: float = LIMIT) -> None:
        self.model, self.limit = model, limit
        self.folder = tempfile.TemporaryDirectory(prefix="bench-program-", ignore_cleanup_errors=True)
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        environment |= {"OMP_NUM_THREADS": str(threads), "HOME": self.folder.name, "TMPDIR": self.folder.name}
        if site.ENABLE_USER_SITE:  # bench or torch may be there, which is found by HOME otherwise
            environment["PYTHONUSERBASE"] = site.getuserbase()
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(model.format), str(threads), str(MEMORY)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.folder.name,
            env=environment,
        )
        self._end = weakref.finalize(self, _end, self.process, self.folder)
        self._ask(content, "file", limit)

    def __call__(self, images: Tensor) -> Tensor:
        """Return the raw answers to input images."""
        values = np.ascontiguousarray(images.numpy(), dtype="<f4")
        header = json.dumps(values.shape).encode()
        limit = self.limit * max(1.0, len(values) / AT_ONCE)
        reply = self._ask(LENGTH.pack(len(header)) + header + values.tobytes(), "output", limit)
        try:
            (size,) = LENGTH.unpack_from(reply)
            kind, shape = json.loads(reply[LENGTH.size : LENGTH.size + size])
            array = np.frombuffer(reply, {"f": "<f4", "i": "<i8"}[kind], offset=LENGTH.size + size).reshape(shape)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError, struct.error):
            raise self.model.fault("output", "its process answers with bytes that are no tensor") from None
        if array.ndim == 0 or len(array) != len(values):
            raise self.model.fault("output", f"it answers {len(values)} images with {list(array.shape)}")
        return torch.from_numpy(array.copy())

    def close(self) -> None:
        """End the process."""
        self._end()

    def _ask(self, payload: bytes, field: str, limit: float) -> bytes:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None and stdout is not None
        deadline = time.monotonic() + limit
        try:
            _write(stdin, LENGTH.pack(len(payload)) + payload, deadline)
            (length,) = LENGTH.unpack(_read(stdout, LENGTH.size, deadline))
            if not 1 <= length <= LARGEST:
                raise self.model.fault(field, "its process answers with bytes that are no tensor")
            reply = _read(stdout, length, deadline)
        except TimeoutError:
            self.close()
            raise self.model.fault(field, f"it ran longer than {limit:g} s and was stopped") from None
        except (OSError, EOFError, ValueError):  # its pipes are closed if it ended before
            self.close()
            code = self.process.returncode
            raise self.model.fault(field, f"it ended its process (exit code {code})") from None
        except BenchError:
            self.close()
            raise
        if reply[:1] == b"E":
            raise self.model.fault(field, printable(reply[1:].decode(errors="replace"))[:300])
        return reply[1:]


def _write(stream: IO[bytes], content: bytes, deadline: float) -> None:
    """Write to a pipe whose reader may never read; TimeoutError after the deadline."""
    handle, view = stream.fileno(), memoryview(content)
    os.set_blocking(handle, False)
    while view:
        _wait([], [handle], deadline)
        view = view[os.write(handle, view) :]


def _read(stream: IO[bytes], count: int, deadline: float) -> bytes:
    """Read from a pipe; TimeoutError after the deadline, EOFError if it is closed."""
    parts: list[bytes] = []
    while count:
        _wait([stream.fileno()], [], deadline)
        part = os.read(stream.fileno(), min(count, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _wait(readers: list[int], writers: list[int], deadline: float) -> None:
    if not any(select.select(readers, writers, [], max(0.0, deadline - time.monotonic()))):
        raise TimeoutError


def _end(process: "subprocess.Popen[bytes]", folder: "tempfile.TemporaryDirectory[str]") -> None:
    process.kill()
    for stream in (process.stdin, process.stdout):
        with suppress(OSError):
            stream.close() if stream else None
    process.wait()
    folder.cleanup()
