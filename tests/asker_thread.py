"""An asker in a thread of this process, for tests of what it asks and answers: no Python is started for it."""

import asyncio
import os
import subprocess
import threading
from contextlib import suppress

from bench.models.endpoint_asker import Asker
from bench.models.endpoint_frames import read_frame


class Loop(asyncio.SelectorEventLoop):
    """A loop of a thread, which gets no signals."""

    def add_signal_handler(self, *_):
        raise NotImplementedError


class AskerThread(Asker):
    """Stands in for the process that `HttpNetwork` starts; nothing can kill it."""

    def __init__(self, *_, **__):
        super().__init__()
        (self.incoming, self.stdin), (self.stdout, self.replies) = (
            [os.fdopen(end, mode) for end, mode in zip(os.pipe(), ("rb", "wb"), strict=True)] for _ in range(2)
        )
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        with suppress(OSError), self.incoming, self.replies, asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(self.serve(self.replies))

    def _read(self, loop):
        with suppress(RuntimeError):  # the loop has ended
            while frame := read_frame(self.incoming):
                loop.call_soon_threadsafe(self.frames.put_nowait, frame)
            loop.call_soon_threadsafe(self.stopped.set)
            loop.call_soon_threadsafe(self.frames.put_nowait, None)

    def poll(self):
        return None if self.thread.is_alive() else 0

    def wait(self, timeout=None):
        self.thread.join(timeout)
        if self.thread.is_alive():
            raise subprocess.TimeoutExpired("asker", timeout)
