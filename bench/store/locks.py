"""File locks on tasks: one owner per task, even if several runs share a store.

Artifacts are safe without locks: these only prevent that two runs compute the same one. So where files cannot be
locked, tasks are not.
"""

import errno
import functools
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from bench.store.atomic import UNSUPPORTED
from bench.store.folders import StoreFolders, translated_errors, translated_read_errors

try:
    import fcntl
except ImportError:  # Windows has locks of its own
    fcntl = None  # type: ignore[assignment]

NO_LOCKS = (*UNSUPPORTED, errno.ENOLCK, errno.EBADF)
"""Errors of a file system without locks, or without those of files that are open for reading only."""

_handles: set[int] = set()
"""The locked files of this process. A child that it forks closes them, or a task of a dead owner would stay locked."""


def _close_all() -> None:
    for handle in _handles:
        os.close(handle)
    _handles.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_all)


def lock_name(key: str) -> str:
    """Return the name of a task's lock; tasks whose keys share their first characters share it."""
    return key[:4]


class Claims:
    """The tasks that this object has locked against other runs in the same store, until `release`.

    The operating system releases the locks of a dead owner.
    """

    def __init__(self, store: StoreFolders) -> None:
        self.store = store
        self._held: dict[str, Callable[[], object]] = {}

    def add(self, key: str) -> bool:
        """Lock a task; return False if another run has locked it. StoreError if the store cannot be written."""
        name = lock_name(key)
        if name not in self._held:
            with translated_errors(self.store.root):
                release = _locked(self.store.subfolder("locks") / f"{name}.lock")
            if release is None:
                return False
            self._held[name] = release
        return True

    def release(self) -> None:
        """Release all locks."""
        with translated_errors(self.store.root):
            while self._held:
                self._held.popitem()[1]()


@contextmanager
def claim(store: StoreFolders, key: str) -> Iterator[bool]:
    """Lock a task against other runs in the same store; yield False if another run has locked it."""
    claims = Claims(store)
    claimed = claims.add(key)
    try:
        yield claimed
    finally:
        claims.release()


def _locked(path: Path) -> Callable[[], object] | None:
    """Lock a file, and return what releases it; None if another run has locked it. Where none can be, lock nothing."""
    if not has_locks(path.parent):
        return lambda: None
    try:
        return _acquired(path)
    except OSError as error:
        # a file that another user created for himself alone must not stop the run
        foreign = error.errno == errno.EACCES and path.is_file() and os.access(path.parent, os.W_OK)
        if not foreign and error.errno not in NO_LOCKS:
            raise
        return lambda: None


def _acquired(path: Path) -> Callable[[], object] | None:
    """Lock a file, and return what releases it; None if another run has locked it."""
    if fcntl is None:
        from filelock import FileLock, Timeout

        lock = FileLock(path, blocking=False, is_singleton=False)
        try:
            lock.acquire()
        except Timeout:
            return None
        return lock.release
    handle = _opened(path)
    _handles.add(handle)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _release(handle)
        return None
    except BaseException:
        _release(handle)
        raise
    return functools.partial(_release, handle)


def _opened(path: Path) -> int:
    """Open a lock file, and create it if there is none; one of another user need not be writable."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        with suppress(OSError):
            return os.open(path, os.O_RDONLY)
        raise


def _release(handle: int) -> None:
    if handle in _handles:  # it is not ours in a child that was forked meanwhile
        _handles.discard(handle)
        with suppress(OSError):  # closing it does not unlock what another process inherited
            fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


@contextmanager
def exclusive(file: IO[bytes], path: Path) -> Iterator[None]:
    """Lock an open file against other processes while it is written, and wait for one that does; where that works."""
    try:
        import fcntl
    except ImportError:  # Windows locks bytes of a file, which nobody can read then: a file beside it is locked
        from filelock import FileLock

        with FileLock(path.with_name(f".{path.name}.lock"), is_singleton=False):
            yield
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    yield  # closing the file releases the lock


@functools.cache
def has_locks(folder: Path) -> bool:
    """Return True if files in a folder can be locked. OSError if none can be created there."""
    if fcntl is None:
        return True
    probe = folder / f".probe.{uuid.uuid4().hex}"
    try:
        with probe.open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        return False
    finally:
        probe.unlink(missing_ok=True)
    return True


def supports_locks(store: StoreFolders) -> bool:
    """Return True if tasks of a store can be locked. StoreError if it cannot be written."""
    with translated_errors(store.root):
        return has_locks(store.subfolder("locks"))


def is_locked(store: StoreFolders) -> bool:
    """Return True if any task of a store is locked. StoreError if the locks cannot be read."""
    folder = store.root / "locks"
    with translated_read_errors(folder):  # `glob` takes a folder without the right to read for an empty one
        paths = [path for path in folder.iterdir() if path.suffix == ".lock"] if folder.is_dir() else []
    with translated_errors(store.root):
        for path in paths:
            try:  # no `has_locks`, which needs a new file: a full disk must not prevent that space is freed
                release = _acquired(path)
                if release is None:
                    return True
                release()
            except OSError as error:  # another user's file that nobody else may read: its owner alone sees the lock
                if error.errno not in (*NO_LOCKS, errno.EACCES):
                    raise
    return False
