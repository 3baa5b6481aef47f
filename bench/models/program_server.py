"""The process in which a program runs: limits first, then torch, then the file, then answers.

Frames on both pipes: eight bytes of length, big-endian, and the content. The first frame is the file; later ones are
images: eight bytes of length, the shape as JSON, float32, little-endian. Answers start with `A`, errors with `E`.
"""

from __future__ import annotations

import ctypes
import io
import json
import os
import struct
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = struct.Struct(">Q")
NEW_USERS, NEW_NETWORK = 0x10000000, 0x40000000
"""Flags of Linux's `unshare`."""
LARGEST_FILE = 1 << 20
"""Bytes of a file that the process may write: torch tries whether a folder for temporary files is there."""
DIE_WITH_PARENT, NO_NEW_PRIVILEGES = 1, 38
"""Options of Linux's `prctl`."""


def serve() -> None:
    """Serve one program until standard input ends."""
    kind, threads, memory = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    requests = os.fdopen(os.dup(0), "rb")
    replies = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # what a program prints must not mix with answers
        os.dup2(nothing, stream)
    confine(memory)
    run: Callable[[Any], object] | None = None
    while content := _frame(requests):
        try:
            if run is None:
                run = _loaded(kind, content, threads)
                reply = b"A"
            else:
                reply = b"A" + _answer(run, content)
        except BaseException as error:  # a program may raise anything
            first, *others = str(error).strip().splitlines() or [""]
            # An error of TorchScript has a traceback of its own, and what went wrong in its last line.
            text = others[-1] if "Traceback" in str(error) and others else f"{type(error).__name__}: {first}"
            reply = f"E{text}".encode(errors="replace")
        replies.write(LENGTH.pack(len(reply)) + reply)
        replies.flush()


def confine(memory: int) -> None:
    """Limit this process: no network, no large files, no more memory than some bytes; as far as the system can."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        limits = {resource.RLIMIT_AS: memory, resource.RLIMIT_FSIZE: LARGEST_FILE, resource.RLIMIT_CORE: 0}
        for limit, most in limits.items():
            resource.setrlimit(limit, (most, most))
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            libc = ctypes.CDLL(None, use_errno=True)
            libc.prctl(DIE_WITH_PARENT, 9, 0, 0, 0)
            libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
            if libc.unshare(NEW_NETWORK) != 0:
                libc.unshare(NEW_USERS | NEW_NETWORK)


def _frame(requests: IO[bytes]) -> bytes:
    head = requests.read(LENGTH.size)
    return requests.read(LENGTH.unpack(head)[0]) if len(head) == LENGTH.size else b""


def _loaded(kind: str, content: bytes, threads: int) -> Callable[[Any], object]:
    import torch

    torch.set_num_threads(threads)
    if kind == "torchscript":
        module = torch.jit.load(io.BytesIO(content), map_location="cpu").eval()
        return lambda images: module(images)
    exported = torch.export.load(io.BytesIO(content))
    program, batch = exported.module(), _fixed_batch(exported)
    return lambda images: _in_batches(program, images, batch)


def _fixed_batch(exported: Any) -> int:
    """Return the batch size that an exported program is fixed to; 0 if it takes any."""
    names = exported.graph_signature.user_inputs
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in names[:1]:
            size = node.meta["val"].shape[0]
            return size if isinstance(size, int) else 0
    return 0


def _in_batches(program: Any, images: Tensor, batch: int) -> object:
    import torch

    if not batch:
        return program(images)
    parts = []
    for part in torch.split(images, batch):
        filled = torch.cat([part, part[-1:].expand(batch - len(part), -1, -1, -1)])
        answers = program(filled)
        if not isinstance(answers, torch.Tensor):
            return answers
        parts.append(answers[: len(part)])
    return torch.cat(parts)


def _answer(run: Callable[[Any], object], content: bytes) -> bytes:
    import numpy as np
    import torch

    (size,) = LENGTH.unpack_from(content)
    shape = json.loads(content[LENGTH.size : LENGTH.size + size])
    images = np.frombuffer(content, "<f4", offset=LENGTH.size + size).reshape(shape)
    with torch.no_grad():
        answers = run(torch.from_numpy(images.copy()))
    if not isinstance(answers, torch.Tensor):
        count = f" of {len(answers)}" if isinstance(answers, tuple | list | dict) else ""
        raise TypeError(f"it answers with a {type(answers).__name__}{count}, not with one tensor")
    real = answers.is_floating_point()
    array = answers.detach().cpu().to(torch.float32 if real else torch.int64).contiguous().numpy()
    header = json.dumps(["f" if real else "i", list(array.shape)]).encode()
    return LENGTH.pack(len(header)) + header + array.tobytes()
