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
SOME = 16
"""What a size is computed from where a program takes, say, multiples of four, and no end is named."""


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
    program, bounds = exported.module(), _batch_bounds(exported)
    return lambda images: _in_batches(program, images, *bounds)


def _batch_bounds(exported: Any) -> tuple[int, int]:
    """Return the smallest and the largest batch that an exported program takes; 0 where it has no bound.

    A size is fixed, or has the bounds of `torch.export.Dim`. torch 2.13 records a smallest one of 2 where nobody asked
    for it, and does not insist on it. Of multiples, such as `4 * Dim("n")`, one size is taken.
    """
    names = exported.graph_signature.user_inputs
    for node in exported.graph.nodes:
        if node.op == "placeholder" and node.name in names[:1]:
            size = node.meta["val"].shape[0]
            if isinstance(size, int):
                return size, size
            expression, ranges = size.node.expr, exported.range_constraints
            bounds = {s: _ends(ranges[s]) for s in expression.free_symbols if s in ranges}
            if expression.is_symbol:
                least, most = bounds.get(expression, (0, 0))
                return least if least > 2 else 0, most
            some = {symbol: most or max(least, SOME) for symbol, (least, most) in bounds.items()}
            fixed = int(expression.subs(some)) if len(some) == len(expression.free_symbols) else 0
            return fixed, fixed
    return 0, 0


def _ends(found: Any) -> tuple[int, int]:
    """Return the ends of a range of sizes; 0 for one that is infinite."""
    least, most = (int(n) if n.is_Integer else 0 for n in (found.lower, found.upper))
    return least, most


def _in_batches(program: Any, images: Tensor, least: int, most: int) -> object:
    """Ask a program in batches that it takes: a part that is too small is filled with copies of its last image."""
    import torch

    parts = []
    for part in torch.split(images, most or len(images)):
        missing = max(0, least - len(part))
        answers = program(torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part)
        if not isinstance(answers, torch.Tensor) or not answers.dim():
            return answers
        parts.append(answers[: len(part)] if missing else answers)
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
