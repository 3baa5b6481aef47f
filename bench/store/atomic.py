"""Write files that are either the old one or the whole new one, whatever happens in between.

File systems differ: some cannot sync a folder, some cannot rename a folder, or a file over another one.
"""

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from bench.core.errors import BenchError

DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
"""Errors for lack of a right."""
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a disk or a quota without space, or without room for more files."""
UNSUPPORTED = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of what a file system cannot do."""
NO_SYNC = (*UNSUPPORTED, errno.EBADF, errno.EISDIR, errno.ENOTTY, *DENIED)
"""Errors of folders that cannot be synced, or be opened to sync them (a folder may be written, but not listed)."""
NO_RENAME = (errno.EXDEV, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Errors of names that cannot be moved, such as folders of a container's image."""
NO_REPLACE = (*NO_RENAME, errno.EPERM, errno.EEXIST)
"""Errors of files that cannot be moved over another file, as on some network folders."""
NO_LINK = (*NO_RENAME, errno.EPERM, errno.EACCES, errno.EINVAL, errno.EMLINK)
"""Errors of files that cannot have a second name."""

SYNCS = 8
"""Syncs that wait for the disk at once: a file system writes several of them in one step."""


@contextmanager
def syncs() -> Iterator[Callable[[Iterable[Path]], None]]:
    """Yield a function that writes files or folders through to the disk, in any order; its threads are kept."""
    with ThreadPoolExecutor(SYNCS) as pool:

        def sync_all(paths: Iterable[Path]) -> None:
            wanted = [*paths]
            for _ in (pool.map if len(wanted) > 2 else map)(sync, wanted):  # for few, threads would take longer
                pass

        yield sync_all


def sync(path: Path) -> None:
    """Write a file or folder through to the disk. A file system that cannot sync folders is left alone."""
    if os.name == "nt" and path.is_dir():  # Windows opens no folders
        return
    try:
        handle = os.open(path, os.O_RDONLY if os.name != "nt" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in NO_SYNC or not path.is_dir():
            raise


def replace(temporary: Path, path: Path) -> None:
    """Move a finished file to `path`, synced before and after. It is copied where files cannot be moved."""
    sync(temporary)
    try:
        temporary.replace(path)
    except OSError as error:
        if error.errno not in NO_REPLACE:
            raise
        shutil.copyfile(temporary, path)
        sync(path)
        temporary.unlink()
    sync(path.parent)


def place(temporary: Path, path: Path) -> None:
    """Move a finished file to `path`, synced before and after. FileExistsError if there is something already."""
    sync(temporary)
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        path.open("xb").close()
        try:
            replace(temporary, path)
        except BaseException:
            path.unlink()
            raise
    else:
        temporary.unlink()
        sync(path.parent)


def move_folder(source: Path, target: Path, last: str) -> None:
    """Rename a folder, or what is in its place, to a name that no other one has; OSError if that is impossible.

    Where folders cannot be renamed, as between disks, it is copied under a hidden name beside `target`: nobody takes
    what is half copied for the whole. Where that copy cannot be renamed either, its files are, that of the name `last`
    after all others.
    """
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in NO_RENAME:
            raise
        copy = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
        try:
            _copy(source, copy)
            _settle(copy, target, last)
        finally:
            _remove(copy)
        if source.is_dir():
            shutil.rmtree(source)
        else:
            source.unlink()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for path in source.iterdir():
            _copy(path, target / path.name)
    else:
        shutil.copyfile(source, target)
    sync(target)


def _settle(copy: Path, target: Path, last: str) -> None:
    """Rename a copy, or all that is in it."""
    try:
        copy.rename(target)
    except OSError as error:
        if error.errno not in NO_RENAME:
            raise
        if not copy.is_dir():
            return _copy(copy, target)
        target.mkdir()
        try:
            for path in sorted(copy.iterdir(), key=lambda p: p.name == last):
                _settle(path, target / path.name, last)
            sync(target)
        except BaseException:
            _remove(target)
            raise


def _remove(path: Path) -> None:
    """Remove a folder or a file, if it is there and can be removed."""
    shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):
        path.unlink()


@contextmanager
def new_folder(folder: Path, last: str) -> Iterator[Path]:
    """Yield a hidden folder; what was written there becomes `folder`, whole or not at all, the file `last` at the end.

    `folder` does not exist, or is empty and stays the same one, since it may be a mount point or a working directory.
    BenchError in place of OSError.
    """
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.mkdir()
        except OSError:
            if not folder.is_dir():
                raise
            temporary = folder / temporary.name  # only the folder itself may be written
            temporary.mkdir()
        yield temporary
        if folder.is_dir():
            _fill(folder, temporary, last)
        else:
            move_folder(temporary, folder, last)
            sync(folder.parent)
    except OSError as error:
        raise BenchError(f"{folder} cannot be written: {error.strerror or error}. Choose another folder") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, source: Path, last: str) -> None:
    """Move what is in one folder to an empty one."""
    moved = []
    try:
        for path in sorted(source.iterdir(), key=lambda p: p.name == last):
            moved.append(folder / path.name)
            move_folder(path, moved[-1], last)
        sync(folder)
    except BaseException:
        for path in moved:
            _remove(path)
        raise


@contextmanager
def temporary_file(path: Path, new: bool = False) -> Iterator[Path]:
    """Yield a hidden name beside `path`; what was written there replaces `path`, unless an error is raised.

    With `new`, it replaces nothing: FileExistsError if another process wrote such a file meanwhile.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        (place if new else replace)(temporary, path)
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file in one step. OSError leaves the old file, and no temporary one."""
    with temporary_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
