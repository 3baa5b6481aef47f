"""File locks on tasks: one owner per task, even if several runs share a store."""

from collections.abc import Iterator
from contextlib import contextmanager

from bench.store.folders import StoreFolders, translated_errors


@contextmanager
def claim(store: StoreFolders, key: str) -> Iterator[bool]:
    """Lock a task against other runs in the same store; yield False if another run has locked it.

    The operating system releases the lock of a dead owner. Tasks whose keys share their first characters share a lock.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(store.root / "locks" / f"{key[:4]}.lock", blocking=False, is_singleton=False)
    with translated_errors(store.root):
        store.subfolder("locks")
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
    try:
        yield True
    finally:
        with translated_errors(store.root):
            lock.release()


def is_locked(store: StoreFolders) -> bool:
    """Return True if any task of a store is locked."""
    from filelock import FileLock, Timeout

    with translated_errors(store.root):
        for path in (store.root / "locks").glob("*.lock"):
            try:
                with FileLock(path, blocking=False, is_singleton=False):
                    pass
            except Timeout:
                return True
    return False
