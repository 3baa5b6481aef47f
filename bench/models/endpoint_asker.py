"""The process that asks an endpoint, in a session of its own: `main`, which `bench.models.endpoint` starts.

It writes each answered batch to the journal before it reports it. When the process that started it is gone, however
that ended, it sends nothing more, waits for the requests that are on their way, journals their answers, and ends. So
no answer is lost, and nothing is asked twice. Nothing here imports torch.
"""

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from msgspec import convert
from numpy.typing import NDArray

from bench.core.canonical import JSON
from bench.core.errors import BenchError, describe_error
from bench.models.description import Description
from bench.models.endpoint_client import ENDED, Client, Failure
from bench.models.endpoint_frames import read_frame, write_frame
from bench.models.endpoint_protocol import filled, fixed_batch
from bench.models.journal import append, read
from bench.models.kinds import ModelOutput
from bench.store.locks import has_locks

BEAT = 1.0
"""Seconds between two reports to the parent while it waits."""
PATIENCE = 30.0
"""Seconds beyond the timeout of a request that another process may still ask, whose parent is gone."""

NO_NUMBER = "it answers with NaN, or with null, which servers write for NaN and infinity"
INFINITE = "it answers with NaN or infinity"


class Asker:
    """Answers the frames of its parent until they end. The first describes the endpoint."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[tuple[dict[str, JSON], Any] | None] = asyncio.Queue()
        self.stopped = asyncio.Event()
        self.answered: dict[Path, set[str]] = {}
        self.locks: list[Any] = []
        self.count = 0
        self.client: Client | None = None
        self.model: Description | None = None

    async def serve(self, replies: IO[bytes]) -> None:
        """Serve until the parent is gone."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
            with suppress(NotImplementedError, ValueError):  # Windows
                loop.add_signal_handler(number, self.stopped.set)
        threading.Thread(target=self._read, args=(loop,), daemon=True).start()
        while (frame := await self.frames.get()) and not self.stopped.is_set():
            head, values = frame
            beat = asyncio.create_task(self._beat(replies))
            try:
                found, more = await self._done(head, values)
            except Failure as error:
                found, more = {"error": str(error), "field": error.field, "refused": error.refused}, None
            except BenchError as error:
                found, more = {"error": str(error), "field": ""}, None
            except Exception as error:  # an error of bench itself: the parent names it
                found, more = {"error": describe_error(error), "field": "url"}, None
            finally:
                beat.cancel()
            if self.client:
                found |= {name: getattr(self.client, name) for name in ("counts", "server", "binary")}
            with suppress(OSError):  # the parent is gone
                write_frame(replies, found, more)
        self._unlock()

    async def _beat(self, replies: IO[bytes]) -> None:
        """Report every second that this process is alive, and how many images it has answers to."""
        with suppress(OSError):
            while True:
                await asyncio.sleep(BEAT)
                write_frame(replies, {"answered": self.count})
        self.stopped.set()  # the parent is gone

    def _read(self, loop: asyncio.AbstractEventLoop) -> None:
        with suppress(RuntimeError):  # the loop has ended
            with suppress(OSError, ValueError):
                while frame := read_frame(sys.stdin.buffer):
                    loop.call_soon_threadsafe(self.frames.put_nowait, frame)
            loop.call_soon_threadsafe(self.stopped.set)
            loop.call_soon_threadsafe(self.frames.put_nowait, None)

    async def _done(self, head: dict[str, JSON], values: Any) -> tuple[dict[str, JSON], Any]:
        if self.model is None:
            self.model = convert(head["model"], Description)
            self.client = Client(self.model, head["names"], self.stopped)
            return {}, None
        assert self.client is not None
        if not self.client.prepared:
            await self.client.prepare()
        if "journal" not in head:
            return {}, await self._asked(values, list(range(len(values))), None, ())
        path, keys = Path(head["journal"]), head["keys"]
        if path not in self.answered:
            await self._lock(path)
            self.answered[path] = set(read(path).keys)
        missing = [i for i, key in enumerate(keys) if key not in self.answered[path]]
        await self._asked(values, missing, path, keys)
        return {"asked": len(missing)}, None

    async def _asked(self, values: Any, wanted: Sequence[int], path: Path | None, keys: Sequence[str]) -> Any:
        """Ask about the images with some indices, several requests at a time; return their answers.

        After a failure nothing more is sent, but requests that are on their way are waited for.
        """
        assert self.model is not None and self.client is not None
        size, found = fixed_batch(values, self.client.shape) or self.model.batch, dict[int, Any]()
        failures = list[Exception]()
        parts = iter([wanted[i : i + size] for i in range(0, len(wanted), size)])
        workers = [self._worker(parts, values, found, failures, path, keys) for _ in range(self.model.concurrency)]
        await asyncio.gather(*workers)
        if failures:
            raise failures[0]
        if next(parts, None):
            raise Failure("url", ENDED)
        rows = [found[part] for part in sorted(found)]
        if len({row.shape[1:] for row in rows}) > 1:
            raise Failure("output", "its answers differ in shape from one request to the next")
        return np.concatenate(rows) if rows else np.empty((0, 0))

    async def _worker(
        self,
        parts: Iterator[Sequence[int]],
        values: Any,
        found: dict[int, Any],
        failures: list[Exception],
        path: Path | None,
        keys: Sequence[str],
    ) -> None:
        assert self.client is not None
        for part in parts:
            if failures or self.stopped.is_set():
                return
            try:
                rows = (await self.client.infer(filled(values[list(part)], self.client.shape)))[: len(part)]
                rows = rows.astype(np.float64 if rows.dtype.kind == "f" else np.int64)
                self._keep(rows, [keys[i] for i in part] if path else [], path)
                found[part[0]] = rows
                self.count += len(part)
            except Exception as error:
                failures.append(error)

    def _keep(self, rows: NDArray[Any], keys: Sequence[str], path: Path | None) -> None:
        """Write answers to the journal; Failure if some are infinite, or NaN (null, in JSON), which it cannot hold."""
        assert self.model is not None
        whole = _are_numbers(rows, self.model.output)
        if path is not None and whole.any():
            chosen = [key for key, good in zip(keys, whole, strict=True) if good]
            append(path, chosen, rows[whole], str(self.model.output))
            self.answered[path].update(chosen)
        if not whole.all():
            raise Failure("output", NO_NUMBER if np.isnan(rows).any() else INFINITE, refused=True)

    async def _lock(self, path: Path) -> None:
        """Wait until no other process asks for the same journal, and keep others from doing so until this one ends."""
        from filelock import FileLock, Timeout

        assert self.model is not None
        if not path.parent.is_dir():
            raise BenchError(f"{path} cannot be written: there is no such folder")
        if not has_locks(path.parent):
            return
        lock = FileLock(path.with_name(f".{path.name}.asking"), is_singleton=False)
        try:
            await asyncio.to_thread(lock.acquire, timeout=self.model.timeout + PATIENCE)
        except Timeout:
            raise BenchError(
                f"{path} is being written by another process, which asks for it: wait, or end it"
            ) from None
        self.locks.append(lock)

    def _unlock(self) -> None:
        for lock in self.locks:
            with suppress(OSError):
                Path(lock.lock_file).unlink()


def _are_numbers(rows: NDArray[Any], output: ModelOutput) -> NDArray[np.bool_]:
    """Return for each row if it holds numbers only, [N]; among logarithms of probabilities, that of 0 is one."""
    right = np.isfinite(rows)
    if output == ModelOutput.LOG_PROBABILITIES:
        right |= np.isneginf(rows)
    found: NDArray[np.bool_] = right.reshape(len(rows), -1).all(axis=1)
    return found


def main() -> None:
    """Serve the parent of this process."""
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not mix with answers
    asyncio.run(Asker().serve(replies))
    os._exit(0)  # threads that wait for a lock or a name server must not keep it
