"""File locks on tasks: one owner per task, even if several runs share a store.

Artifacts are safe without locks: these only prevent that two runs compute the same one. So where files cannot be
locked, tasks are not.
"""

import errno
import functools
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.store.atomic import UNSUPPORTED
from bench.store.folders import StoreFolders, translated_errors

NO_LOCKS = (*UNSUPPORTED, errno.ENOLCK)
"""Errors of a file system without locks."""


@contextmanager
def claim(store: StoreFolders, key: str) -> Iterator[bool]:
    """Lock a task against other runs in the same store; yield False if another run has locked it.

    The operating system releases the lock of a dead owner. Tasks whose keys share their first characters share a lock.
    """
    from filelock import FileLock, Timeout

    with translated_errors(store.root):
        folder = store.subfolder("locks")
        path = folder / f"{key[:4]}.lock"
        lock = FileLock(path, blocking=False, is_singleton=False) if has_locks(folder) else None
        try:
            if lock:
                lock.acquire()
        except Timeout:
            claimed = False
        except OSError as error:
            # a file that another user created for himself alone must not stop the run
            foreign = error.errno == errno.EACCES and path.is_file() and os.access(folder, os.W_OK)
            if not foreign and error.errno not in NO_LOCKS:
                raise
            lock, claimed = None, True
        else:
            claimed = True
    try:
        yield claimed
    finally:
        with translated_errors(store.root):
            if lock:
                lock.release()


@functools.cache
def has_locks(folder: Path) -> bool:
    """Return True if files in a folder can be locked. OSError if none can be created there."""
    try:
        import fcntl
    except ImportError:  # Windows has locks of its own
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
    """Return True if any task of a store is locked."""
    from filelock import FileLock, Timeout

    with translated_errors(store.root):
        for path in (store.root / "locks").glob("*.lock"):
            try:
                if has_locks(path.parent):
                    with FileLock(path, blocking=False, is_singleton=False):
                        pass
            except Timeout:
                return True
            except OSError as error:  # another user's file: whether it is locked shows only to its owner
                if error.errno not in (*NO_LOCKS, errno.EACCES):
                    raise
    return False
